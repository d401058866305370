"""The parts of load runs that need no Locust: histograms, tallies, timetables, cases that wait, scenarios, the kit."""

from __future__ import annotations

import json
import random
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infra.outputs import EnvironmentOutputs
from loadtests import protocol, rehearsal
from loadtests.arrivals import Arrival, timetable, weights
from loadtests.cases import AGAIN_SECONDS, LOST_SECONDS, SETTLE_SECONDS, OpenCase, OpenCases
from loadtests.histogram import BOUNDS, Histogram
from loadtests.rehearsal import KitTenant, RehearsalError, load_kit
from loadtests.result import Generator
from loadtests.scenario import FOLDER, JOURNEYS, Scenario, ScenarioError, load
from loadtests.tally import MOST_FAILURES, Counts, Kind, Tally
from monitoring import objectives
from tests.support.watched import watched
from tests.unit.loadtests.gate_cases import healthy_load


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


# ---- histograms ----


def test_every_objective_is_a_bound_so_that_shares_within_it_are_exact() -> None:
    for service in objectives.load().services.values():
        assert service.latency.seconds in BOUNDS
    assert list(BOUNDS) == sorted(set(BOUNDS))


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_quantiles_of_workers_together_are_those_of_all_answers(share: float) -> None:
    draw = random.Random(1)
    quick = [draw.lognormvariate(-4, 0.6) for _ in range(4000)]
    slow = [draw.lognormvariate(-1, 0.3) for _ in range(400)]
    together = histogram(quick)
    together.merge(histogram(slow))
    exact = statistics.quantiles(quick + slow, n=1000)[round(share * 1000) - 1]
    assert together.quantile(share) == pytest.approx(exact, rel=0.1)
    # the twin: the mean of the workers' quantiles, which is what adding up must not be
    wrong = (histogram(quick).quantile(0.95) + histogram(slow).quantile(0.95)) / 2
    assert together.quantile(0.95) != pytest.approx(wrong, rel=0.1)


def test_latencies_count_within_bounds_and_keep_the_largest() -> None:
    told = histogram([0.0004, 0.5, 0.51, 250.0]).latencies()
    assert told.within[told.bounds.index(0.5)] == 2
    assert told.within[-1] == 3 and told.largest == 250.0
    assert histogram([]).latencies().p99 == 0


# ---- tallies ----


def tally(kinds: list[Kind], in_hold: bool = True) -> Tally:
    made = Tally()
    for number, kind in enumerate(kinds):
        made.note_step("citizen.file", "330106", kind, 0.1, 1000.0 + number, in_hold, f"detail {number}")
    return made


def test_tallies_survive_the_way_and_add_up() -> None:
    first, second = tally(["fine", "status", "limited"]), tally(["fine", "wrong answer", "no answer"])
    first.note_intended(1000, True)
    first.note_begun(1000, 0.02, True)
    first.note_completed(True, False)
    second.note_completed(False, True)
    for worker_tally in (first, second):
        worker_tally.note_in_flight(1.5)
    merged = Tally()
    for worker_tally in (first, second):
        # as msgpack gives it back: whole numbers stay keys
        merged.merge(Tally.from_message(worker_tally.as_message()))
    operations = merged.operation_results(["citizen.file", "citizen.case"])
    assert [(operation.name, operation.requests) for operation in operations] == [
        ("citizen.file", 6),
        ("citizen.case", 0),
    ]
    filed = operations[0]
    assert (filed.failed, filed.limited, filed.wrong) == (2, 1, 1) and filed.service == "affairs"
    assert filed.latencies.within[-1] == 5, "a refusal at the tenant's limit is no answer's time"
    assert merged.tenant_results()[0].requests == 6
    assert {failure.kind for failure in merged.failure_results()} == {"status", "no answer", "wrong answer"}
    assert [per_second.requests for per_second in merged.second_results()] == [2, 2, 2]
    assert merged.journeys_intended == merged.journeys_begun == merged.lateness.total == 1
    assert (merged.journeys_completed, merged.journeys_ended, merged.in_flight_seconds) == (1, 1, 3.0)


def test_the_ramp_is_told_by_seconds_alone() -> None:
    ramp = tally(["fine", "status"], in_hold=False)
    assert not ramp.operations and not ramp.failures and not ramp.tenants
    assert sum(second.requests for second in ramp.second_results()) == 2


def test_failures_stay_bounded() -> None:
    failing = tally(["status"] * (MOST_FAILURES + 50))
    assert len(failing.failures) <= MOST_FAILURES + 1
    assert sum(failing.failures.values()) == MOST_FAILURES + 50


def test_counts_go_through_json_and_back() -> None:
    counts = Counts()
    counts.add("fine", 0.2)
    assert Counts.from_list(counts.as_list()) == counts


# ---- timetables ----


def tenants() -> list[KitTenant]:
    given = [("330000", "province", 60_000_000), ("330106", "county", 1_000_000), ("330112", "county", 500_000)]
    return [
        KitTenant(
            code=code,
            name=code,
            level=level,
            parent=None,
            residents=residents,
            cell="cell-a",
            url="http://x",
            client_secret="x",
            items=[],
        )
        for code, level, residents in given
    ]


