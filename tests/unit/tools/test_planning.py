"""Stepped load becomes evidence, evidence and a target become a plan, and whatever tells nothing is refused."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra import plan as plans
from infra.folder import EnvironmentFolder
from infra.names import StackName
from infra.outputs import EnvironmentOutputs, merge
from infra.plan import Plan
from infra.registry import Registry, load_registry
from infra.render import render
from infra.scalability import ScalabilityLaw
from loadtests.gate.of_load import GENERATOR, run_checks, seen_by_people
from loadtests.gate.steadiness import forgiven, unsteady
from loadtests.gate.verdict import Check, Verdict
from loadtests.histogram import Histogram
from loadtests.model import measure as measuring
from loadtests.model.capacity import LEAST_STEPS, Capacity, CapacityError
from loadtests.model.measure import MeasuredCapacity, Measurement, MeasurementError, component, known, measure, save
from loadtests.model.planning import Demand, PlanningError, propose
from loadtests.model.steps import MeasuredStep, Pace, Seen, next_rate
from loadtests.rehearsal import Kit, write_kit
from loadtests.result import Generator, LoadResult, Machine, Operation, Speed, TenantResult
from loadtests.run import LoadError
from loadtests.scenario import JourneyShare, Scenario, load
from monitoring import objectives as objective_files
from monitoring.objectives import CapacityLimits
from tests.support.finished import Finished
from tools import cli, measured_plan
from tools.measured_plan import Planned, demands_of, make_plan
from tools.stages import StageError

LIMITS = CapacityLimits(headroom=0.15, contention=0.03)
HOSTS = component("cell-a", "application")
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OF_ONE = 8.0
"""What one of the simulated hosts carries at the very most; the objective breaks earlier."""
AFFAIRS = objective_files.load().services["affairs"].latency
MEAN = 0.16 * AFFAIRS.seconds
"""Of an answer's time when nobody waits."""


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvironmentOutputs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YIWANG_HOME", str(tmp_path_factory.mktemp("home")))
        known_outputs: dict[str, Any] = {}
        contracts = []
        for scope in ("foundation", "cell-core", "cell-a", "zhejiang", "hangzhou"):
            rendering = render(f"test-plan.{scope}", Finished, known_outputs)
            known_outputs[StackName("test-plan", scope).reference] = rendering.outputs
            contracts.append(rendering.outputs["contract"])
        yield merge("test-plan", contracts)


@pytest.fixture
def today() -> Plan:
    return plans.read(plans.TRACKED / "local.json")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    return tmp_path


@dataclass
class Simulated:
    """Two hosts that share a queue: what a load run of `rate` would tell. `spoilt` changes a result first."""

    most: float = 2 * OF_ONE
    generator_most: float = math.inf
    spoilt: Callable[[LoadResult], LoadResult] = lambda result: result
    offered: list[float] = field(default_factory=list)
    full_at: float | None = None
    """Rate above which the hosts are fuller than they may be; None: where answers become slow."""
    misread: Callable[[LoadResult], float] = lambda load: 1.0
    """What the hosts' CPU is read as, as a multiple of what it is."""
    one_machine: bool = False

    @property
    def true_capacity(self) -> float:
        """A percentile of an exponential distribution is a multiple of its mean."""
        return self.most * math.sqrt(1 + MEAN * math.log(1 - AFFAIRS.target) / AFFAIRS.seconds)

    def offer(self, scenario: Scenario, folder: Path) -> LoadResult:
        assert scenario.rate is not None
        self.offered.append(scenario.rate)
        assert scenario.cell == "cell-a"
        return self.spoilt(self.result(scenario))

    def result(self, scenario: Scenario) -> LoadResult:
        assert scenario.rate is not None
        journeys = round(scenario.rate * scenario.hold_seconds)
        done = min(journeys, round(0.995 * self.most * scenario.hold_seconds))
        mean = MEAN / (1 - min(scenario.rate / self.most, 0.995) ** 2)
        limited = scenario.rate > self.generator_most
        return LoadResult(
            environment="test-plan",
            scenario=scenario.name,
            arrival="open",
            target_rate=scenario.rate,
            users=None,
            started_at=0,
            hold_started_at=3,
            hold_ended_at=3 + scenario.hold_seconds,
            journeys_intended=journeys,
            journeys_begun=journeys,
            journeys_completed=journeys,  # what waits at the end of the hold is answered after it
            journeys_ended=done,
            in_flight_seconds=2 * done * mean,
            operations=[
                operation("citizen.search", "portal", done, mean),
                operation("citizen.file", "affairs", done, mean),
            ],
            tenants=[TenantResult(code="330106", requests=2 * done, failed=0, limited=0, wrong=0)],
            failures=[],
            seconds=[],
            generator=Generator(
                processes=1,
                cpu_share=0.95 if limited else 0.2,
                lateness_p99=0.01,
                limited=limited,
                reason="0.95 of its core" if limited else "",
            ),
        )

    def limiting(self, load: LoadResult) -> str | None:
        assert load.target_rate is not None
        return HOSTS if load.target_rate > (self.full_at or self.true_capacity) else None

    def look(self, scenario: Scenario, load: LoadResult) -> Seen:
        """As the gate judges what people saw; of the rest it has seen the hosts' CPU."""
        objectives = objective_files.load()
        checks = [*run_checks(objectives, scenario, load), *seen_by_people(objectives, load)]
        checks = list(forgiven(checks, unsteady(objectives, load)))
        fullness = None
        if self.full_at is not None:
            assert load.target_rate is not None
            fullness = min(load.target_rate / self.full_at * self.misread(load), 1.11)
            checks.append(cpu(fullness))
        reasons = [reason for reason in checks if reason.outcome not in ("kept", "unused")]
        broken = any(reason.outcome == "broken" for reason in reasons)
        return Seen(
            Verdict(
                environment="test-plan",
                scenario=scenario.name,
                target_rate=scenario.rate,
                at=0,
                verdict="NO-GO" if broken else "UNSURE" if reasons else "GO",
                reasons=tuple(reasons),
                kept=tuple(check for check in checks if check.outcome == "kept"),
                limiting=self.limiting(load),
                proof="",
            ),
            fullness,
            self.one_machine,
        )


