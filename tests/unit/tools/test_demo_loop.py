"""The demonstration's own judgement: what cannot tell is repeated once and then ends it; a contradiction ends it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from infra.folder import EnvironmentFolder
from loadtests import scenario as scenarios
from loadtests.gate.verdict import Verdict
from loadtests.model.measure import MeasuredCapacity, Measurement
from loadtests.result import Generator
from loadtests.scenario import Scenario
from tests.unit.loadtests.gate_cases import healthy_evidence, healthy_load, verdict
from tests.unit.tools.test_planning import HOSTS, evidence
from tools import demo_loop
from tools.demo_loop import Contradiction, Demonstration, Unsure
from tools.gate import Judged
from tools.recovering import Recovering
from tools.stages import StageError


def demonstration(said: io.StringIO) -> Demonstration:
    return Demonstration(Recovering(EnvironmentFolder("test-demo")), Console(file=said, width=200))


def ending(*endings: StageError | str) -> Callable[[], str]:
    """A step that ends as it is told, one time after another."""
    left = list(endings)

    def step() -> str:
        end = left.pop(0)
        if isinstance(end, StageError):
            raise end
        return end

    return step


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))


def test_what_cannot_tell_is_repeated_with_a_word() -> None:
    said = io.StringIO()
    step = ending(Unsure("the hosts may carry more than the target", ""), "NO-GO")
    assert demonstration(said)._again(step, 2) == "NO-GO"
    assert "UNSURE, again: the hosts may carry more than the target" in said.getvalue()


@pytest.mark.parametrize("times", [2, 3])
def test_what_cannot_tell_at_the_last_time_ends_it_as_unsure(times: int) -> None:
    step = ending(*(Unsure(f"no {number}", "") for number in range(times)), "GO")
    with pytest.raises(Unsure, match=f"no {times - 1}"):
        demonstration(io.StringIO())._again(step, times)


def test_a_definite_contradiction_is_not_repeated_until_it_goes_away() -> None:
    step = ending(Contradiction("the gate says GO where NO-GO was due", ""), "NO-GO")
    with pytest.raises(Contradiction, match="GO where NO-GO"):
        demonstration(io.StringIO())._again(step, 3)


def test_what_has_another_reason_is_not_repeated() -> None:
    step = ending(StageError("there is no such environment", ""), "GO")
    with pytest.raises(StageError, match="no such environment"):
        demonstration(io.StringIO())._again(step, 3)


# what a gate's verdict means beside what was measured


def judged(monkeypatch: pytest.MonkeyPatch, judgement: Verdict, cost: float = 0.0045, **changes: Any) -> Demonstration:
    """A demonstration that has measured 20 journeys a second for 4.5 ms of the generator's CPU each, asks for 24, has
    foretold 28 (26 to 30) for one host more, and whose gate finds this.
    """
    load = healthy_load(**changes)
    share = cost * load.journeys_ended / load.hold_seconds
    load = load.model_copy(update={"generator": load.generator.model_copy(update={"cpu_share": share})})
    evidence = healthy_evidence()
    monkeypatch.setattr(
        demo_loop, "run_gate", lambda *_, **__: Judged(judgement, load, evidence, Path("report.html"), "")
    )
    made = demonstration(io.StringIO())
    made.story.cost, made.story.target, made.story.predicted = 0.0045, 24.0, 28.0
    made.story.carried, made.story.carried_interval = 20.0, (18.5, 22.0)
    made.story.predicted_interval = (26.0, 30.0)
    return made


REFUSED = verdict(plan_warning="the measurements are old")
LAUNCH = scenarios.load("cell").changed(rate=24)


def test_the_expected_verdict_is_told_with_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    assert judged(monkeypatch, verdict())._gate(LAUNCH, "GO")["verdict"] == "GO"


@pytest.mark.parametrize("cost", [0.0045, 0.0043, 0.006])
def test_a_go_above_what_was_measured_is_a_contradiction(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    with pytest.raises(Contradiction, match="the gate says GO where NO-GO was due at 24"):
        judged(monkeypatch, verdict(), cost)._gate(LAUNCH, "NO-GO")


def test_a_go_on_a_machine_on_which_work_costs_less_by_now_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsure, match=r"the hosts carry 20\.8 to 24\.8; work costs 0\.89 times what") as unsure:
        judged(monkeypatch, verdict(), 0.004)._gate(LAUNCH, "NO-GO")
    assert unsure.value.cheaper == pytest.approx(1.125)


def test_where_work_costs_less_the_next_launch_asks_for_as_much_more(monkeypatch: pytest.MonkeyPatch) -> None:
    story = judged(monkeypatch, verdict(), 0.004)
    with pytest.raises(Unsure):
        story._refused(LAUNCH)
    assert story.story.target == pytest.approx(1.2 * 20 * 1.125)
    with pytest.raises(Contradiction, match=r"GO where NO-GO was due at 27\.0/s"):
        story._refused(LAUNCH)


@pytest.mark.parametrize("cost", [0.0045, 0.0048, 0.003])
def test_a_no_go_below_what_was_foretold_is_a_contradiction(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    with pytest.raises(Contradiction, match="the gate says NO-GO where GO was due at 24"):
        judged(monkeypatch, REFUSED, cost)._gate(LAUNCH, "GO")


def test_a_no_go_on_a_machine_on_which_work_costs_more_by_now_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unsure, match=r"the hosts carry 19\.5 to 22\.5; work costs 1\.33 times what"):
        judged(monkeypatch, REFUSED, 0.006)._gate(LAUNCH, "GO")


def test_a_no_go_within_what_the_measurement_leaves_open_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    story = judged(monkeypatch, REFUSED)
    story.story.predicted_interval = (23.5, 30.0)
    with pytest.raises(Unsure, match=r"the hosts carry 23\.5 to 30\.0"):
        story._gate(LAUNCH, "GO")


def test_a_run_whose_generator_was_the_limit_is_unsure_even_where_a_no_go_was_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = Generator(processes=1, cpu_share=0.3, lateness_p99=0.5, limited=True, reason="late")
    judgement = verdict(healthy_load(generator=late))
    assert judgement.verdict == "NO-GO" and not judgement.tells
    with pytest.raises(Unsure, match="the gate says NO-GO where NO-GO was due"):
        judged(monkeypatch, judgement)._gate(LAUNCH, "NO-GO")


@pytest.mark.parametrize(("high", "sure"), [(23.9, True), (24.5, False)])
def test_a_target_within_the_interval_of_what_was_measured_is_not_tried(
    monkeypatch: pytest.MonkeyPatch, high: float, sure: bool
) -> None:
    story = demonstration(io.StringIO())
    asked = list[float | None]()
    measurement = evidence(rate=20, capacity=MeasuredCapacity(rate=20, low=18.5, high=high))
    monkeypatch.setattr(story, "_measure", lambda scenario: measurement)

    def gate(launch: Scenario, expected: str) -> dict[str, str]:
        asked.append(launch.rate)
        return {"limiting": HOSTS}

    monkeypatch.setattr(story, "_gate", gate)
    if sure:
        story._measured_and_refused(LAUNCH)
    else:
        with pytest.raises(Unsure, match=r"may carry 24\.5 journeys a second, more than the target of 24\.0"):
            story._measured_and_refused(LAUNCH)
    assert asked == ([24.0] if sure else [])


# a contradiction is one when new evidence gives it again


def acting(monkeypatch: pytest.MonkeyPatch, gates: list[StageError | str], rates: list[float]) -> Demonstration:
    """A demonstration whose gate and measurements give these, one after another."""
    story = demonstration(io.StringIO())
    gate = ending(*gates)
    left = list(rates)
    monkeypatch.setattr(story, "_gate", lambda launch, expected: {"verdict": gate(), "limiting": HOSTS})

    def measured(scenario: Scenario) -> Measurement:
        rate = left.pop(0)
        return evidence(rate=rate, capacity=MeasuredCapacity(rate=rate, low=0.95 * rate, high=1.05 * rate))

    monkeypatch.setattr(story, "_measure", measured)
    story.story.target = 24.0
    return story


AGAINST = Contradiction("the gate says GO where NO-GO was due", "")


def test_a_go_against_a_measurement_is_set_aside_where_the_next_measurement_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = acting(monkeypatch, [AGAINST, "NO-GO"], [20, 30])
    assert story._refused_as_measured(LAUNCH).rate == 36.0
    assert story.story.set_aside == [AGAINST.cause]


def test_a_go_against_two_measurements_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Contradiction, match="GO where NO-GO"):
        acting(monkeypatch, [AGAINST, AGAINST, "NO-GO"], [20, 20, 20])._refused_as_measured(LAUNCH)


def test_a_no_go_against_the_model_is_asked_again_where_the_grown_cell_carries_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = acting(monkeypatch, [AGAINST, "GO"], [28])
    assert story._let_through(LAUNCH, LAUNCH)["verdict"] == "GO"
    assert (story.story.set_aside, story.story.measured_after) == ([AGAINST.cause], 28)


@pytest.mark.parametrize(("gates", "rate"), [([AGAINST, "GO"], 22.0), ([AGAINST, AGAINST, "GO"], 28.0)])
def test_a_no_go_against_the_model_ends_it_where_the_grown_cell_bears_it_out_or_it_comes_again(
    monkeypatch: pytest.MonkeyPatch, gates: list[StageError | str], rate: float
) -> None:
    with pytest.raises(Contradiction):
        acting(monkeypatch, gates, [rate])._let_through(LAUNCH, LAUNCH)
