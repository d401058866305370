"""What happens to a case after it is filed: acceptance, hand-over, outcome.

Exactly one tenant holds a case. Handing over, the sender stays the holder, in transit, and nobody acts until the
receiver has committed it; then the receiver holds it, and every tenant in its way keeps a copy that only follows.
Each change raises the version by one, leaves a trace, and is told to the index and to the tenants in the way,
all in one transaction.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from services.affairs import numbers
from services.affairs.materials import object_key
from services.affairs.schema import (
    AcceptanceRequest,
    Case,
    CaseView,
    Desk,
    DeskList,
    HandOverRequest,
    Outcome,
    OutcomeRequest,
    Snapshot,
    Status,
    Step,
)
from services.affairs.store import SCHEMA, desk
from services.affairs.store import cases as store
from services.kernel.calendar import after_working_days, today
from services.kernel.database import Connection
from services.kernel.outbox import INDEX, Rejected, Relay, add_message
from services.kernel.problems import NotFound, Problem
from services.kernel.tenancy import Directory, Doors, Tenant
from services.kernel.tokens import Principal

Action = Literal["acceptance", "hand-over", "outcome"]
WAITS_FOR: dict[Action, Status] = {"acceptance": "filed", "hand-over": "accepted", "outcome": "accepted"}


@dataclass(frozen=True)
class Actor:
    """Who exercises power: a clerk in an office, or a tenant's relay that brings a case."""

    sub: str
    name: str
    department: str


@dataclass(frozen=True)
class Act:
    """An exercise of power: its trace tells who did what with which words; `reason` goes the case's way with it."""

    actor: Actor
    action: str
    details: str = ""
    reason: str = ""