def cpu(fullness: float) -> Check:
    return Check(
        limit="CPU of hosts",
        kind="saturation",
        component=HOSTS,
        figure=fullness,
        limit_value=1.0,
        unit="use",
        outcome="broken" if fullness > 1 else "kept",
        sentence=f"The busiest of {HOSTS} used {fullness:.2f} of what it may.",
    )


def operation(name: str, service: str, requests: int, mean: float) -> Operation:
    """Answers whose times are exponentially distributed."""
    times = Histogram()
    for number in range(requests):
        times.add(-mean * math.log(1 - (number + 0.5) / requests))
    return Operation(
        name=name, service=service, requests=requests, failed=0, limited=0, wrong=0, latencies=times.latencies()
    )


def measured(
    outputs: EnvironmentOutputs, folder: Path, hosts: Simulated, pace: Pace | None = None, said: list[str] | None = None
) -> Measurement:
    return measure(
        "cell-a",
        outputs,
        load("cell"),
        folder,
        pace or Pace(5, hold_seconds=60),
        hosts.offer,
        hosts.look,
        (said if said is not None else []).append,
    )


def evidence(hosts: int = 2, rate: float = 12.0, age: timedelta = timedelta(hours=1), **changes: Any) -> Measurement:
    measurement = Measurement(
        environment="local",
        cell="cell-a",
        hosts={"gateway": 2, "application": hosts},
        database_class="pg.n2.2c.2m",
        scenario="cell",
        journeys=(JourneyShare(journey="citizen", share=1),),
        hold_seconds=15,
        started_at=NOW - age - timedelta(minutes=3),
        measured_at=NOW - age,
        steps=(),
        limiting=HOSTS,
        capacity=MeasuredCapacity(
            rate=rate,
            low=rate * 0.95,
            high=rate * 1.05,
            law=ScalabilityLaw(of_one=5, contention=0.1, coherency=0),
        ),
    )
    return measurement.model_copy(update=changes)


def demand(rate: float, cell: str = "cell-a") -> Demand:
    return Demand(cell, rate, "cell")


# Which rate comes next


def tried(*rates: float, broken: tuple[float, ...] = ()) -> list[MeasuredStep]:
    return [
        MeasuredStep(
            offered=rate,
            begun=rate,
            carried=rate,
            requests=100,
            in_flight=1,
            used=0.5,
            failed_share=0,
            generator_cpu_share=0.1,
            broke="slow" if rate in broken else None,
        )
        for rate in rates
    ]


def test_rates_go_up_until_one_breaks_then_between_then_down_to_have_enough() -> None:
    pace = Pace(4)
    assert next_rate([], pace) == 4
    assert next_rate(tried(4), pace) == 6
    assert next_rate(tried(4, 6, broken=(6,)), pace) == pytest.approx(math.sqrt(24))
    close = tried(4, 4.4, broken=(4.4,))
    assert next_rate(close, pace) == pytest.approx(4 / 1.5)
    enough = tried(1, 1.5, 2, 3, 4, 4.4, broken=(4.4,))
    assert next_rate(enough, pace) is None
    assert next_rate(tried(4, broken=(4,)), pace) == pytest.approx(4 / 2.25)
    assert next_rate(tried(4, 6), Pace(4, highest=7)) == 7
    assert next_rate(tried(4, 7), Pace(4, highest=7)) is None
    assert next_rate(tried(*range(1, 15)), pace) is None


