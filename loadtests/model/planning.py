"""From measurements and a target to a plan: how many application hosts each cell needs, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from infra.database_classes import DATABASE_CLASSES
from infra.errors import ExpectedError
from infra.plan import CellCapacity, CellPlan, Plan, inconsistencies
from infra.registry import Registry
from infra.scalability import OutOfReach, ScalabilityLaw
from infra.services import CORE
from loadtests.model.capacity import CapacityError, Carried, Fit, Interval, fit_hosts
from loadtests.model.measure import APPLICATION, FOLDER, Measurement
from monitoring.objectives import CapacityLimits

LEAST_HOSTS = 2
"""Fewer cannot be deployed one after another while the cell serves."""
DIGITS = 6


class PlanningError(ExpectedError):
    """No plan follows from what was measured: what is missing, and the way out."""


@dataclass(frozen=True)
class Demand:
    """What a cell must carry: its part of a scenario's rate, in journeys a second."""

    cell: str
    rate: float
    scenario: str


@dataclass(frozen=True)
class Change:
    """What the plan makes of one role's hosts in one cell, and why; `before` may be `after`."""

    cell: str
    role: str
    before: int
    after: int
    reason: str
    carries: float
    carries_interval: Interval

    def __str__(self) -> str:
        hosts = f"{self.before} → {self.after}" if self.before != self.after else f"stays {self.after}"
        return f"{self.cell}: {self.role} {hosts}: {self.reason}"


@dataclass(frozen=True)
class Proposal:
    """A plan beside today's, with its reasons. `renewed`: the evidence of a measured plan is newer, the hosts are the
    same or not."""

    today: Plan
    plan: Plan
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def changes_hosts(self) -> bool:
        return any(change.before != change.after for change in self.changes)

    @property
    def changes_nothing(self) -> bool:
        return self.plan == self.today

    @property
    def reasons(self) -> tuple[str, ...]:
        return (*(str(change) for change in self.changes), *self.notes)


@dataclass(frozen=True)
class _Sized:
    change: Change
    capacity: CellCapacity | None
    notes: tuple[str, ...]


def propose(
    today: Plan,
    demands: Sequence[Demand],
    evidence: Mapping[str, Sequence[Measurement]],
    limits: CapacityLimits,
    registry: Registry,
    now: datetime,
    *,
    allow_fewer: bool = False,
) -> Proposal:
    """The plan that carries every demand with the headroom unused. `evidence`: each cell's measurements, newest first.

    A plan written by hand stays one when its hosts are enough: it then rests on no measurement and does not age.

    Raises:
        PlanningError: a cell is unknown, nothing tells its capacity, no number of hosts does, or the database cannot
            serve so many hosts.
    """
    sized = {
        demand.cell: _size(today, demand, evidence.get(demand.cell, ()), limits, allow_fewer) for demand in demands
    }
    changes = tuple(sizing.change for sizing in sized.values())
    notes = tuple(note for sizing in sized.values() for note in sizing.notes)
    measured = {cell: sizing.capacity for cell, sizing in sized.items() if sizing.capacity}
    enough = all(change.before == change.after for change in changes)
    if not measured or (enough and today.by_hand):
        return Proposal(today, today, changes, notes)
    cells = dict(today.cells)
    for name, capacity in measured.items():
        hosts = cells[name].hosts | {APPLICATION: sized[name].change.after}
        cells[name] = cells[name].model_copy(update={"hosts": hosts, "capacity": capacity})
    run = " ".join(sorted(PurePosixPath(capacity.evidence).stem for capacity in measured.values()))
    plan = Plan(made_by=f"model {run}", made_at=now, cells=cells, placements=today.placements)
    _check(plan, registry)
    same = plan.cells == today.cells and plan.made_by == today.made_by
    return Proposal(today, today if same else plan, changes, notes)


