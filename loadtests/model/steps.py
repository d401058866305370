"""One step of a stepped load: what was carried, whether every objective was kept, and which rate comes next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from loadtests.gate.of_load import GENERATOR, run_checks, seen_by_people
from loadtests.gate.verdict import Check
from loadtests.model.capacity import LEAST_STEPS, Step
from loadtests.result import LoadResult
from loadtests.scenario import Scenario
from monitoring.objectives import Objectives

OF_WHOLE_RUNS = ("minimum of requests", "scenario")
"""What the gate asks of a run that decides alone; a step is one of many."""


@dataclass(frozen=True)
class Pace:
    """How a load is stepped: up by `factor` until an objective breaks, then to the middle (of the logarithm) between
    the last rate that was kept and the first that was not, until they are within `close` of each other."""

    first: float
    factor: float = 1.5
    close: float = 1.12
    most_steps: int = 14
    highest: float | None = None
    hold_seconds: float = 15
    ramp_seconds: float = 3

    def __post_init__(self) -> None:
        if not (math.isfinite(self.first) and self.first > 0):
            raise ValueError(f"a first rate of {self.first:g}: give a rate above zero")
        if not self.factor > self.close > 1:
            raise ValueError(f"a factor of {self.factor:g} and a bracket of {self.close:g}: factor > bracket > 1")


class MeasuredStep(BaseModel):
    """Rates are journeys a second. `used`: the tightest latency objective's percentile as a share of its limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offered: float
    begun: float
    carried: float = Field(description="ended in the hold, by the clock: above the capacity fewer than were begun")
    requests: int
    in_flight: float = Field(description="requests waited for at a moment of the hold, on average, by the clock")
    used: float
    failed_share: float
    generator_cpu_share: float
    broke: str | None = Field(None, description="the objective that was not kept, with its figure; None if all were")
    by_latency: bool = False
    limiting: str | None = Field(None, description="the component that was shown to be at its limit")

    @property
    def as_step(self) -> Step:
        return Step(self.offered, self.carried, self.in_flight, self.used, self.broke, self.by_latency)


def measured(result: LoadResult, scenario: Scenario, objectives: Objectives) -> MeasuredStep:
    """What one run of a step tells, by the gate's own checks of what people saw."""
    assert scenario.rate is not None, "a step has a rate"
    seconds = result.hold_seconds
    run = [one for one in run_checks(objectives, scenario, result) if one.limit not in OF_WHOLE_RUNS]
    promises = [one for one in seen_by_people(objectives, result) if one.figure is not None]
    broken = next((one for one in run if one.outcome == "broken"), None) or _broken(promises)
    return MeasuredStep(
        offered=scenario.rate,
        begun=result.journeys_begun / seconds,
        carried=result.journeys_ended / seconds,
        requests=result.requests,
        in_flight=result.in_flight_seconds / seconds,
        used=max((one.excess for one in promises if _is_latency(one)), default=0.0),
        failed_share=result.failed / result.requests if result.requests else 1.0,
        generator_cpu_share=result.generator.cpu_share,
        broke=broken.sentence if broken else None,
        by_latency=broken is not None and _is_latency(broken),
        limiting=GENERATOR if broken is not None and broken.kind == "run" else None,
    )


def _broken(promises: Sequence[Check]) -> Check | None:
    """The promise that was not kept. A latency beyond its limit is one, as the law goes through it; failures are only
    when the step leaves no doubt, since one of a few hundred requests may fail by accident."""
    failures = [one for one in promises if not _is_latency(one) and one.outcome == "broken"]
    latencies = [one for one in promises if _is_latency(one) and one.excess > 1]
    return max([*failures, *latencies], key=lambda one: one.excess, default=None)


def _is_latency(check: Check) -> bool:
    return check.kind == "promise" and check.unit == "seconds"


def next_rate(steps: Sequence[MeasuredStep], pace: Pace) -> float | None:
    """The rate to try next, None when the steps tell enough."""
    if not steps:
        return pace.first
    if len(steps) >= pace.most_steps:
        return None
    rates = [one.offered for one in steps]
    broken = min((one.offered for one in steps if one.broke), default=None)
    kept = max((one.offered for one in steps if not one.broke and (not broken or one.offered < broken)), default=None)
    if broken is None:
        return _higher(max(rates), pace)
    if kept is None:
        return broken / pace.factor**2
    if broken / kept > pace.close:
        return math.sqrt(kept * broken)
    telling = [one for one in steps if one.limiting != GENERATOR]
    return min(rates) / pace.factor if len(telling) < LEAST_STEPS else None


def _higher(rate: float, pace: Pace) -> float | None:
    if pace.highest is None:
        return rate * pace.factor
    return min(rate * pace.factor, pace.highest) if rate < pace.highest else None
