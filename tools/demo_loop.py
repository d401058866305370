"""The loop, shown: what a cell carries is measured, a launch above it is refused, the plan adds hosts, the same gate
lets the launch through.

The target is 1.2 times what the cell's application hosts carried in this very run, so the same story is told on any
machine. What cannot tell is asked again: a measurement whose interval reaches to the target, a gate that is UNSURE, a
machine on which work costs more or less by then (where it costs less the hosts carry more, and the target follows).
Then the demonstration ends as unsure itself, with the reason: nothing is pretended. A definite verdict against what
was measured, and against what the measurement leaves open, is told at once; where another measurement, made now, lets
expect the same as the one before, and the gate says against it again, it is a fault and ends the demonstration.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from infra import plan as plans
from infra.engine import Engine, changed_resources
from loadtests import scenario as scenarios
from loadtests.model.capacity import Carried
from loadtests.model.measure import APPLICATION, Measurement
from loadtests.scenario import Scenario
from tools.gate import Judged, run_gate
from tools.measured_plan import make_plan, measure_cell
from tools.recovering import Recovering
from tools.stages import Run, StageError
from tools.verbs.resize import resize

Outcome = TypeVar("Outcome")

SCENARIO = "cell"
CELL = "cell-a"
FACTOR = 1.2
GATES = 3
"""How often a gate is asked before what it cannot tell is left open: on some machines work costs a third more in one
minute than in the next."""
SHOWN_REASONS = 5
BUDGET_SECONDS = 20 * 60.0
"""Of the whole demonstration: no step begins after it. Each step is bounded by itself."""


@dataclass(frozen=True)
class Lengths:
    """Seconds of hold: of each step of the measurement, and of each gate."""

    step: float
    gate: float


FULL = Lengths(step=20.0, gate=60.0)
SHORT = Lengths(step=15.0, gate=30.0)
QUIET = "on a busy machine, try again when it is quiet: make demo-loop"


@dataclass
class Story:
    """The figures of one demonstration; kept as `loop.json`."""

    environment: str
    cell: str
    hosts_before: int = 0
    carried: float = 0.0
    carried_interval: tuple[float, float] = (0.0, 0.0)
    broke: str = ""
    cost: float | None = None
    cheaper: float = 1.0
    """How much more they carried when the gate refused, because work cost less than when they were measured."""
    target: float = 0.0
    before: dict[str, object] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    hosts_after: int = 0
    predicted: float = 0.0
    predicted_interval: tuple[float, float] = (0.0, 0.0)
    set_aside: list[str] = field(default_factory=list)
    """Verdicts against a measurement that another one, made at once, did not confirm: the machine had changed."""
    after: dict[str, object] = field(default_factory=dict)
    measured_after: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Contradiction(StageError):
    """A figure is not what another one lets expect, and nothing explains it."""


class Unsure(StageError):
    """What was measured does not tell. `cheaper`: how much less work costs than it did in the measurement, where that
    is why."""

    def __init__(self, cause: str, way_out: str, cheaper: float = 1.0) -> None:
        super().__init__(cause, way_out)
        self.cheaper = cheaper


class Demonstration:
    """One run of the loop in a local or test environment.

    Raises (`run`):
        Unsure: a step could not tell, twice.
        StageError: a step did not show what it must; says which, and with which figure.
    """

    def __init__(
        self,
        port: Recovering,
        console: Console,
        lengths: Lengths = FULL,
        measure_after: bool = True,
        budget: float = BUDGET_SECONDS,
    ) -> None:
        self.port = port
        self.console = console
        self.lengths = lengths
        self.measure_after = measure_after
        self.story = Story(port.environment, CELL)
        self._ends = time.monotonic() + budget

    @property
    def engine(self) -> Engine:
        return self.port.engine

    def run(self) -> Story:
        scenario = scenarios.load(SCENARIO).changed(hold_seconds=self.lengths.gate)
        with self._step("start", "from the plan that was written by hand"):
            self._begin_small()
        try:
            self._tell(scenario)
        finally:
            path = self.engine.folder.logs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-loop.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(self.story), ensure_ascii=False, indent=2) + "\n")
        self.console.print(self._table())
        return self.story

    def _tell(self, scenario: Scenario) -> None:
        story = self.story
        launch = self._refused_as_measured(scenario)
        with self._step("plan", "from what was measured"):
            planned = make_plan(self.engine, launch, cell=CELL, measuring=False, say=self._say)
            story.reasons = list(planned.proposal.reasons)
            for reason in story.reasons:
                self._say(reason)
            change = next(change for change in planned.proposal.changes if change.cell == CELL)
            story.hosts_after, story.predicted = change.after, change.carries
            story.predicted_interval = (change.carries_interval.low, change.carries_interval.high)
            if change.after <= change.before:
                raise StageError(f"the plan adds no host: {change}", "measure again: make demo-loop")
        with self._step("preview", f"pulumi preview -s {self.engine.stack(CELL)}"):
            story.added = self._preview()
        with self._step("apply", "pulumi up of the cell's stack, then the playbook"):
            self._resize()
        with self._step("gate", "the same gate, the same target"):
            story.after = self._let_through(scenario, launch)
        if self.measure_after:
            self._measure_again(scenario)

    def _again(self, step: Callable[[], Outcome], times: int) -> Outcome:
        """What the step gives; one that cannot tell is repeated, so often in all, with a word.

        Raises:
            Unsure: it could not tell at the last time.
            Contradiction: it tells against what was measured.
        """
        for _ in range(times - 1):
            try:
                return step()
            except Unsure as error:
                self._say(f"UNSURE, again: {error.cause}")
        return step()

    def _refused_as_measured(self, scenario: Scenario) -> Scenario:
        """The launch that the gate refused. A gate that lets it through against the measurement is asked again with
        another measurement: the machine may have changed meanwhile, without a sign.

        Raises:
            Contradiction: twice.
        """
        try:
            return self._again(lambda: self._measured_and_refused(scenario), 2)
        except Contradiction as error:
            self._set_aside(error)
        return self._again(lambda: self._measured_and_refused(scenario), 2)

    def _let_through(self, scenario: Scenario, launch: Scenario) -> dict[str, object]:
        """The verdict that lets the launch through. Where it is refused against what was foretold of the grown cell,
        the cell itself is measured, and the gate asked again.

        Raises:
            Contradiction: twice, or the grown cell carries less than the target.
        """
        try:
            return self._again(lambda: self._gate(launch, "GO"), GATES)
        except Contradiction as error:
            self._set_aside(error)
            carried = _carried(self._measure(scenario))
            self.story.measured_after = carried.rate
            if carried.interval.high < self.story.target:
                raise
        return self._again(lambda: self._gate(launch, "GO"), GATES)

    def _set_aside(self, error: Contradiction) -> None:
        self.story.set_aside.append(error.cause)
        self._say(f"AGAINST WHAT WAS MEASURED, so it is measured again: {error.cause}")

    def _measured_and_refused(self, scenario: Scenario) -> Scenario:
        story = self.story
        # Each step makes its own people and removes them with their cases: desks that fill up would cost ever more.
        with self._step("measure", f"what the application hosts of {CELL} carry"):
            measurement = self._measure(scenario)
        carried = _carried(measurement)
        story.hosts_before, story.carried = carried.hosts, carried.rate
        story.carried_interval = (carried.interval.low, carried.interval.high)
        story.broke = measurement.broken or ""
        story.cost = measurement.capacity.cost if measurement.capacity else None
        story.cheaper, story.target = 1.0, round(FACTOR * carried.rate, 2)
        if carried.interval.high > story.target:
            raise Unsure(
                f"the hosts may carry {carried.interval.high:.1f} journeys a second, more than the target of "
                f"{story.target:.1f}",
                QUIET,
            )
        with self._step("gate", f"is {CELL} fit for {story.target:.1f} journeys a second? It should not be"):
            return self._again(lambda: self._refused(scenario), GATES)

    def _refused(self, scenario: Scenario) -> Scenario:
        """The launch that the gate refused. Where work costs less by now, the next one asks for as much more."""
        story = self.story
        launch = scenario.changed(rate=story.target)
        try:
            story.before = self._gate(launch, "NO-GO")
        except Unsure as error:
            story.cheaper = max(story.cheaper, error.cheaper)
            story.target = round(FACTOR * story.carried * story.cheaper, 2)
            raise
        self._must_be_the_application_hosts(str(story.before["limiting"]))
        return launch

    def _measure_again(self, scenario: Scenario) -> None:
        """A figure beside the model's; the loop has been shown without it."""
        if time.monotonic() + 2 * self.story.seconds["measure"] > self._ends:
            self._say("no time is left to measure what they carry now")
            return
        with self._step("measure", "what they carry now, beside what the model said"):
            try:
                self.story.measured_after = _carried(self._measure(scenario)).rate
            except StageError as error:
                self._say(f"not measured: {error.cause}")

    def _begin_small(self) -> None:
        """Back to the tracked plan where an earlier demonstration has left its own."""
        own = self.engine.folder.plan
        if own.exists() and not plans.read(own).by_hand:
            self._say(f"{own} was measured earlier; it is set aside")
            own.rename(own.with_name(f"plan-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"))
            self._resize()

    def _resize(self) -> None:
        resize(self.port, CELL, Run("resize", self.port.folder.logs, self.console))

    def _measure(self, scenario: Scenario) -> Measurement:
        return measure_cell(self.engine, scenario, CELL, hold_seconds=self.lengths.step, say=self._say)

    def _gate(self, launch: Scenario, expected: str) -> dict[str, object]:
        """The verdict's figures.

        Raises:
            Unsure: the run tells nothing, or work costs so much more or less by now that the other verdict is right.
            Contradiction: a definite verdict, and another than the expected one.
        """
        judged = run_gate(self.engine, launch, say=self._say)
        verdict = judged.verdict
        for reason in verdict.reasons[:SHOWN_REASONS]:
            self._say(reason.sentence)
        self._say(f"{verdict.verdict}: {verdict.proof} ({judged.page})")
        if verdict.verdict == expected and verdict.tells:
            return _figures(judged)
        said = verdict.reasons[0].sentence if verdict.reasons else "every limit was kept."
        told = f"the gate says {verdict.verdict} where {expected} was due at {launch.rate}/s: {said} {verdict.proof}"
        if verdict.verdict == "UNSURE" or not verdict.tells:
            raise Unsure(told, f"see {judged.page}; {QUIET}")
        if explained := self._explained(judged, expected):
            said, cheaper = explained
            raise Unsure(f"{told}; {said}", f"see {judged.page}; {QUIET}", cheaper)
        raise Contradiction(told, f"see {judged.page}; {QUIET}")

    def _explained(self, judged: Judged, expected: str) -> tuple[str, float] | None:
        """Why another verdict than the expected one is no contradiction: the measurement leaves it open, at the cost
        that work has now. And how much less it costs than in the measurement. None where it is one."""
        story, cost = self.story, judged.load.journey_cost if judged.load else None
        cheaper = story.cost / cost if story.cost and cost else 1.0
        refused = expected == "NO-GO"
        low, high = story.carried_interval if refused else story.predicted_interval
        if high * cheaper < story.target if refused else low * cheaper >= story.target:
            return None
        costs = f"; work costs {1 / cheaper:.2f} times what it did when they were measured" if cheaper != 1.0 else ""
        return f"the hosts carry {low * cheaper:.1f} to {high * cheaper:.1f}{costs}", cheaper

    def _must_be_the_application_hosts(self, limiting: str) -> None:
        if limiting != f"{CELL} {APPLICATION} hosts":
            raise Unsure(
                f"the gate names {limiting} as the limit, not {CELL}'s application hosts",
                "another host would not help; see the report's proof",
            )

    def _preview(self) -> list[str]:
        """The resources that the engine would make; each must be of a host that the plan adds."""
        log = self.engine.folder.logs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-loop-preview.log"
        with log.open("w") as file:
            self.engine.preview(CELL, file)
        resources = changed_resources(log.read_text())
        for resource in resources:
            self._say(resource)
        new = [f"{CELL}-{APPLICATION}-{n}" for n in range(self.story.hosts_before + 1, self.story.hosts_after + 1)]
        strangers = [resource for resource in resources if not any(name in resource for name in new)]
        if strangers or not resources:
            raise StageError(f"the preview touches more than the new hosts: {strangers}", f"see {log}")
        return resources

    def _say(self, line: str) -> None:
        self.console.print(f"    {line}", style="dim", markup=False, soft_wrap=True)

    @contextmanager
    def _step(self, name: str, what: str) -> Iterator[None]:
        """Raises StageError when the time for the whole is used up before the step begins."""
        if time.monotonic() > self._ends:
            raise StageError(f"the time for the demonstration was used up before {name}", "try on a quiet machine")
        self.console.rule(f"{name}: {what}", align="left")
        started = time.monotonic()
        yield
        took = round(time.monotonic() - started, 1)
        self.story.seconds[name] = round(self.story.seconds.get(name, 0.0) + took, 1)
        self._say(f"({took:.1f} s)")

    def _table(self) -> Table:
        story = self.story
        table = Table("", "before", "after", title=f"{CELL} at {story.target:.1f} journeys a second")
        table.add_row("application hosts", str(story.hosts_before), str(story.hosts_after))
        measured = f"{story.measured_after:.1f}" if story.measured_after else "not measured"
        table.add_row("carried, journeys/s", f"{story.carried:.1f}", f"{measured} (model: {story.predicted:.1f})")
        for row in ("verdict", "limiting", "requests", "p95 of filing, s", "failed"):
            table.add_row(row, str(story.before.get(row)), str(story.after.get(row)))
        table.add_row("seconds", "", f"{sum(story.seconds.values()):.0f}")
        return table


def _carried(measurement: Measurement) -> Carried:
    """
    Raises:
        Unsure: the measurement does not tell what the application hosts carry.
    """
    if measurement.carried is None:
        raise Unsure(f"the stepped load did not tell what {measurement.cell} carries: {measurement.why_not}", QUIET)
    if measurement.unsure:
        raise Unsure(f"{measurement.cell} carries {measurement.unsure}: that is too vague", QUIET)
    return measurement.carried


def _figures(judged: Judged) -> dict[str, object]:
    """What the table shows of a gate."""
    load, verdict = judged.load, judged.verdict
    filing = (
        next((operation for operation in load.operations if operation.name == "citizen.file"), None) if load else None
    )
    return {
        "verdict": verdict.verdict,
        "limiting": verdict.limiting,
        "requests": load.requests if load else 0,
        "failed": load.failed if load else 0,
        "p95 of filing, s": round(filing.latencies.p95, 3) if filing else None,
        "proof": verdict.proof,
        "reasons": [reason.sentence for reason in verdict.reasons],
        "page": str(judged.page),
    }