def _size(
    today: Plan, demand: Demand, evidence: Sequence[Measurement], limits: CapacityLimits, allow_fewer: bool
) -> _Sized:
    """How many application hosts one cell needs."""
    cell = _cell(today, demand.cell)
    before = cell.hosts[APPLICATION]
    newest = _newest(demand.cell, evidence)
    assert newest.capacity is not None
    if newest.carried is None:
        return _Sized(_by_lower_bound(demand, before, newest, newest.capacity.rate, limits), None, ())
    fitted, used, notes = _law(newest, evidence, limits)
    capacity = CellCapacity(
        role=APPLICATION,
        hosts=newest.carried.hosts,
        rate=_rounded(newest.carried.rate),
        low=_rounded(newest.carried.interval.low),
        high=_rounded(newest.carried.interval.high),
        parameters=_rounded_law(fitted.law),
        headroom=limits.headroom,
        scenario=demand.scenario,
        target_rate=_rounded(demand.rate),
        evidence=f"{FOLDER}/{newest.file_name}",
        measured_at=newest.measured_at,
    )
    try:
        needed = capacity.hosts_needed
    except OutOfReach as error:
        raise PlanningError(
            f"{demand.cell}: {error}",
            "add a cell to the plan and place some of its tenants there, or plan for a lower rate",
        ) from None
    after, kept = _counted(before, needed, capacity, allow_fewer)
    reason = (
        f"target {demand.rate:.1f}/s with headroom {limits.headroom:g} needs {_hosts(needed)}; "
        f"{newest.carried.hosts} carry {_with_interval(newest.carried.rate, newest.carried.interval)}{kept}"
    )
    carries = fitted.interval(lambda law: law.throughput(after))
    change = Change(demand.cell, APPLICATION, before, after, reason, fitted.law.throughput(after), carries)
    return _Sized(change, capacity, (*notes, *_said_of_law(demand.cell, fitted.law, used, limits)))


def _cell(plan: Plan, name: str) -> CellPlan:
    if name not in plan.cells or APPLICATION not in plan.cells[name].hosts:
        having = ", ".join(sorted(plan.tenant_cells)) or "none"
        wrong = "has no application hosts" if name == CORE else "is not in the plan"
        raise PlanningError(f"{name} {wrong}", f"name a tenants' cell of the plan: {having}")
    return plan.cells[name]


def _newest(cell: str, evidence: Sequence[Measurement]) -> Measurement:
    """The newest measurement decides: an older one that told more may tell of another release."""
    if not evidence:
        raise PlanningError(f"{cell} was never measured, or too long ago", "measure it: make plan")
    newest = max(evidence, key=lambda measurement: measurement.measured_at)
    if newest.cell != cell:
        raise PlanningError(f"the measurement is of {newest.cell}, not of {cell}", "measure it: make plan")
    if newest.capacity is None:
        raise PlanningError(
            f"{cell}: {newest.why_not}",
            "a generator at its limit: more workers (WORKERS=n); another component: give it more, then make plan again",
        )
    if newest.unsure:
        raise PlanningError(
            f"{cell}: UNSURE: {newest.hosts[APPLICATION]} hosts carry {newest.unsure}",
            "too vague to plan from: measure again when the machine is quiet: make plan",
        )
    return newest


def _by_lower_bound(demand: Demand, before: int, newest: Measurement, rate: float, limits: CapacityLimits) -> Change:
    hosts = newest.hosts[APPLICATION]
    usable = (1 - limits.headroom) * rate
    if usable < demand.rate or before < hosts:
        raise PlanningError(
            f"{demand.cell}: {hosts} hosts carried {rate:.1f}/s and nothing broke; that says nothing of "
            f"{demand.rate:.1f}/s with headroom {limits.headroom:g}",
            "measure until an objective breaks: make plan",
        )
    reason = f"{hosts} carry at least {rate:.1f}/s, the target is {demand.rate:.1f}/s"
    return Change(demand.cell, APPLICATION, before, before, reason, rate, Interval(rate, float("inf")))


