"""Filing a case: the hottest write of the network.

A filing costs one token look-up, one validation and its share of one commit. It is acknowledged when its case, its
trace and the message to the index are committed together, never before. The same person's same Idempotency-Key
gives the same case again, whatever happened to the first answer; another request under that key is a conflict.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from services.affairs import forms, numbers
from services.affairs.catalogue import Catalogue
from services.affairs.schema import FilingReceipt, FilingRequest, Item
from services.affairs.store import filing as store
from services.kernel.calendar import SHANGHAI, after_working_days
from services.kernel.database import Batches, CommitSlots, Row
from services.kernel.http import invalid
from services.kernel.lean import answer_json, bearer, read_body
from services.kernel.outbox import INDEX, Relay
from services.kernel.problems import Problem
from services.kernel.runtime import Kernel
from services.kernel.tenancy import Doors, Tenant
from services.kernel.tokens import Principal

KEY_PATTERN = r"^[A-Za-z0-9_-]{8,64}$"
LARGEST_FORM = 64 * 1024
KEY = re.compile(KEY_PATTERN.encode())
COMMITS_AT_ONCE = 3


class Filing:
    """Files cases of all tenants of this cell."""

    def __init__(self, kernel: Kernel, catalogue: Catalogue, relay: Relay) -> None:
        self._kernel = kernel
        self._catalogue = catalogue
        self._relay = relay
        self._batches: dict[str, Batches] = {}
        self._commits = CommitSlots(COMMITS_AT_ONCE)
        self._serials: dict[str, Serials] = {}

    async def file(self, tenant: Tenant, person: Principal, key: str, request: FilingRequest) -> FilingReceipt:
        """File a case, or give the case that this person filed under this key before.

        Raises:
            Problem: the item is not offered here, the form lacks a field, or the key was used for another request.
        """
        if not person.is_person:
            raise Problem(403, "people-only", "Only people may file.")
        try:
            item = await self._catalogue.offered_item(tenant, request.item)
            form = check_form(item, request)
        except Problem:
            # what was filed stays filed, whatever the item asks or whoever offers it by now
            earlier_case = await self._filed_before(tenant, person, key, request, to_json(request.form))
            if earlier_case is None:
                raise
            return self._receipt(earlier_case)
        now = datetime.now(UTC)
        number = await self._new_number(tenant, now)
        code = self.check_code(number)
        draft = Draft(tenant, person, key, request, form, item, number, numbers.check_code_hash(code), now)
        row = await self._batches_of(tenant.code).call(*draft.arguments())
        if not row["same_request"]:
            earlier_case = await self._filed_before(tenant, person, key, request, form)
            if earlier_case is None:
                # the key is this person's own, and so is the case of which they are told
                detail = "This Idempotency-Key was used for another request."
                raise Problem(409, "idempotency-conflict", detail, existing=row["number"])
            return self._receipt(earlier_case)
        if row["fresh"]:
            self._relay.wake(tenant.code, INDEX)
        return self._receipt(row, code if row["fresh"] else "")

    def _receipt(self, row: Row, fresh_code: str = "") -> FilingReceipt:
        return FilingReceipt.model_construct(
            number=row["number"],
            check_code=fresh_code or self.check_code(row["number"]),
            status="filed",
            filed_at=row["filed_at"],
            duplicate=not fresh_code,
        )

    async def _filed_before(
        self, tenant: Tenant, person: Principal, key: str, request: FilingRequest, form: bytes
    ) -> Row | None:
        """The case of this content under this key, where the digest cannot tell: another release may have made it."""
        async with self._kernel.doors.connection(tenant.code) as connection:
            return await store.filed_before(connection, person.sub, key, request, form)

    async def answer(self, kernel: Kernel, scope: Scope, receive: Receive, send: Send) -> None:
        """The lean route for `POST /api/affairs/cases`: what `api.file_case` documents, without FastAPI's machinery."""
        headers = dict(scope["headers"])
        tenant = kernel.tenant_of(headers.get(b"host", b"").decode("latin-1"))
        person = await bearer(kernel, scope)
        key = headers.get(b"idempotency-key", b"")
        if not KEY.match(key):
            raise invalid([{"loc": ("header", "Idempotency-Key"), "msg": f"must match {KEY_PATTERN}"}])
        try:
            request = FilingRequest.model_validate_json(await read_body(receive))
        except ValidationError as error:
            raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None
        receipt = await self.file(tenant, person, key.decode(), request)
        await answer_json(send, 200 if receipt.duplicate else 201, receipt.model_dump_json().encode())

    def check_code(self, number: str) -> str:
        """The check code of a case of this cell: its number begins with its tenant's code."""
        key = self._kernel.directory.secret(number[:6], "check_code_key")
        return numbers.check_code(key.encode(), number)

    async def _new_number(self, tenant: Tenant, now: datetime) -> str:
        if tenant.code not in self._serials:
            self._serials[tenant.code] = Serials(self._kernel.doors, tenant.code)
        serial = await self._serials[tenant.code].take()
        return numbers.case_number(tenant.code, now.astimezone(SHANGHAI).date(), serial)

    def _batches_of(self, code: str) -> Batches:
        if code not in self._batches:
            self._batches[code] = Batches(
                "filing", lambda: self._kernel.doors.connection(code), store.FILE_CASES, commits=self._commits
            )
        return self._batches[code]


