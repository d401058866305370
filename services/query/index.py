"""What the index shows: a person's cases, and progress to whoever holds number and check code."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from services.kernel.cursors import read_moment, write_cursor
from services.kernel.database import Connection, Row
from services.kernel.problems import NotFound, Problem
from services.kernel.runtime import Kernel
from services.query import store
from services.query.schema import CaseDetail, CaseLine, CasePage, Progress, Step

PAGE = 20
# Decision 14: the guesser is limited, not the case. See there before changing a number.
ATTEMPTS_AT_ADDRESS = 60
ATTEMPTS_AT_NUMBER = 600
ATTEMPTS_WHEN_GUESSED_AT = 5
END_OF_TIME = (datetime(9999, 1, 1, tzinfo=UTC), "")
NOBODY = bytes(32)


class Index:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def page(self, applicant: str, cursor: str | None) -> CasePage:
        """A person's cases over all tenants, the latest change first."""
        before = read_moment(cursor) if cursor else END_OF_TIME
        async with self._kernel.doors.own_connection() as connection:
            rows = await store.page(connection, applicant, before, PAGE + 1)
        shown = rows[:PAGE]
        return CasePage(
            cases=[CaseLine(**self._line(row)) for row in shown],
            next=write_cursor(shown[-1]["changed_at"], shown[-1]["number"]) if len(rows) > PAGE else None,
        )

    async def detail(self, applicant: str, number: str) -> CaseDetail:
        async with self._kernel.doors.own_connection() as connection:
            row = await store.mine(connection, applicant, number)
        if row is None:
            raise NotFound("No such case.")
        return CaseDetail(**self._line(row), steps=self._steps(row))

    async def progress(self, number: str, check_code: str, address: str) -> Progress:
        """Progress by number and check code. Wrong codes and unknown numbers get the same answer.

        Every attempt is counted, and committed, before it is looked at; in an hour so many of an address are looked
        at, however many come at once. A right one is given back. A case at which many addresses guess takes fewer
        from each, and from an address that did not guess always the right one.

        Raises:
            Problem: too many attempts. NotFound: no such number, or another code.
        """
        async with self._kernel.doors.own_connection() as connection:
            counted = await self._count_attempt(connection, number, address)
            row = await store.progress(connection, number)
            right = hmac.compare_digest(hashlib.sha256(check_code.encode()).digest(), _hash_of(row))
            if row is None or not right:
                raise NotFound("Number and check code do not belong together.")
            for subject in counted:
                await store.give_back_attempt(connection, subject)
        return Progress(number=number, status=row["status"], steps=self._steps(row))

    async def _count_attempt(self, connection: Connection, number: str, address: str) -> list[str]:
        """What was counted. Raises a Problem for one attempt too many."""
        by_address, by_number = f"address:{address}", f"number:{number}"
        if await store.count_attempt(connection, by_address) > ATTEMPTS_AT_ADDRESS:
            raise _too_many()
        if await store.count_attempt(connection, by_number) <= ATTEMPTS_AT_NUMBER:
            return [by_address, by_number]
        by_both = f"address at number:{address} {number}"
        if await store.count_attempt(connection, by_both) > ATTEMPTS_WHEN_GUESSED_AT:
            raise _too_many()
        return [by_address, by_number, by_both]

    def _line(self, row: Row) -> dict[str, Any]:
        first = row["number"][:6]
        tenant = self._kernel.directory.by_code(first)
        line = {name: row[name] for name in ("number", "item", "item_name", "status", "holder", "filed_at")}
        return line | {
            "changed_at": row["changed_at"],
            "due": row["due"],
            "holder_name": self._name_of(row["holder"]),
            "tenant": first,
            "tenant_name": self._name_of(first),
            "site": tenant.url if tenant else "",
        }

    def _steps(self, row: Row) -> list[Step]:
        return [
            Step(tenant_name=self._name_of(step["tenant"]), **{name: step[name] for name in ("tenant", "status", "at")})
            for step in json.loads(row["steps"])
        ]

    def _name_of(self, code: str) -> str:
        tenant = self._kernel.directory.by_code(code)
        return tenant.name if tenant else code


def _hash_of(row: Row | None) -> bytes:
    return bytes(row["check_code_hash"]) if row else NOBODY


def _too_many() -> Problem:
    return Problem(
        429, "too-many-attempts", "Too many attempts, please try again later.", headers={"Retry-After": "3600"}
    )
