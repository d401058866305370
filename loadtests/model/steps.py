"""One step of a stepped load: what was carried, whether the gate would let it through, and which rate comes next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from loadtests.gate.of_load import GENERATOR, MINIMUM
from loadtests.gate.verdict import Check, Verdict
from loadtests.model.capacity import LEAST_STEPS, Step
from loadtests.result import LoadResult, Machine
from loadtests.scenario import Scenario

OF_WHOLE_RUNS = (MINIMUM, "age of the plan")
"""What the gate asks of a run that decides alone; a step is one of many."""


@dataclass(frozen=True)
class Seen:
    """What the gate says of a step's run, and how full the measured hosts were: CPU of all as a share of what they may
    use. `one_machine`: they share the generator's, as in a local environment.
    """

    verdict: Verdict
    fullness: float | None
    one_machine: bool = False


@dataclass(frozen=True)
class Pace:
    """How a load is stepped: up by `factor` until an objective breaks, then to the middle (of the logarithm) between
    the last rate that was kept and the first that was not, or could not be told, until they are within `close` of each
    other; then `most_more` steps at most to make the interval narrow. The ramp before each hold is the scenario's."""

    first: float
    factor: float = 1.5
    close: float = 1.12
    most_steps: int = 14
    most_more: int = 6
    highest: float | None = None
    hold_seconds: float = 20

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
    fullness: float | None = Field(None, description="CPU of all measured hosts as a share of what they may use")
    cost: float | None = Field(
        None, description="CPU seconds of the generator a journey, where hosts share its machine: what work costs there"
    )
    machine: Machine | None = None
    broke: str | None = Field(None, description="the limit that was not kept, with its figure; None if all were")
    unsure: str | None = Field(None, description="why the run could not tell, twice; then `broke` is None")
    by_latency: bool = False
    limiting: str | None = Field(None, description="the component that was shown to be at its limit")

    @property
    def kept(self) -> bool:
        return not self.broke and not self.unsure

    @property
    def as_step(self) -> Step:
        return Step(
            self.offered,
            self.carried,
            self.in_flight,
            self.used,
            self.broke,
            self.by_latency,
            self.fullness,
            self.cost,
        )


def measured(result: LoadResult, scenario: Scenario, seen: Seen) -> MeasuredStep:
    """What one run of a step tells: the gate's own verdict, without what it asks of runs that decide alone."""
    assert scenario.rate is not None, "a step has a rate"
    seconds = result.hold_seconds
    reasons = [reason for reason in seen.verdict.reasons if reason.limit not in OF_WHOLE_RUNS]
    broken = [reason for reason in reasons if reason.outcome == "broken"]
    of_run = next((reason for reason in broken if reason.kind == "run"), None)
    late = [reason for reason in broken if _is_latency(reason)]
    first = of_run or next(iter(broken), None)
    return MeasuredStep(
        offered=scenario.rate,
        begun=result.journeys_begun / seconds,
        carried=result.journeys_ended / seconds,
        requests=result.requests,
        in_flight=result.in_flight_seconds / seconds,
        used=max((check.excess for check in (*reasons, *seen.verdict.kept) if _is_latency(check)), default=0.0),
        failed_share=result.failed / result.requests if result.requests else 1.0,
        generator_cpu_share=result.generator.cpu_share,
        fullness=seen.fullness,
        cost=result.journey_cost if seen.one_machine else None,
        machine=result.machine,
        broke=first.sentence if first else None,
        unsure=reasons[0].sentence if reasons and not first else None,
        by_latency=not of_run and bool(late),
        limiting=GENERATOR if of_run else seen.verdict.limiting if first else None,
    )


def _is_latency(check: Check) -> bool:
    """Of those whose percentile follows the law; what is a share of slow answers does not."""
    return check.kind == "promise" and check.unit == "seconds" and check.limit.startswith("latency")


def next_rate(steps: Sequence[MeasuredStep], pace: Pace) -> float | None:
    """The rate to try next, None when the steps tell enough."""
    if not steps:
        return pace.first
    if len(steps) >= pace.most_steps:
        return None
    rates = [step.offered for step in steps]
    broken = min((step.offered for step in steps if step.broke), default=None)
    doubtful = min((step.offered for step in steps if step.broke or step.unsure), default=None)
    kept = max(
        (step.offered for step in steps if step.kept and (not doubtful or step.offered < doubtful)), default=None
    )
    if doubtful is None:
        return _higher(max(rates), pace)
    if kept is None:
        return doubtful / pace.factor**2
    if doubtful / kept > pace.close:
        return math.sqrt(kept * doubtful)
    if broken is None:
        return _higher(max(rates), pace)
    telling = [step for step in steps if step.limiting != GENERATOR]
    return min(rates) / pace.factor if len(telling) < LEAST_STEPS else None


def _higher(rate: float, pace: Pace) -> float | None:
    if pace.highest is None:
        return rate * pace.factor
    return min(rate * pace.factor, pace.highest) if rate < pace.highest else None