class Cases:
    def __init__(self, directory: Directory, doors: Doors, relay: Relay) -> None:
        self._directory = directory
        self._doors = doors
        self._relay = relay

    async def view(self, tenant: Tenant, number: str, caller: Principal) -> CaseView:
        """The case for its applicant or a clerk here; for anybody else it is as if it were not there."""
        clerk = caller.office(tenant.code, "clerk")
        async with self._doors.connection(tenant.code) as connection:
            case = await store.case(connection, number)
            if case is None or (clerk is None and case.applicant != caller.sub):
                raise NotFound("No such case.")
            traces = await store.traces(connection, number) if clerk else []
            materials = await store.materials(connection, number)
        acts = clerk is not None and case.holder == tenant.code
        mine = case.applicant == caller.sub
        return CaseView(
            **case.model_dump(include=set(CaseView.model_fields) - {"materials", "steps"}),
            steps=case.steps if clerk else [_for_applicant(step) for step in case.steps],
            check_code=self._check_code(tenant, case) if mine else None,
            traces=traces,
            materials=materials,
            actions=[action for action, status in WAITS_FOR.items() if acts and case.status == status],
        )

    def _check_code(self, tenant: Tenant, case: Case) -> str | None:
        """Derived again where the case was filed; None when another key than today's gave the code."""
        if not case.number.startswith(tenant.code):
            return None
        key = self._directory.secret(tenant.code, "check_code_key")
        code = numbers.check_code(key.encode(), case.number)
        return code if numbers.check_code_hash(code).hex() == case.check_code_hash else None

    async def desk(self, tenant: Tenant, caller: Principal, name: DeskList, cursor: str | None) -> Desk:
        """A page of the tenant's cases for its clerks, and how many open ones there are in all."""
        _office(tenant, caller)
        async with self._doors.connection(tenant.code) as connection:
            cases, following = await desk.page(connection, tenant.code, name, cursor)
            figures = await desk.figures(connection, tenant.code, today())
        return Desk(cases=cases, next=following, figures=figures)

    async def accept(self, tenant: Tenant, number: str, caller: Principal, request: AcceptanceRequest) -> Snapshot:
        actor = _office(tenant, caller)
        async with self._acting(tenant, number, "acceptance") as (connection, case):
            if request.accepted:
                case.due = after_working_days(today(), case.promised_working_days)
            status: Status = "accepted" if request.accepted else "declined"
            reason = "" if request.accepted else request.reason
            await self._change(connection, tenant, case, status, Act(actor, status, request.reason, reason))
        return self._told(tenant, case)

    async def hand_over(self, tenant: Tenant, number: str, caller: Principal, request: HandOverRequest) -> Snapshot:
        actor = _office(tenant, caller)
        async with self._acting(tenant, number, "hand-over") as (connection, case):
            self._check_way(tenant, case, request.to)
            case.in_transit_to = request.to
            act = Act(actor, "hand-over", request.reason, request.reason)
            await self._change(connection, tenant, case, "in_transit", act)
            case.materials = await store.offers(connection, number)
            await add_message(connection, SCHEMA, request.to, "hand-over", number, case.model_dump(mode="json"))
        return self._told(tenant, case)

    async def decide(self, tenant: Tenant, number: str, caller: Principal, request: OutcomeRequest) -> Snapshot:
        actor = _office(tenant, caller)
        async with self._acting(tenant, number, "outcome") as (connection, case):
            case.outcome = Outcome(result=request.result, text=request.text)
            act = Act(actor, request.result, request.text)
            await self._change(connection, tenant, case, request.result, act, "outcome")
        return self._told(tenant, case)

    async def receive(self, connection: Connection, tenant: Tenant, sender: str, case: Case) -> None:
        """Take a case that was handed over: from this commit on this tenant holds it.

        Raises:
            Rejected: the sender does not hold the case, or gave it to somebody else.
        """
        if case.holder != sender or case.in_transit_to != tenant.code or case.status != "in_transit":
            raise Rejected("the message does not hand this case over to this tenant")
        copy = await store.case(connection, case.number, lock=True)
        if copy is None and case.number.startswith(tenant.code):
            raise Rejected("a case of this tenant's number that it never filed")
        if copy is not None and copy.version >= case.version:
            return
        case.holder, case.in_transit_to = tenant.code, None
        case.path = list(dict.fromkeys([*case.path, tenant.code]))  # handed back, it has been in the way before
        await store.keep(connection, case)
        for offer in case.materials:
            key = object_key(tenant, case.number, offer)
            await store.add_material(connection, case.number, offer, key, f"tenant:{sender}", datetime.now(UTC))
        bringer = Actor(f"tenant:{sender}", self._name_of(sender), "")
        await self._change(connection, tenant, case, "accepted", Act(bringer, "received", case.steps[-1].reason))

    async def follow(self, connection: Connection, tenant: Tenant, sender: str, news: Snapshot) -> None:
        """Bring a copy up to date with what the tenant that holds the case tells.

        Raises:
            Rejected: no copy here, or the sender is not known here to hold it (news of an earlier step may still
            be on its way; the sender tries again).
        """
        copy = await store.case(connection, news.number, lock=True)
        if copy is None:
            raise Rejected("no copy of this case")
        if copy.version >= news.version:
            return
        if sender not in (copy.holder, copy.in_transit_to) or sender == tenant.code:
            raise Rejected("the sender is not known here to hold this case")
        if news.holder == tenant.code:
            raise Rejected("only a hand-over makes this tenant the holder")
        await store.follow(connection, news)

    @asynccontextmanager
    async def _acting(self, tenant: Tenant, number: str, action: Action) -> AsyncIterator[tuple[Connection, Case]]:
        """The case, locked, when this tenant holds it and it waits for this action."""
        async with self._doors.connection(tenant.code) as connection, connection.transaction():
            case = await store.case(connection, number, lock=True)
            if case is None:
                raise NotFound("No such case.")
            if case.holder != tenant.code or case.status != WAITS_FOR[action]:
                raise Problem(409, "not-possible-now", f"The case is {case.status} at {case.holder}.")
            yield connection, case

    async def _change(
        self,
        connection: Connection,
        tenant: Tenant,
        case: Case,
        status: Status,
        act: Act,
        kind: str = "progress",
    ) -> None:
        """Write the next version, its trace, and the news of it to the index and to everybody in the way."""
        now = datetime.now(UTC)
        since = (now - case.changed_at).total_seconds()
        case.version += 1
        case.status = status
        case.changed_at = now
        case.steps.append(Step(version=case.version, tenant=tenant.code, status=status, at=now, reason=act.reason))
        await store.change(connection, case)
        await store.trace(
            connection,
            case.number,
            now,
            (act.action, act.actor.sub, act.actor.name, act.actor.department, case.basis, act.details, since),
        )
        await add_message(connection, SCHEMA, INDEX, "case", case.number, news_for_index(case))
        news = snapshot(case)
        for other in self._followers(tenant, case):
            await add_message(connection, SCHEMA, other, kind, case.number, news)

    def _followers(self, tenant: Tenant, case: Case) -> list[str]:
        """Everybody in the way but this tenant. One to whom it is handed back gets the case itself instead."""
        return [code for code in case.path if code not in (tenant.code, case.in_transit_to)]

    def _told(self, tenant: Tenant, case: Case) -> Snapshot:
        """After the commit: wake the ways that got a message."""
        self.wake(tenant, case)
        return Snapshot.model_validate(snapshot(case))

    def wake(self, tenant: Tenant, case: Snapshot) -> None:
        ways = {INDEX, *case.path, *([case.in_transit_to] if case.in_transit_to else [])} - {tenant.code}
        for destination in ways:
            self._relay.wake(tenant.code, destination)

    def _check_way(self, tenant: Tenant, case: Case, to: str) -> None:
        """Up to the parent, down to a child, or back to a tenant in the case's way."""
        other = self._directory.by_code(to)
        if other is None or to == tenant.code:
            raise Problem(422, "no-such-tenant", "No such tenant to hand over to.")
        if to not in (tenant.parent, *case.path) and other.parent != tenant.code:
            raise Problem(422, "not-in-the-way", "A case goes to the parent, to a child, or back in its way.")

    def _name_of(self, code: str) -> str:
        tenant = self._directory.by_code(code)
        return tenant.name if tenant else code


def snapshot(case: Case) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(case.model_dump_json(include=set(Snapshot.model_fields)))
    return content


def news_for_index(case: Case) -> dict[str, Any]:
    """What the index gets: it shows steps to whoever has the check code, and never why they were taken."""
    content = snapshot(case)
    for step in content["steps"]:
        del step["reason"]
    return content


def _for_applicant(step: Step) -> Step:
    """Why a case was declined is told its applicant; why it was handed over is between the tenants in its way."""
    return step if step.status == "declined" else step.model_copy(update={"reason": ""})


def _office(tenant: Tenant, caller: Principal) -> Actor:
    """The office in which the caller acts here.

    Raises:
        Problem: the caller is no clerk of this tenant.
    """
    office = caller.office(tenant.code, "clerk")
    if office is None or not caller.is_person:
        raise Problem(403, "clerks-only", "Only clerks of this tenant may do this.")
    return Actor(caller.sub, caller.name, office.department)