def _law(
    newest: Measurement, evidence: Sequence[Measurement], limits: CapacityLimits
) -> tuple[Fit, list[Carried], list[str]]:
    """The law over the number of hosts, from the newest comparable measurement of each number.

    An earlier measurement that the newest one contradicts is left out, and said so.
    """
    assert newest.carried is not None
    by_count: dict[int, Carried] = {}
    for measurement in sorted(evidence, key=lambda measurement: measurement.measured_at, reverse=True):
        if measurement.comparable(newest) and measurement.carried is not None:
            by_count.setdefault(measurement.carried.hosts, measurement.carried)
    points = [by_count[count] for count in sorted(by_count)]
    try:
        fitted = fit_hosts(points, limits.contention)
        if len(points) == 1 or fitted.law.throughput(newest.carried.hosts) in newest.carried.interval:
            return fitted, points, []
        alone = fit_hosts([newest.carried], limits.contention)
    except CapacityError as error:
        raise PlanningError(f"{newest.cell}: {error}", "measure again: make plan") from None
    counts = ", ".join(str(point.hosts) for point in points if point.hosts != newest.carried.hosts)
    return alone, [newest.carried], [f"{newest.cell}: earlier measurements ({counts} hosts) contradict it: left out"]


def _counted(before: int, needed: int, capacity: CellCapacity, allow_fewer: bool) -> tuple[int, str]:
    """The new count, and what is said of hosts beyond it. More may carry less: too many are too many."""
    if capacity.usable(before) < capacity.target_rate:
        return needed, ""
    enough = (
        count for count in range(max(needed, LEAST_HOSTS), before) if capacity.usable(count) >= capacity.target_rate
    )
    fewest = next(enough, before)
    if fewest == before or allow_fewer:
        return fewest, ""
    return before, f"; --allow-fewer takes {before - fewest} away"


def _said_of_law(cell: str, law: ScalabilityLaw, used: Sequence[Carried], limits: CapacityLimits) -> list[str]:
    if len(used) == 1:
        return [
            f"{cell}: measured with one number of hosts ({used[0].hosts}); contention σ = {limits.contention:g} is "
            "assumed (slo.yaml), from none to twice of it in the interval"
        ]
    counts = ", ".join(str(point.hosts) for point in used)
    return [f"{cell}: law from {counts} hosts: σ = {law.contention:.3g}, κ = {law.coherency:.3g}"]


def _check(plan: Plan, registry: Registry) -> None:
    """The tenants' pools of all hosts must fit the database; a larger class is a person's decision."""
    faults = inconsistencies(plan, registry)
    if not faults:
        return
    larger = [larger for name in plan.tenant_cells if (larger := _larger_class(plan, name, registry))]
    raise PlanningError(
        "the plan would not hold: " + "; ".join(faults), "; ".join(larger) or "mend today's plan, then plan again"
    )


def _larger_class(plan: Plan, name: str, registry: Registry) -> str | None:
    """The smallest class of the same family with which the cell's pools fit, as advice."""
    cell = plan.cells[name]
    if not any(fault.startswith(f"cells.{name}:") for fault in inconsistencies(plan, registry)):
        return None
    family = cell.database.instance_class.rsplit(".", 2)[0]
    fitting = sorted(
        (instance_class for instance_class in DATABASE_CLASSES if instance_class.startswith(family)),
        key=lambda instance_class: DATABASE_CLASSES[instance_class].max_connections,
    )
    for instance_class in fitting:
        database = cell.database.model_copy(update={"instance_class": instance_class})
        changed = plan.model_copy(update={"cells": plan.cells | {name: cell.model_copy(update={"database": database})}})
        if not any(fault.startswith(f"cells.{name}:") for fault in inconsistencies(changed, registry)):
            return (
                f"set cells.{name}.database.instance_class to {instance_class} (a restart of the database), "
                "then plan again"
            )
    return f"no class of {family} serves so many hosts: add a cell and place some of the tenants there"


def _with_interval(rate: float, interval: Interval) -> str:
    return f"{rate:.1f}/s ({interval.low:.1f} to {interval.high:.1f})"


def _hosts(count: int) -> str:
    return f"{count} host" if count == 1 else f"{count} hosts"


def _rounded(figure: float) -> float:
    """As it is written to the plan: what is checked must be what is read again."""
    return float(f"{figure:.{DIGITS}g}")


def _rounded_law(law: ScalabilityLaw) -> ScalabilityLaw:
    return ScalabilityLaw(
        of_one=_rounded(law.of_one), contention=_rounded(law.contention), coherency=_rounded(law.coherency)
    )
