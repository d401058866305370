"""What a border refuses, and what a refusal keeps to itself."""

from __future__ import annotations

import json
import traceback
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

import asyncpg
import pytest
from pydantic import BaseModel, ValidationError

from services.affairs.store import cases as store
from services.kernel.cursors import read_moment, write_cursor
from services.kernel.database import Connection
from services.kernel.encoding import misaddressed
from services.kernel.outbox import Envelope, OutboxMessage, Receiver
from services.kernel.problems import Problem
from services.kernel.telemetry import written

GBK = "材料".encode("gbk")
PRIVATE = "13900001111"


@pytest.mark.parametrize("cursor", ["0." + "9" * 5000, "9" * 5000 + ".1", "0.", "0.x", ""])
def test_a_cursor_that_somebody_made_is_refused(cursor: str) -> None:
    with pytest.raises(Problem) as refused:
        read_moment(urlsafe_b64encode(cursor.encode()).decode())
    assert refused.value.status == 422


def test_the_longest_key_of_ours_has_room_in_a_cursor() -> None:
    key = str(2**128 - 1)
    assert read_moment(write_cursor(datetime.max.replace(tzinfo=UTC), key))[1] == key


@pytest.mark.parametrize("part", ["query_string", "raw_path"])
@pytest.mark.parametrize("bare", [GBK, "材料".encode()])
def test_bare_bytes_in_an_address_are_held_to_the_rule_of_escaped_ones(part: str, bare: bytes) -> None:
    problem = misaddressed({"raw_path": b"/items", "query_string": b"", part: b"/items?q=" + bare})
    assert (problem is not None and problem.status == 400) == (bare == GBK)


class Refusing:
    """A database that takes no row, and says which."""

    async def fetchval(self, *_: Any) -> bool:
        return True

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield


async def test_a_message_that_a_database_refuses_is_told_without_what_is_in_it() -> None:
    @asynccontextmanager
    async def connect() -> AsyncIterator[Any]:
        yield Refusing()

    async def apply(_: Connection, __: str, ___: OutboxMessage) -> None:
        error = asyncpg.NotNullViolationError("null value in column")
        error.detail = f"Failing row contains ({PRIVATE})."
        raise error

    message = OutboxMessage(sequence=1, kind="hand-over", key="1", body={})
    answer = await Receiver("affairs", connect, apply).receive(Envelope(sender="330106", messages=[message]))
    [rejection] = answer.rejected
    assert PRIVATE not in rejection.reason and "NotNullViolation" in rejection.reason


class Small(BaseModel):
    number: int


def refused_row() -> None:
    error = asyncpg.CheckViolationError("new row violates a rule")
    error.detail = f"Failing row contains ({PRIVATE})."
    raise error


def unfit() -> None:
    Small.model_validate({"number": f"{PRIVATE}x"})


def unfit_within() -> None:
    try:
        unfit()
    except ValidationError as error:
        raise RuntimeError("no answer") from error


def unfit_before() -> None:
    try:
        unfit()
    except ValidationError:
        refused_row()


@pytest.mark.parametrize("fail", [refused_row, unfit, unfit_within, unfit_before])
def test_a_traceback_in_the_log_quotes_nothing_that_somebody_typed(fail: Callable[[], None]) -> None:
    try:
        fail()
    except Exception as error:
        told = written((type(error), error, error.__traceback__))
    assert PRIVATE not in told and PRIVATE in format_exc_of(fail)
    assert fail.__name__ in told, "where it happened is told"
    assert "number int_parsing" in told or "new row violates a rule" in told, "and what it was"


def format_exc_of(fail: Callable[[], None]) -> str:
    """As it would be written by anybody else: what the check above must catch."""
    try:
        fail()
    except Exception:
        return traceback.format_exc()
    return ""


class Keeping:
    """A database that has one case."""

    def __init__(self, case: dict[str, Any]) -> None:
        self._body = json.dumps(case)

    async def fetchval(self, *_: Any) -> str:
        return self._body


async def test_a_case_that_is_kept_is_read_as_it_is() -> None:
    """What it holds was read when it came in, by whoever's rules held then and there."""
    at, tenant = "2026-11-24T09:00:00Z", "330106"
    case = {"number": "3301062026112400000017", "version": 1, "status": "filed", "holder": tenant, "path": [tenant]}
    case |= {"item": "XK-1", "item_name": "x", "applicant": "p", "filed_at": at, "changed_at": at, "item_version": 1}
    case |= {"check_code_hash": "0" * 64, "basis": "b", "promised_working_days": 7, "applicant_name": "沈小禾"}
    case |= {"applicant_phone": "1", "form": {}, "accept_by": "2026-12-01"}
    step = {"version": 1, "tenant": tenant, "status": "filed", "at": at, "reason": "of old: \u202e"}
    kept = await store.case(cast(Connection, Keeping(case | {"steps": [step]})), str(case["number"]))
    assert kept is not None and kept.steps[0].reason == step["reason"]
