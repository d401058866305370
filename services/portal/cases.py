"""How a case reads, on whichever page it is told: where it has been, what was done, what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Protocol

import structlog

from services.affairs.schema import CaseView
from services.affairs.schema import Step as StepInAffairs
from services.kernel.problems import Problem
from services.kernel.tenancy import Directory, Tenant
from services.pages.cases import CASE_WORDS
from services.portal.visit import Visit
from services.portal.words import OPEN_STATUSES, grouped, moment
from services.query.schema import CaseDetail

log = structlog.get_logger(__name__)

REASONS = {"in_transit": "事由", "declined": "理由"}


@dataclass(frozen=True)
class Mark:
    """A step on a timeline."""

    title: str
    state: str
    place: str = ""
    when: str = ""
    note: str = ""


class Step(Protocol):
    """A step as affairs and as the index tell it. The reason is affairs' alone."""

    @property
    def tenant(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def at(self) -> datetime: ...


def timeline(directory: Directory, steps: Sequence[Step]) -> list[Mark]:
    """What was done, where it stands, and while it is open the end that is to come."""
    marks = []
    for position, step in enumerate(steps):
        last = position == len(steps) - 1
        state = "done"
        if step.status in ("declined", "refused"):
            state = "stopped"
        elif last and step.status in OPEN_STATUSES:
            state = "current"
        marks.append(
            Mark(
                _title(directory, steps, position),
                state,
                place_name(directory, step.tenant),
                moment(step.at),
                f"{REASONS.get(step.status, '说明')}：{step.reason}"
                if isinstance(step, StepInAffairs) and step.reason
                else "",
            )
        )
    if steps and steps[-1].status in OPEN_STATUSES:
        marks.append(Mark("办结", "todo"))
    return marks


def _title(directory: Directory, steps: Sequence[Step], position: int) -> str:
    step = steps[position]
    before, after = steps[position - 1 : position], steps[position + 1 : position + 2]
    if step.status == "filed":
        return "已提交"
    if step.status == "in_transit":
        return f"移送{place_name(directory, after[0].tenant)}办理" if after else "正在移送"
    if step.status == "accepted" and before and before[0].status == "in_transit":
        return "已接收，办理中"
    return CASE_WORDS[step.status][0]


async def own_form(visit: Visit, case: CaseView) -> list[tuple[str, str]]:
    """What the person wrote, under the labels of the item's form; without the catalogue under the fields' names."""
    labels: dict[str, str] = {}
    try:
        item = await visit.portal.affairs.item(first_tenant(visit, case.number), case.item)
        labels = {field.name: field.label for field in item.fields}
    except Problem as problem:
        log.info("case.labels_missing", kind=problem.kind)
    in_order = [name for name in labels if name in case.form] + [name for name in case.form if name not in labels]
    people = [("申请人", case.applicant_name), ("联系电话", case.applicant_phone)]
    return people + [(labels.get(name, name), str(case.form[name])) for name in in_order]


def case_facts(
    directory: Directory, case: CaseDetail | CaseView, in_transit_to: str | None = None
) -> list[tuple[str, str]]:
    """Where a case began, where it has been, and where it is, or who closed it."""
    facts = [("办件编号", grouped(case.number)), ("受理单位", place_name(directory, case.number[:6]))]
    way = [place_name(directory, code) for code, _ in groupby(step.tenant for step in case.steps)]
    if len(way) > 1:
        facts.append(("流转路径", " → ".join(way)))
    facts.append(("提交时间", moment(case.filed_at)))
    if case.status in OPEN_STATUSES:
        return [*facts, ("现在由谁办理", where(directory, case.holder, in_transit_to))]
    return [*facts, ("决定单位", place_name(directory, case.holder)), ("决定时间", moment(case.changed_at))]


def words_at_the_end(case: CaseView) -> str:
    """What was decided, in the words of whoever decided it: the outcome's, or why it was not accepted."""
    if case.outcome:
        return case.outcome.text
    return next((step.reason for step in case.steps if step.status == "declined"), "")


def where(directory: Directory, holder: str, in_transit_to: str | None = None) -> str:
    """Who holds a case, and while it is on its way, who is to get it."""
    name = place_name(directory, holder)
    return f"{name} → {place_name(directory, in_transit_to)}" if in_transit_to else name


def place_name(directory: Directory, code: str) -> str:
    tenant = directory.by_code(code)
    return tenant.name if tenant else code


def first_tenant(visit: Visit, number: str) -> Tenant:
    """A case number begins with the code of the tenant where it was filed."""
    tenant = visit.portal.kernel.directory.by_code(number[:6])
    if tenant is None:
        raise Problem(404, "not-found")
    return tenant
