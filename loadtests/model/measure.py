"""A cell's capacity, measured: stepped load until an objective breaks, and proof of what was at its limit then.

The evidence is one file, `<environment's folder>/capacity/<UTC stamp>-<cell>.json`, beside a folder of the same name
that keeps each step's result. A plan names the file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from infra.errors import ExpectedError
from infra.outputs import EnvironmentOutputs
from infra.scalability import ScalabilityLaw
from loadtests.gate.of_load import GENERATOR
from loadtests.model.capacity import Capacity, CapacityError, Carried, Interval, capacity_of
from loadtests.model.steps import MeasuredStep, Pace, Seen, measured, next_rate
from loadtests.result import LoadResult
from loadtests.scenario import JourneyShare, Scenario

FOLDER = "capacity"
APPLICATION = "application"

PROOFS = 2
"""How many higher rates are tried when an objective broke before any component was at its limit."""

NARROW = 1.2
"""How far an interval may reach, from its low end to its high one, before more steps are made."""
NEARER = (0.97, 0.8)
"""Shares of the rate found so far at which these are."""
WIDEST = 1.4
"""How far an interval may reach, from its low end to its high one, before it says too little to plan from."""

Offer = Callable[[Scenario, Path], LoadResult]
"""Runs a scenario once and keeps its result in the folder given."""
Look = Callable[[Scenario, LoadResult], Seen]
"""What the gate says of such a run."""


class MeasurementError(ExpectedError):
    """There is no such measurement, or it does not hold; the message names the file."""


class MeasurementModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeasuredCapacity(MeasurementModel):
    """Journeys a second. `law` is over requests in flight in the cell; None when nothing broke."""

    rate: float = Field(gt=0, allow_inf_nan=False)
    low: float = Field(gt=0, allow_inf_nan=False)
    high: float | None = Field(gt=0, allow_inf_nan=False, description="None when it is only a lower bound")
    cost: float | None = Field(None, description="CPU seconds of the generator a journey then; None: not known")
    law: ScalabilityLaw | None = None
    peak: float | None = Field(None, description="the law's maximum; None where it has none")
    peak_low: float | None = None
    peak_high: float | None = None
    r_squared: float | None = None


class Measurement(MeasurementModel):
    schema_version: Literal[1, 2, 3] = Field(
        3, description="1: steps tell of journeys that began in the hold; 2: not judged as the gate judges"
    )
    environment: str
    cell: str
    role: str = APPLICATION
    hosts: dict[str, int] = Field(description="of the cell when it was measured, by role")
    database_class: str
    scenario: str
    journeys: tuple[JourneyShare, ...] = Field(description="only measurements of the same mix can be compared")
    hold_seconds: float
    started_at: AwareDatetime
    measured_at: AwareDatetime
    steps: tuple[MeasuredStep, ...]
    limiting: str | None = Field(None, description="the component at its limit where the first objective broke")
    capacity: MeasuredCapacity | None = Field(
        None, description="of the role's hosts; None when they were not the limit"
    )
    why_not: str = Field("", description="why it tells no capacity")
    finished: bool = Field(True, description="False when a run failed or somebody ended it; nothing is planned from it")

    @property
    def carried(self) -> Carried | None:
        """What the role's hosts carried, when an objective broke because of them."""
        if self.capacity is None or self.capacity.high is None:
            return None
        return Carried(self.hosts[self.role], self.capacity.rate, Interval(self.capacity.low, self.capacity.high))

    @property
    def unsure(self) -> str:
        """Why what it tells is too vague to say of a load whether it is carried; empty where it is not."""
        carried = self.carried
        if carried is None or carried.interval.high <= WIDEST * carried.interval.low:
            return ""
        return f"{carried.rate:.1f} journeys a second, or {carried.interval.low:.1f}, or {carried.interval.high:.1f}"

    @property
    def broken(self) -> str | None:
        """What was not kept at the lowest rate that broke something."""
        lowest = min((step for step in self.steps if step.broke), key=lambda step: step.offered, default=None)
        return lowest.broke if lowest else None

    def comparable(self, other: Measurement) -> bool:
        """Whether both asked the same of the same kind of hosts; their number may differ."""
        return (self.environment, self.cell, self.role, self.database_class, self.journeys) == (
            other.environment,
            other.cell,
            other.role,
            other.database_class,
            other.journeys,
        )

    @property
    def file_name(self) -> str:
        return f"{self.started_at:%Y%m%dT%H%M%SZ}-{self.cell}.json"


def component(cell: str, role: str) -> str:
    """How evidence names a role's hosts."""
    return f"{cell} {role} hosts"