class Serials:
    """Serials of one tenant, taken from its database a block at a time. What a killed process had left is skipped."""

    def __init__(self, doors: Doors, code: str) -> None:
        self._doors = doors
        self._code = code
        self._next = count()
        self._left = 0
        self._taking = asyncio.Lock()

    async def take(self) -> int:
        while self._left == 0:
            async with self._taking:
                if self._left == 0:
                    await self._take_block()
        self._left -= 1
        return next(self._next)

    async def _take_block(self) -> None:
        async with self._doors.connection(self._code) as connection:
            block = await store.next_serial_block(connection)
        self._next = count(block * numbers.SERIALS_IN_BLOCK)
        self._left = numbers.SERIALS_IN_BLOCK


@dataclass(frozen=True, slots=True)
class Draft:
    """A case about to be filed."""

    tenant: Tenant
    person: Principal
    key: str
    request: FilingRequest
    form: bytes
    item: Item
    number: str
    check_code_hash: bytes
    now: datetime

    def arguments(self) -> tuple[Any, ...]:
        """One member's arguments of `affairs.file_cases`, in its order; the unique key comes first."""
        steps = [{"version": 1, "tenant": self.tenant.code, "status": "filed", "at": self.now}]
        return (
            self.person.sub,
            self.key,
            digest(self.request, self.form),
            self.number,
            self.item.code,
            self.item.name,
            self.item.version,
            self.item.basis,
            self.item.promised_working_days,
            self.request.applicant.name,
            self.request.applicant.phone,
            self.form.decode(),
            self.now,
            self._accept_by(),
            self.tenant.code,
            to_json(steps).decode(),
            self.check_code_hash,
            to_json(self._snapshot(steps)).decode(),
        )

    def _accept_by(self) -> date:
        return after_working_days(self.now.astimezone(SHANGHAI).date(), self.tenant.settings.acceptance_working_days)

    def _snapshot(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        """The message to the index: a `schema.Snapshot`, written here without its validation."""
        return {
            "number": self.number,
            "version": 1,
            "status": "filed",
            "holder": self.tenant.code,
            "path": [self.tenant.code],
            "item": self.item.code,
            "item_name": self.item.name,
            "applicant": self.person.sub,
            "filed_at": self.now,
            "changed_at": self.now,
            "steps": steps,
            "check_code_hash": self.check_code_hash.hex(),
        }


FAULTS: dict[forms.Fault, str] = {
    "missing": "is required",
    "too_long": "is too long",
    "not_text": "must be text",
    "unfit": "must not hold control characters or signs that turn the direction of writing",
    "not_a_number": "must be a number, at most 15 digits before the point and 6 behind it",
    "not_a_date": "must be a date as 2026-11-24",
    "not_an_option": "is not one of the options",
    "no_field": "is not a field of this item",
}


def check_form(item: Item, request: FilingRequest) -> bytes:
    """The form as it is kept, as JSON: the same for equal content, however it was ordered, spaced and typed.

    Raises:
        Problem: names what is wrong.
    """
    form, wrong = forms.read(item.fields, request.form)
    if wrong:
        raise invalid([{"loc": ("body", "form", mistake.name), "msg": FAULTS[mistake.fault]} for mistake in wrong])
    text = to_json(form)
    if len(text) > LARGEST_FORM:
        raise invalid([{"loc": ("body", "form"), "msg": f"must not exceed {LARGEST_FORM} bytes"}])
    return text


def digest(request: FilingRequest, form: bytes) -> bytes:
    """Tells requests apart: the same content gives the same digest. `form` is what `check_form` gave."""
    parts = (request.item, request.applicant.name, request.applicant.phone)
    return hashlib.sha256("\x00".join(parts).encode() + b"\x00" + form).digest()