def test_a_rate_that_could_not_be_told_bounds_what_is_kept_and_breaks_nothing() -> None:
    pace = Pace(4)

    def steps(*rates: float, unsure: tuple[float, ...] = (), broken: tuple[float, ...] = ()) -> list[MeasuredStep]:
        vague = [step.model_copy(update={"unsure": "noise"}) for step in tried(*unsure)]
        return [*tried(*rates, broken=broken), *vague]

    assert next_rate(steps(4, unsure=(6,)), pace) == pytest.approx(math.sqrt(24))
    assert next_rate(steps(4, 5.5, unsure=(6,)), pace) == pytest.approx(9), "what breaks lies above it"
    assert next_rate(steps(4, 5.5, 9, unsure=(6,), broken=(9,)), pace) == pytest.approx(4 / 1.5)


@pytest.mark.parametrize("wrong", [{"first": 0}, {"first": math.nan}, {"first": 1, "factor": 1.1}])
def test_a_pace_that_leads_nowhere_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"a (first rate|factor) of"):
        Pace(**wrong)  # type: ignore[arg-type]


# Measuring


def test_hosts_that_are_too_full_do_not_carry_what_they_still_answer_in_time(
    outputs: EnvironmentOutputs, tmp_path: Path
) -> None:
    hosts = Simulated(full_at=8.0)
    assert hosts.true_capacity > 9
    measurement = measured(outputs, tmp_path, hosts)
    assert measurement.capacity is not None and measurement.capacity.high is not None
    assert measurement.capacity.low <= 8.0 <= measurement.capacity.high
    assert measurement.limiting == HOSTS
    assert len(measurement.steps) == LEAST_STEPS, "a narrow interval needs no more"
    assert measurement.capacity.rate == pytest.approx(8.0, rel=0.01), "the line of CPU over the rate tells it exactly"
    assert measurement.broken is not None and "used 1." in measurement.broken


def test_cpu_that_is_read_a_tenth_off_leaves_the_capacity_within_its_interval(
    outputs: EnvironmentOutputs, tmp_path: Path
) -> None:
    """A neighbour makes journeys cost more at one step than at the next: the line through all steps bears it."""
    capacities = []
    for seed in range(60):
        noise = random.Random(seed)
        hosts = Simulated(full_at=8.0, misread=lambda load, noise=noise: noise.uniform(0.92, 1.08))  # type: ignore[misc]
        capacity = measured(outputs, tmp_path / str(seed), hosts).capacity
        assert capacity is not None and capacity.high is not None
        capacities.append((capacity.rate, capacity.low <= 8.0 <= capacity.high))
    middle = statistics.median(rate for rate, _ in capacities)
    assert middle == pytest.approx(8.0, rel=0.05)
    assert all(abs(rate / middle - 1) <= 0.15 for rate, _ in capacities)
    assert sum(held for _, held in capacities) >= 51, "nine in ten are claimed"