def measure(
    cell: str,
    outputs: EnvironmentOutputs,
    scenario: Scenario,
    folder: Path,
    pace: Pace,
    offer: Offer,
    look: Look,
    say: Callable[[str], None],
) -> Measurement:
    """Steps the scenario's load on one cell and keeps the evidence in `folder` (an environment's), whatever ends it.

    Raises:
        MeasurementError: the environment has no such cell, or the scenario has no open arrival.
        CapacityError: the steps say nothing about capacity.
    """
    cell_outputs = next((cell_outputs for cell_outputs in outputs.cells if cell_outputs.cell == cell), None)
    if cell_outputs is None or not any(host.role == APPLICATION for host in cell_outputs.hosts):
        having = [
            other_cell.cell
            for other_cell in outputs.cells
            if any(host.role == APPLICATION for host in other_cell.hosts)
        ]
        raise MeasurementError(f"{cell} is no cell with {APPLICATION} hosts; there are {', '.join(having) or 'none'}")
    if scenario.arrival != "open":
        raise MeasurementError(f"scenario {scenario.name} is closed: only an open arrival can be stepped; name another")
    hosts = Counter(host.role for host in cell_outputs.hosts)
    started = datetime.now(UTC)
    results = folder / FOLDER / f"{started:%Y%m%dT%H%M%SZ}-{cell}"
    steps: list[MeasuredStep] = []

    def keep(capacity: MeasuredCapacity | None, why_not: str, finished: bool = True) -> Measurement:
        measurement = Measurement(
            environment=outputs.environment,
            cell=cell,
            hosts=dict(hosts),
            database_class=cell_outputs.database.instance_class,
            scenario=scenario.name,
            journeys=tuple(scenario.journeys),
            hold_seconds=pace.hold_seconds,
            started_at=started,
            measured_at=datetime.now(UTC),
            steps=tuple(steps),
            limiting=_at_limit(steps),
            capacity=capacity,
            why_not=why_not,
            finished=finished,
        )
        path = save(measurement, folder)
        say(f"{cell}: {len(steps)} steps are kept in {path}")
        return measurement

    try:
        _step(steps, cell, scenario, results, pace, offer, look, say)
    except BaseException as error:  # Ctrl-C as well: the steps before it took minutes
        if steps:
            keep(None, f"cut short: {str(error) or type(error).__name__}", finished=False)
        raise
    try:
        capacity, why_not = _claim(steps, _at_limit(steps), component(cell, APPLICATION))
    except Exception as error:
        keep(None, str(error))
        raise
    return keep(capacity, why_not)


def _step(
    steps: list[MeasuredStep],
    cell: str,
    scenario: Scenario,
    folder: Path,
    pace: Pace,
    offer: Offer,
    look: Look,
    say: Callable[[str], None],
) -> None:
    """Adds step after step to `steps`; ends early when what broke is nothing of the hosts that are measured."""
    rate, number, proofs, repeated = next_rate(steps, pace), 0, 0, False
    while rate is not None:
        number += 1
        wanted = scenario.model_copy(update={"cell": cell, "rate": rate, "hold_seconds": pace.hold_seconds})
        result = offer(wanted, folder / f"step-{number:02d}")
        step = measured(result, wanted, look(wanted, result))
        say(_told(step))
        if not repeated and (step.unsure or (step.broke and step.limiting is None)):
            # A break that no component's limit explains may be the machine's noise: it has to happen twice.
            said = "the run could not tell" if step.unsure else "no component was at its limit"
            say(f"{rate:.1f}/s: {said}; the same again")
            repeated = True
            continue
        repeated = False
        steps.append(step)
        at_limit = _at_limit(steps)
        if step.broke and at_limit is None and proofs < PROOFS:
            proofs += 1
            rate = max(tried.offered for tried in steps) * pace.factor
            say(f"{rate:.1f}/s: higher, to see which component comes to its limit")
        elif at_limit in (component(cell, APPLICATION), GENERATOR) or not any(tried.broke for tried in steps):
            # A generator at its limit far above what the hosts carry says nothing against them: lower rates decide.
            rate = None if _narrow(steps) else next_rate(steps, pace) or _nearer(steps, pace)
            if (
                at_limit == GENERATOR
                and rate is not None
                and any(rate < tried.offered for tried in steps if tried.kept)
            ):
                break
        else:
            break


def _narrow(steps: Sequence[MeasuredStep]) -> bool:
    """Whether the steps tell well enough what the hosts carry."""
    capacity = _told_so_far(steps)
    return capacity is not None and capacity.interval.high <= NARROW * capacity.interval.low