def scenario(**changes: Any) -> Scenario:
    given = load("launch").model_dump() | {"rate": 50, "ramp_seconds": 20, "hold_seconds": 60}
    return Scenario.model_validate(given | changes)


def test_arrivals_rise_through_the_ramp_and_hold_the_rate() -> None:
    times = [arrival.at for arrival in timetable(scenario(), tenants())]
    assert times == sorted(times)
    first, second = (sum(low <= at < low + 10 for at in times) for low in (0, 10))
    hold = [at for at in times if at >= 20]
    assert (len(times) - len(hold), len(hold)) == (50 * 20 / 2, 50 * 60)
    assert first == pytest.approx(125, rel=0.3) and second == pytest.approx(375, rel=0.2)
    gaps = [later - earlier for earlier, later in pairwise(hold)]
    # a Poisson process: the gaps spread as far as their mean, where a metronome's would not spread at all
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.1)


@pytest.mark.parametrize("seconds", [10, 12.5, 60])
def test_a_short_hold_is_of_the_same_rate_as_a_long_one(seconds: float) -> None:
    times = [arrival.at for arrival in timetable(scenario(ramp_seconds=5, hold_seconds=seconds), tenants())]
    assert sum(at >= 5 for at in times) == 50 * seconds
    assert max(times) < 5 + seconds


def test_the_timetable_is_the_same_each_time_and_workers_divide_it() -> None:
    whole = list(timetable(scenario(), tenants()))
    assert whole == list(timetable(scenario(), tenants()))
    shares: list[list[Arrival]] = [[arrival for arrival in whole if arrival.number % 3 == index] for index in range(3)]
    assert sorted((arrival for share in shares for arrival in share), key=lambda arrival: arrival.number) == whole
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_tenants_weigh_by_residents_within_their_level() -> None:
    province, large, small = weights(tenants())
    assert sum((province, large, small)) == pytest.approx(1)
    assert large == pytest.approx(2 * small)
    assert province < small, "everybody is a resident of the province; their matters are the counties'"


def test_journeys_come_by_their_shares() -> None:
    drawn = [arrival.share.journey for arrival in timetable(scenario(), tenants())]
    assert drawn.count("clerk") / len(drawn) == pytest.approx(0.2, abs=0.03)


# ---- cases that wait for clerks ----


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_clerk_takes_the_oldest_case_and_goes_where_work_is() -> None:
    cases = OpenCases(Clock())
    assert cases.place("330106") is None
    for number in ("1", "2"):
        cases.add("330106", OpenCase(number, "item", "name"))
    assert cases.place("330112") == cases.place("330106") == "330106"
    assert [cases.take("330106").number, cases.take("330106").number] == ["1", "2"]
    assert cases.place("330106") is None


def test_what_was_handed_over_is_looked_for_once_it_can_have_arrived() -> None:
    clock = Clock()
    cases = OpenCases(clock)
    cases.hand_over("330100", OpenCase("1", "item", "name"))
    assert cases.arrived() is None
    clock.now = SETTLE_SECONDS
    arrived = cases.arrived()
    assert arrived is not None and not arrived.lost(clock.now)
    assert cases.arrived() is None, "one clerk acts on it"
    cases.look_again(arrived)
    assert cases.arrived() is None
    clock.now += AGAIN_SECONDS
    assert cases.arrived() is arrived
    assert arrived.lost(LOST_SECONDS + 1)


# ---- a run and its Locust ----


def test_whoever_watches_waits_longer_than_those_they_watch() -> None:
    before = (protocol.GENERATOR_LOG_IN_SECONDS, protocol.CONDUCTOR_READY_SECONDS, protocol.RUN_READY_SECONDS)
    after = (protocol.GENERATOR_DRAIN_SECONDS, protocol.CONDUCTOR_NEWS_SECONDS, protocol.RUN_END_SECONDS)
    for bounds in (before, after):
        assert all(later - sooner >= 5 for sooner, later in pairwise(bounds)), bounds


def test_words_and_bounds_that_both_sides_share_are_written_once() -> None:
    here = Path(protocol.__file__)
    sources = {path.name: path.read_text() for path in here.parent.glob("*.py") if path != here}
    shared = (
        protocol.FAILURE.strip(),
        f'"{protocol.PROGRESS}',
        "DRAIN_SECONDS =",
        "LOG_IN_SECONDS =",
        "PREPARE_SECONDS",
    )
    assert [name for name, text in sources.items() for words in shared if words in text] == []