def test_what_the_same_work_cost_meanwhile_takes_a_neighbours_moments_out(
    outputs: EnvironmentOutputs, tmp_path: Path
) -> None:
    """Where the hosts share the generator's machine, its own CPU a journey and theirs rise and fall together."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    for one_machine in rates:
        for seed in range(10):
            noise = random.Random(seed)
            dear = {"now": 1.0}

            def misread(load: LoadResult, dear: dict[str, float] = dear) -> float:
                return dear["now"]

            def spoilt(result: LoadResult, dear: dict[str, float] = dear, noise: random.Random = noise) -> LoadResult:
                dear["now"] = noise.uniform(0.85, 1.15)
                cpu_share = dear["now"] * 0.0045 * result.journeys_ended / result.hold_seconds
                return result.model_copy(
                    update={"generator": result.generator.model_copy(update={"cpu_share": cpu_share})}
                )

            hosts = Simulated(full_at=8.0, misread=misread, spoilt=spoilt, one_machine=one_machine)
            capacity = measured(outputs, tmp_path / f"{one_machine}-{seed}", hosts).capacity
            assert capacity is not None and (capacity.cost is not None) == one_machine
            rates[one_machine].append(capacity.rate * (capacity.cost or 0.0045) / 0.0045)
    assert all(rate == pytest.approx(8.0, rel=0.03) for rate in rates[True])
    assert not all(rate == pytest.approx(8.0, rel=0.03) for rate in rates[False])


def test_what_is_too_vague_is_not_planned_from(today: Plan, registry: Registry) -> None:
    vague = evidence(capacity=MeasuredCapacity(rate=12, low=9, high=14))
    with pytest.raises(PlanningError, match=r"UNSURE: 2 hosts carry 12\.0 journeys a second, or 9\.0, or 14\.0"):
        propose(today, [demand(14.4)], {"cell-a": [vague]}, LIMITS, registry, NOW)


def test_a_stepped_load_finds_the_capacity_and_what_was_at_its_limit(
    outputs: EnvironmentOutputs, tmp_path: Path
) -> None:
    hosts = Simulated()
    measurement = measured(outputs, tmp_path, hosts)
    truth = hosts.true_capacity
    assert measurement.capacity is not None
    assert measurement.capacity.high is not None
    assert measurement.capacity.low <= truth <= measurement.capacity.high
    assert measurement.capacity.rate == pytest.approx(truth, rel=0.05)
    assert measurement.limiting == HOSTS
    assert measurement.hosts == {"gateway": 2, "application": 2}
    assert len(hosts.offered) == len(measurement.steps) <= 12
    path = tmp_path / "capacity" / measurement.file_name
    assert measuring.read(path) == measurement
    assert known(tmp_path, "cell-a", measurement.measured_at) == [measurement]
    assert known(tmp_path, "cell-a", measurement.measured_at + timedelta(seconds=1)) == []


def test_a_step_above_the_capacity_carries_what_it_ends(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    hosts = Simulated()
    measurement = measured(outputs, tmp_path, hosts)
    above = [step for step in measurement.steps if step.offered > hosts.most]
    assert above and all(step.carried <= hosts.most for step in above)


def test_requests_in_flight_follow_from_littles_law(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    measurement = measured(outputs, tmp_path, Simulated())
    for step in measurement.steps:
        if not step.broke:
            mean = MEAN / (1 - (step.offered / (2 * OF_ONE)) ** 2)
            assert step.in_flight == pytest.approx(2 * step.carried * mean, rel=0.05)


def test_a_generator_at_its_limit_claims_nothing_of_the_hosts(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    hosts = Simulated(generator_most=6)
    measurement = measured(outputs, tmp_path, hosts)
    assert measurement.limiting == GENERATOR
    assert measurement.capacity is None
    assert "the limit was generator: that says nothing of cell-a application hosts" in measurement.why_not
    assert len(hosts.offered) == 4
    with pytest.raises(PlanningError, match="says nothing of cell-a application hosts"):
        propose(
            plans.read(plans.TRACKED / "local.json"),
            [demand(9)],
            {"cell-a": [measurement]},
            LIMITS,
            load_registry(),
            NOW,
        )


def test_a_generator_that_is_late_far_above_the_capacity_does_not_hide_it(
    outputs: EnvironmentOutputs, tmp_path: Path
) -> None:
    hosts = Simulated(generator_most=16)
    measurement = measured(outputs, tmp_path, hosts)
    assert any(step.limiting == GENERATOR for step in measurement.steps)
    assert measurement.limiting == HOSTS
    assert measurement.capacity is not None
    assert measurement.capacity.rate == pytest.approx(hosts.true_capacity, rel=0.05)


def test_another_component_at_its_limit_claims_nothing_of_the_hosts(
    outputs: EnvironmentOutputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = Simulated()
    monkeypatch.setattr(hosts, "limiting", lambda load: "cell-a database")
    measurement = measured(outputs, tmp_path, hosts)
    assert (measurement.limiting, measurement.capacity) == ("cell-a database", None)
    assert "the limit was cell-a database" in measurement.why_not


def test_a_break_that_nothing_explains_is_tried_twice_and_then_claims_nothing(
    outputs: EnvironmentOutputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, said = Simulated(), list[str]()
    monkeypatch.setattr(hosts, "limiting", lambda load: None)
    measurement = measured(outputs, tmp_path, hosts, said=said)
    assert measurement.capacity is None
    assert "nothing shows which component was at its limit" in measurement.why_not
    assert hosts.offered[-1] == hosts.offered[-2]
    assert any("the same again" in line for line in said)
    assert sum("higher, to see" in line for line in said) == measuring.PROOFS


def test_a_break_before_anything_is_at_its_limit_is_proven_by_a_higher_rate(
    outputs: EnvironmentOutputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = Simulated()
    monkeypatch.setattr(hosts, "limiting", lambda load: HOSTS if load.target_rate > 0.95 * hosts.most else None)
    measurement = measured(outputs, tmp_path, hosts)
    assert measurement.limiting == HOSTS
    assert measurement.capacity is not None
    assert measurement.capacity.rate == pytest.approx(hosts.true_capacity, rel=0.05)


def test_a_hiccup_of_the_machine_is_forgiven_once(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    """The second step breaks without anything at its limit, and does not when it is repeated."""
    hosts = Simulated()
    steady = measured(outputs, tmp_path / "steady", Simulated())

    def hiccup(result: LoadResult) -> LoadResult:
        if len(hosts.offered) != 2:
            return result
        slow = [operation(quick.name, quick.service, quick.requests, 2.0) for quick in result.operations]
        return result.model_copy(update={"operations": slow})

    hosts.spoilt = hiccup
    measurement = measured(outputs, tmp_path / "hiccup", hosts)
    assert len(hosts.offered) == len(measurement.steps) + 1
    assert measurement.capacity == steady.capacity


def test_a_step_on_a_machine_that_was_not_steady_is_done_again(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    """Late answers say nothing then; twice so, and the rate bounds what was kept without having broken anything."""
    for times, again in ((1, 1), (2, 0)):
        hosts, said = Simulated(), list[str]()

        def slowed(result: LoadResult, hosts: Simulated = hosts, times: int = times) -> LoadResult:
            if not 2 <= len(hosts.offered) < 2 + times:
                return result
            slow = [operation(quick.name, quick.service, quick.requests, 2.0) for quick in result.operations]
            changed = Machine(before=Speed(whole=3600, core=1900), after=Speed(whole=1800, core=1900))
            return result.model_copy(update={"operations": slow, "machine": changed})

        hosts.spoilt = slowed
        measurement = measured(outputs, tmp_path / str(times), hosts, said=said)
        assert sum("the run could not tell; the same again" in line for line in said) == 1
        assert len(hosts.offered) == len(measurement.steps) + 1
        assert sum(bool(step.unsure) for step in measurement.steps) == 1 - again
        assert measurement.capacity is not None and measurement.capacity.high is not None
        assert measurement.capacity.low <= hosts.true_capacity <= measurement.capacity.high


def test_wrong_answers_and_failures_break_a_step(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    def wrong(result: LoadResult) -> LoadResult:
        assert result.target_rate is not None
        if result.target_rate < 10:
            return result
        operations = [right.model_copy(update={"wrong": right.requests // 20}) for right in result.operations]
        return result.model_copy(update={"operations": operations})

    measurement = measured(outputs, tmp_path, Simulated(spoilt=wrong))
    broken = [step for step in measurement.steps if step.broke and step.offered < 12]
    assert broken
    assert all("wrong" in (step.broke or "") and not step.by_latency for step in broken)
    assert measurement.capacity is not None
    assert measurement.capacity.rate < 10 <= (measurement.capacity.high or 0)


def test_what_never_breaks_is_a_lower_bound(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    measurement = measured(outputs, tmp_path, Simulated(), Pace(3, highest=6))
    assert measurement.capacity == MeasuredCapacity(rate=6, low=6, high=None)
    assert measurement.carried is None


def test_hosts_that_carry_nothing_at_all_are_refused(outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    with pytest.raises(CapacityError, match=r"the first step, .* already broke an objective .* begin lower"):
        measured(outputs, tmp_path, Simulated(most=0.2), Pace(5, most_steps=3, hold_seconds=60))
    (kept,) = known(tmp_path, "cell-a", datetime.now(UTC) - timedelta(hours=1))
    assert len(kept.steps) == 3 and kept.carried is None and "begin lower" in kept.why_not


@pytest.mark.parametrize("cut", [LoadError("Locust ended with code 3"), KeyboardInterrupt()])
def test_a_measurement_that_is_cut_short_keeps_its_steps_and_plans_nothing(
    outputs: EnvironmentOutputs, tmp_path: Path, cut: BaseException
) -> None:
    earlier = datetime.now(UTC) - timedelta(hours=1)
    whole = evidence(environment="test-plan", started_at=earlier, measured_at=earlier)
    save(whole, tmp_path)
    hosts, said = Simulated(), list[str]()

    def fail_third(result: LoadResult) -> LoadResult:
        if len(hosts.offered) == 3:
            raise cut
        return result

    hosts.spoilt = fail_third
    with pytest.raises(type(cut)):
        measured(outputs, tmp_path, hosts, said=said)
    path = max((tmp_path / "capacity").glob("*.json"))
    left = measuring.read(path)
    assert [step.offered for step in left.steps] == hosts.offered[:2]
    assert left.capacity is None and "cut short: " + (str(cut) or "KeyboardInterrupt") in left.why_not
    assert said[-1] == f"cell-a: 2 steps are kept in {path}"
    assert known(tmp_path, "cell-a", earlier) == [whole], "the one before it still decides"


def test_steps_whose_law_is_nonsense_are_kept(
    outputs: EnvironmentOutputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nonsense(steps: object) -> Capacity:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(measuring, "capacity_of", nonsense)
    with pytest.raises(ZeroDivisionError):
        measured(outputs, tmp_path, Simulated())
    (kept,) = known(tmp_path, "cell-a", datetime.now(UTC) - timedelta(hours=1))
    assert kept.steps and kept.why_not == "float division by zero"


@pytest.mark.parametrize("cell", ["cell-z", "cell-core"])
def test_a_cell_without_application_hosts_is_named(cell: str, outputs: EnvironmentOutputs, tmp_path: Path) -> None:
    hosts = Simulated()
    with pytest.raises(MeasurementError, match=f"{cell} is no cell with application hosts; there are cell-a"):
        measure(cell, outputs, load("cell"), tmp_path, Pace(5), hosts.offer, hosts.look, print)


def test_evidence_that_does_not_hold_is_named(tmp_path: Path) -> None:
    path = save(evidence(), tmp_path)
    path.write_text(path.read_text().replace('"schema_version": 3', '"schema_version": 9'))
    with pytest.raises(MeasurementError, match="schema_version"):
        known(tmp_path, "cell-a", NOW - timedelta(days=1))
    with pytest.raises(MeasurementError, match="No such file"):
        measuring.read(tmp_path / "nowhere.json")


def test_evidence_of_the_first_version_still_holds(tmp_path: Path) -> None:
    path = save(evidence(), tmp_path)
    document = json.loads(path.read_text()) | {"schema_version": 1}
    del document["finished"]
    path.write_text(json.dumps(document))
    (read,) = known(tmp_path, "cell-a", NOW - timedelta(days=1))
    assert (read.schema_version, read.carried) == (1, evidence().carried)


# Planning


def test_a_target_beyond_what_was_carried_adds_a_host_and_says_why(today: Plan, registry: Registry) -> None:
    proposal = propose(today, [demand(14.4)], {"cell-a": [evidence()]}, LIMITS, registry, NOW)
    assert proposal.reasons[0] == (
        "cell-a: application 2 → 3: target 14.4/s with headroom 0.15 needs 3 hosts; 2 carry 12.0/s (11.4 to 12.6)"
    )
    assert "contention σ = 0.03 is assumed" in proposal.reasons[1]
    cell = proposal.plan.cell("cell-a")
    assert cell.hosts == {"gateway": 2, "application": 3}
    assert cell.capacity is not None
    assert cell.capacity.evidence == "capacity/20261125T105700Z-cell-a.json"
    assert proposal.plan.made_by == "model 20261125T105700Z-cell-a"
    assert (proposal.plan.schema_version, proposal.plan.made_at) == (2, NOW)
    assert proposal.plan.cells["cell-core"] == today.cells["cell-core"]
    assert proposal.changes_hosts
    assert (
        proposal.changes[0].carries_interval.low
        < proposal.changes[0].carries
        < proposal.changes[0].carries_interval.high
    )
    assert Plan.model_validate_json(proposal.plan.model_dump_json()) == proposal.plan


def test_the_plan_that_is_proposed_is_one_that_infra_takes(today: Plan, registry: Registry, tmp_path: Path) -> None:
    measurement = evidence(rate=11.987654321)
    save(measurement, tmp_path)
    for rate in (2.0, 9.876543, 14.4, 20.123456789):
        plan = propose(today, [demand(rate)], {"cell-a": [measurement]}, LIMITS, registry, NOW).plan
        read_again = Plan.model_validate_json(plan.model_dump_json())
        assert plans.unsupported(read_again, tmp_path, NOW) == []
        assert plans.inconsistencies(read_again, registry) == []


def test_a_plan_by_hand_whose_hosts_are_enough_stays_by_hand(today: Plan, registry: Registry) -> None:
    proposal = propose(today, [demand(5)], {"cell-a": [evidence()]}, LIMITS, registry, NOW)
    assert proposal.changes_nothing
    assert "application stays 2" in proposal.reasons[0]


def test_a_measured_plan_is_renewed_and_the_same_evidence_changes_nothing(today: Plan, registry: Registry) -> None:
    first = propose(today, [demand(14.4)], {"cell-a": [evidence()]}, LIMITS, registry, NOW).plan
    again = propose(first, [demand(14.4)], {"cell-a": [evidence()]}, LIMITS, registry, NOW + timedelta(hours=1))
    assert again.changes_nothing
    newer = evidence(hosts=3, rate=17.4, age=timedelta(minutes=1))
    renewed = propose(first, [demand(14.4)], {"cell-a": [newer, evidence()]}, LIMITS, registry, NOW)
    assert not renewed.changes_nothing
    assert not renewed.changes_hosts
    assert "law from 2, 3 hosts" in renewed.reasons[-1]


def test_hosts_are_never_taken_away_unless_told(today: Plan, registry: Registry) -> None:
    wide = today.model_copy(
        update={
            "cells": today.cells
            | {"cell-a": today.cells["cell-a"].model_copy(update={"hosts": {"gateway": 2, "application": 5}})}
        }
    )
    kept = propose(wide, [demand(14.4)], {"cell-a": [evidence()]}, LIMITS, registry, NOW)
    assert kept.changes_nothing
    assert "--allow-fewer takes 2 away" in kept.reasons[0]
    fewer = propose(wide, [demand(14.4)], {"cell-a": [evidence()]}, LIMITS, registry, NOW, allow_fewer=True)
    assert fewer.plan.cell("cell-a").hosts["application"] == 3
    fewest = propose(wide, [demand(1)], {"cell-a": [evidence()]}, LIMITS, registry, NOW, allow_fewer=True)
    assert fewest.plan.cell("cell-a").hosts["application"] == 2


def test_earlier_evidence_counts_unless_the_newest_contradicts_it(today: Plan, registry: Registry) -> None:
    agreeing = [evidence(hosts=3, rate=17.0), evidence(age=timedelta(days=3))]
    told = propose(today, [demand(30)], {"cell-a": agreeing}, LIMITS, registry, NOW)
    assert "law from 2, 3 hosts" in told.reasons[-1]
    contradicting = [evidence(hosts=3, rate=10.0), evidence(age=timedelta(days=3), rate=40)]
    left_out = propose(today, [demand(10)], {"cell-a": contradicting}, LIMITS, registry, NOW)
    assert any("earlier measurements (2 hosts) contradict it: left out" in reason for reason in left_out.reasons)
    other_mix = [evidence(hosts=3, rate=17.0), evidence(journeys=(JourneyShare(journey="clerk", share=1),))]
    alone = propose(today, [demand(30)], {"cell-a": other_mix}, LIMITS, registry, NOW)
    assert "measured with one number of hosts (3)" in alone.reasons[-1]


def test_a_lower_bound_is_enough_or_refused(today: Plan, registry: Registry) -> None:
    bound = evidence(capacity=MeasuredCapacity(rate=12, low=12, high=None))
    proposal = propose(today, [demand(10)], {"cell-a": [bound]}, LIMITS, registry, NOW)
    assert proposal.changes_nothing
    assert "2 carry at least 12.0/s" in proposal.reasons[0]
    with pytest.raises(PlanningError, match=r"nothing broke; that says nothing of 11\.0/s"):
        propose(today, [demand(11)], {"cell-a": [bound]}, LIMITS, registry, NOW)


@pytest.mark.parametrize(
    ("rate", "measurements", "cause", "way_out"),
    [
        (9, [], "cell-a was never measured", "measure it"),
        (1e5, [evidence()], "out of reach", "add a cell to the plan"),
        (9, [evidence(capacity=None, why_not="at 9/s the limit was generator")], "the limit was generator", "WORKERS"),
        (9, [evidence(cell="cell-b")], "the measurement is of cell-b, not of cell-a", "measure it"),
    ],
)
def test_what_no_plan_follows_from_is_refused(
    rate: float, measurements: list[Measurement], cause: str, way_out: str, today: Plan, registry: Registry
) -> None:
    with pytest.raises(PlanningError) as refused:
        propose(today, [demand(rate)], {"cell-a": measurements}, LIMITS, registry, NOW)
    assert cause in refused.value.cause
    assert way_out in refused.value.way_out


def test_more_hosts_than_the_database_serves_name_the_class_that_would(today: Plan, registry: Registry) -> None:
    with pytest.raises(PlanningError) as refused:
        propose(today, [demand(55)], {"cell-a": [evidence()]}, LIMITS, registry, NOW)
    assert "tenants' pools may open" in refused.value.cause
    assert "set cells.cell-a.database.instance_class to pg.n2.4c.2m" in refused.value.way_out


@pytest.mark.parametrize("cell", ["cell-core", "cell-z"])
def test_planning_an_unknown_cell_names_those_there_are(cell: str, today: Plan, registry: Registry) -> None:
    with pytest.raises(PlanningError, match="name a tenants' cell of the plan: cell-a"):
        propose(today, [demand(9, cell)], {cell: [evidence(cell=cell)]}, LIMITS, registry, NOW)


# The command


def test_a_cells_part_of_a_scenario_follows_its_tenants(outputs: EnvironmentOutputs) -> None:
    moved = [
        tenant.model_copy(update={"cell": "cell-b"}) if tenant.code == "330106" else tenant
        for tenant in outputs.tenants
    ]
    both = demands_of(load("launch").changed(rate=10), outputs.model_copy(update={"tenants": moved}))
    assert [part.cell for part in both] == ["cell-a", "cell-b"]
    assert sum(part.rate for part in both) == pytest.approx(10)
    assert both[0].rate > both[1].rate > 0
    (alone,) = demands_of(load("cell").changed(rate=10), outputs)
    assert alone.cell == "cell-a"
    assert alone.rate == pytest.approx(10)
    with pytest.raises(StageError, match="no tenant of test-plan is on cell cell-z"):
        demands_of(load("launch"), outputs, "cell-z")
    with pytest.raises(StageError, match="of cell-a alone, not of cell-b"):
        demands_of(load("cell"), outputs, "cell-b")
    closed = load("cell").model_copy(update={"arrival": "closed", "rate": None, "users": 5})
    with pytest.raises(StageError, match="no target rate"):
        demands_of(closed, outputs)


@dataclass(frozen=True)
class FakeEngine:
    folder: EnvironmentFolder
    merged: EnvironmentOutputs

    @property
    def environment(self) -> str:
        return self.folder.environment

    def merged_outputs(self) -> EnvironmentOutputs:
        return self.merged


@pytest.fixture
def engine(home: Path, outputs: EnvironmentOutputs) -> FakeEngine:
    folder = EnvironmentFolder("test-plan")
    folder.root.mkdir(parents=True)
    return FakeEngine(folder, outputs)


def plan_at(engine: FakeEngine, rate: float, **options: Any) -> Planned:
    return make_plan(engine, load("cell"), rate=rate, say=lambda line: None, **options)  # type: ignore[arg-type]


@pytest.fixture
def simulated(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Simulated:
    """`make_plan` without people and processes: what is offered is simulated."""
    hosts = Simulated()

    def run(scenario: Scenario, environment: str, folder: Path, **options: Any) -> LoadResult:
        return hosts.offer(scenario, folder)

    monkeypatch.setattr(measured_plan, "run", run)
    monkeypatch.setattr("tools.rehearsal_people.prepare", lambda engine, scenario, say: engine.folder.rehearsal.touch())
    monkeypatch.setattr("tools.rehearsal_people.remove", lambda engine, say: engine.folder.rehearsal.unlink() or {})
    return hosts


def test_measured_planned_written_and_taken_by_infra(engine: FakeEngine, simulated: Simulated) -> None:
    made = plan_at(engine, 16, look=simulated.look)
    assert made.path == engine.folder.plan
    assert made.proposal.plan.cell("cell-a").hosts["application"] == 4
    plan, warnings = plans.load("test-plan", load_registry())
    assert plan == made.proposal.plan
    assert warnings == []
    assert not engine.folder.rehearsal.exists()
    assert list(engine.folder.root.glob("*.new")) == []
    again = plan_at(engine, 16, measuring=False)
    assert again.path is None
    assert again.proposal.changes_nothing


def test_people_that_were_there_before_stay(engine: FakeEngine, simulated: Simulated) -> None:
    kit = Kit(
        environment="test-plan",
        run="abc",
        issuer="",
        query="",
        ca_file=None,
        tenants=[],
        citizens=[],
        clerks={},
        kept=True,
    )
    write_kit(engine.folder.rehearsal, kit)
    plan_at(engine, 16, look=simulated.look)
    assert engine.folder.rehearsal.exists()


def test_a_plan_is_written_elsewhere_only_when_told_with_its_evidence(
    engine: FakeEngine, simulated: Simulated, tmp_path: Path
) -> None:
    target = tmp_path / "tracked" / "local.json"
    made = plan_at(engine, 16, look=simulated.look, write=target)
    assert made.path == target
    assert not engine.folder.plan.exists()
    plan = plans.read(target)
    assert plans.unsupported(plan, target.parent, datetime.now(UTC)) == []
    assert "null" not in target.read_text()


def test_nothing_is_written_when_nobody_agrees(engine: FakeEngine, simulated: Simulated) -> None:
    made = plan_at(engine, 16, look=simulated.look, agreed=lambda proposal: False)
    assert made.path is None
    assert not engine.folder.plan.exists()


def test_without_measuring_old_evidence_is_refused(engine: FakeEngine) -> None:
    with pytest.raises(StageError, match="never measured, or too long ago"):
        plan_at(engine, 16, measuring=False)
    now = datetime.now(UTC)
    old = evidence(environment="test-plan", measured_at=now - timedelta(days=2), started_at=now - timedelta(days=2))
    save(old, engine.folder.root)
    with pytest.raises(StageError, match="never measured, or too long ago"):
        plan_at(engine, 16, measuring=False)


def test_an_environment_without_monitoring_is_refused_before_any_load(
    engine: FakeEngine, simulated: Simulated, outputs: EnvironmentOutputs
) -> None:
    core = [cell for cell in outputs.cells if cell.cell != "cell-core"]
    blind = FakeEngine(engine.folder, outputs.model_copy(update={"cells": core}))
    with pytest.raises(StageError, match="no monitoring host"):
        plan_at(blind, 16)
    assert simulated.offered == []


def test_a_kept_plan_whose_hosts_are_too_few_can_be_planned_again(engine: FakeEngine, simulated: Simulated) -> None:
    plan_at(engine, 16, look=simulated.look)
    document = json.loads(engine.folder.plan.read_text())
    document["cells"]["cell-a"]["hosts"]["application"] = 1
    engine.folder.plan.write_text(json.dumps(document))
    with pytest.raises(plans.PlanError, match="by its own measurement 1 carry"):
        plans.load("test-plan", load_registry())
    assert plan_at(engine, 16, measuring=False).path == engine.folder.plan
    assert plans.load("test-plan", load_registry())[0].cell("cell-a").hosts["application"] == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "test-none"], "environment test-none does not exist on this machine"),
    ],
)
def test_without_an_environment_there_is_one_clear_message(words: list[str], said: str, home: Path) -> None:
    result = CliRunner().invoke(cli.app, words)
    assert isinstance(result.exception, StageError)
    assert said in result.exception.cause


def test_a_scenario_that_is_none_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.commands.arguments.load_choice", lambda folder: None)
    result = CliRunner().invoke(cli.app, ["plan", "test-plan", "--scenario", "festival"])
    assert isinstance(result.exception, StageError)
    assert "no scenario 'festival'; there are cell, launch" in result.exception.cause