def _nearer(steps: Sequence[MeasuredStep], pace: Pace) -> float | None:
    """Where another step makes a wide interval narrower: next to what the steps tell so far, and some way below it, in
    turn. None when steps enough were made for it, or when they tell nothing.
    """
    more = sum(next_rate(steps[:made], pace) is None for made in range(1, len(steps)))
    if more >= pace.most_more or len(steps) >= pace.most_steps:
        return None
    capacity = _told_so_far(steps)
    return capacity.rate * NEARER[more % len(NEARER)] if capacity else None


def _told_so_far(steps: Sequence[MeasuredStep]) -> Capacity | None:
    """None where it is nothing, or only a lower bound; why is told when all is done."""
    try:
        capacity = _found(steps)
    except (CapacityError, ArithmeticError):
        return None
    return None if capacity.lower_bound else capacity


def _found(steps: Sequence[MeasuredStep]) -> Capacity:
    """By the steps that say anything of the hosts."""
    return capacity_of([step.as_step for step in steps if step.limiting != GENERATOR])


def _at_limit(steps: Sequence[MeasuredStep]) -> str | None:
    """What broke first: the component at its limit at the lowest rate whose break shows one. Just above the capacity a
    component may not be seen at its limit yet; a higher rate has shown it then."""
    broken = sorted((step for step in steps if step.broke), key=lambda step: step.offered)
    return next((step.limiting for step in broken if step.limiting), None)


def _told(step: MeasuredStep) -> str:
    figures = f"{step.offered:.1f}/s: carried {step.carried:.1f}/s, latency at {step.used:.0%} of its limit"
    if step.fullness is not None:
        figures += f", hosts at {step.fullness:.0%} of theirs"
    if step.cost is not None:
        figures += f", {step.cost * 1000:.1f} ms of the generator's CPU a journey"
    if step.machine is not None:
        figures += f", machine at {step.machine.whole:.0f} MiB/s"
    if step.unsure:
        return f"{figures}; unsure: {step.unsure.rstrip('.')}"
    if not step.broke:
        return figures
    return f"{figures}; {step.broke.rstrip('.')}" + (f"; {step.limiting} at the limit" if step.limiting else "")


def _claim(steps: Sequence[MeasuredStep], limiting: str | None, wanted: str) -> tuple[MeasuredCapacity | None, str]:
    """The capacity of the hosts, if they were the limit, else why there is none."""
    broken = min((step.offered for step in steps if step.broke), default=None)
    if broken is not None and limiting is None:
        return None, (
            f"an objective broke at {broken:.1f}/s, and nothing shows which component was at its limit: "
            "is monitoring there? make status"
        )
    if broken is not None and limiting != wanted:
        return None, f"at {broken:.1f}/s the limit was {limiting}: that says nothing of {wanted}"
    capacity = _found(steps)
    if capacity.lower_bound:
        return MeasuredCapacity(rate=capacity.rate, low=capacity.interval.low, high=None), ""
    assert capacity.fit is not None
    peak = capacity.fit.interval(lambda law: law.peak)
    return MeasuredCapacity(
        rate=capacity.rate,
        low=capacity.interval.low,
        high=capacity.interval.high,
        cost=capacity.cost,
        law=capacity.fit.law,
        peak=_finite(capacity.fit.law.peak),
        peak_low=_finite(peak.low),
        peak_high=_finite(peak.high),
        r_squared=capacity.fit.r_squared,
    ), ""


def _finite(figure: float) -> float | None:
    return figure if math.isfinite(figure) else None


def save(measurement: Measurement, folder: Path) -> Path:
    """Writes the evidence, whole or not at all."""
    path = folder / FOLDER / measurement.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text(measurement.model_dump_json(indent=2) + "\n", "utf-8")
    return beside.replace(path)


def read(path: Path) -> Measurement:
    """
    Raises:
        MeasurementError: there is none there, or it does not hold.
    """
    try:
        return Measurement.model_validate_json(path.read_bytes())
    except OSError as error:
        raise MeasurementError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first: Any = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        what = f"{place}: {first['msg']}" if place else first["msg"]
        raise MeasurementError(f"{path}: {what}; remove it, then measure again: make plan") from None


def known(folder: Path, cell: str, since: datetime) -> list[Measurement]:
    """The cell's finished measurements in an environment's folder that are not older than `since`, newest first."""
    measurements = [read(path) for path in sorted((folder / FOLDER).glob(f"*-{cell}.json"))]
    return sorted(
        (
            measurement
            for measurement in measurements
            if measurement.finished and measurement.cell == cell and measurement.measured_at >= since
        ),
        key=lambda measurement: measurement.measured_at,
        reverse=True,
    )