# ---- scenarios and the kit ----


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"journeys": [{"journey": "mayor", "share": 1}]}, "'mayor' is no journey; there are citizen, clerk"),
        ({"journeys": [{"journey": "citizen", "share": 1, "without": ["desk"]}]}, "citizen has no step desk"),
        ({"journeys": [{"journey": "citizen", "share": 0.5}]}, "add up to 0.5"),
        ({"rate": 0}, "greater than 0"),
        ({"rate": None}, "needs a rate"),
        ({"arrival": "closed"}, "needs users"),
        ({"hold_seconds": 1}, "hold_seconds"),
    ],
)
def test_a_scenario_that_does_not_hold_says_why(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(load("launch").model_dump() | change))
    with pytest.raises(ScenarioError, match="nothing was sent") as caught:
        load(str(path))
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["morning.yml", "Morning.yaml", "MORNING.YAML", "morning.yaml.txt"])
def test_a_scenario_by_another_name_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("loadtests.scenario.FOLDER", tmp_path)
    (tmp_path / name).write_text("x")
    with pytest.raises(ScenarioError, match=rf"{name} is not read: rename it to morning\.yaml"):
        load("morning")


def test_an_unknown_scenario_is_answered_with_those_there_are() -> None:
    with pytest.raises(ScenarioError, match="no scenario 'luanch'; there are cell, launch"):
        load("luanch")


def test_a_changed_scenario_must_hold_too() -> None:
    launch = load("launch")
    assert launch.changed(rate=7, hold_seconds=20).rate == 7 and launch.changed() == launch
    with pytest.raises(ScenarioError, match="rate"):
        launch.changed(rate=0)
    closed = launch.model_copy(update={"arrival": "closed", "users": 4})
    with pytest.raises(ScenarioError, match="takes no rate"):
        closed.changed(rate=3)


def test_the_scenarios_of_the_repository_hold() -> None:
    for path in FOLDER.glob("*.yaml"):
        tracked = load(path.stem)
        assert tracked.name == path.stem and {share.journey for share in tracked.journeys} <= set(JOURNEYS)


class FakeOperator:
    """Identity's operator API as far as a rehearsal goes; `fails_at` makes the n-th new person fail."""

    def __init__(self, fails_at: int = 0) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self.fails_at = fails_at

    def find_person(self, username: str) -> dict[str, Any] | None:
        return self.people.get(username)

    def ensure_person(self, person: dict[str, Any]) -> dict[str, Any]:
        if self.fails_at and len(self.people) + 1 >= self.fails_at:
            raise ConnectionError("identity is out")
        self.people[person["username"]] = person | {"id": f"subject of {person['username']}"}
        return self.people[person["username"]]

    def items(self, url: str) -> list[dict[str, Any]]:
        return [{"code": "A", "name": "食品经营许可"}]


def prepare(path: Path, operator: FakeOperator, people: int, outputs: EnvironmentOutputs) -> rehearsal.Kit:
    secrets = {tenant.code: "secret" for tenant in outputs.tenants}
    return rehearsal.prepare(path, outputs, secrets, None, operator, scenario(people=people), lambda _: None)


def test_a_kit_is_made_once_and_grows(tmp_path: Path) -> None:
    path, operator, outputs = tmp_path / "rehearsal.json", FakeOperator(), watched()
    first = prepare(path, operator, 3, outputs)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_kit(path) == first and len(first.citizens) == 3
    assert set(first.clerks) == {tenant.code for tenant in outputs.tenants}
    assert all(person.subject == f"subject of {person.username}" for person in first.people)
    assert all(name.startswith("rehearsal-") for name in operator.people)
    assert all(person["name"].startswith("演练") for person in operator.people.values())
    clerk = operator.people[next(iter(first.clerks.values())).username]
    assert clerk["roles"][0]["role"] == "clerk"
    made = dict(operator.people)
    assert prepare(path, operator, 2, outputs) == first, "fewer people are enough: nobody is made or lost"
    assert operator.people == made
    more = prepare(path, operator, 5, outputs)
    assert more.citizens[:3] == first.citizens and len(more.citizens) == 5
    assert "secret" not in repr(more) and first.citizens[0].password not in repr(more)


def test_an_interrupted_preparation_leaves_a_kit_that_removal_knows(tmp_path: Path) -> None:
    path, operator = tmp_path / "rehearsal.json", FakeOperator(fails_at=3)
    with pytest.raises(ConnectionError):
        prepare(path, operator, 4, watched())
    left = load_kit(path)
    assert set(operator.people) <= {person.username for person in left.people}
    operator.fails_at = 0
    assert prepare(path, operator, 4, watched()).run == left.run


def test_without_a_kit_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(RehearsalError, match="yiwang rehearsal prepare"):
        load_kit(tmp_path / "rehearsal.json")


# ---- what work costs ----


def test_a_journeys_cost_is_the_generators_cpu_over_what_it_ended() -> None:
    generator = Generator(processes=1, cpu_share=0.09, lateness_p99=0.004, limited=False)
    assert healthy_load(generator=generator, journeys_ended=1200).journey_cost == pytest.approx(0.09 * 60 / 1200)


@pytest.mark.parametrize(("processes", "ended"), [(3, 1200), (1, 0)])
def test_a_journeys_cost_is_not_told_by_the_busiest_of_several_or_without_any(processes: int, ended: int) -> None:
    generator = Generator(processes=processes, cpu_share=0.09, lateness_p99=0.004, limited=False)
    assert healthy_load(generator=generator, journeys_ended=ended).journey_cost is None
