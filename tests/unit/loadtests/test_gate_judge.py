"""The gate's verdict: each limit has a run that breaks it and nothing else, and GO needs everything known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.gate.evidence import FULLEST_CPU, Evidence
from loadtests.gate.judge import judge
from loadtests.gate.verdict import Verdict
from loadtests.result import Generator, LoadResult, Machine, Speed, TenantResult
from tests.unit.loadtests.gate_cases import (
    APPLICATION,
    CPU,
    HOLD,
    OBJECTIVES,
    QUERIES,
    SCENARIO,
    START,
    healthy_evidence,
    healthy_load,
    operation,
    spoiled,
    verdict,
    with_operation,
    with_target,
)

JUDGED = sorted(name for name, query in QUERIES.items() if query.limit is not None)


def limits(judgement: Verdict) -> list[str]:
    return [reason.limit for reason in judgement.reasons]


def test_a_healthy_run_is_a_go_and_tells_what_was_kept() -> None:
    judgement = verdict()
    assert (judgement.verdict, judgement.reasons, judgement.limiting) == ("GO", (), None)
    assert set(JUDGED) <= {check.limit for check in judgement.kept}
    assert judgement.proof.startswith("nothing is at its limit: ")


LOADS: dict[str, tuple[dict[str, Any], str, str]] = {
    "too few requests": (
        {"operations": [operation("citizen.log-in", "identity", 90, 0.2), operation("citizen.file", "affairs", 90),
                        operation("citizen.query", "query", 90)]},
        "minimum of requests",
        "generator",
    ),
    "offered too little": ({"journeys_begun": 460}, "offered load", "generator"),
    "nothing intended": ({"journeys_intended": 0, "journeys_begun": 0}, "offered load", "generator"),
    "generator's CPU": (
        {"generator": Generator(processes=1, cpu_share=0.93, lateness_p99=0.004, limited=False)},
        "generator's CPU",
        "generator",
    ),
    "generator late": (
        {"generator": Generator(processes=1, cpu_share=0.3, lateness_p99=1.5, limited=False)},
        "generator's lateness",
        "generator",
    ),
    "generator says so": (
        {"generator": Generator(processes=1, cpu_share=0.3, lateness_p99=0.0, limited=True, reason="a core is full")},
        "generator",
        "generator",
    ),
    "another scenario": ({"scenario": "cell"}, "scenario", "generator"),
    "another rate": ({"target_rate": 4.0}, "scenario", "generator"),
    "a tenant that fails": (
        {"tenants": [TenantResult(code="330106", requests=600, failed=60, limited=0, wrong=0)]},
        "right answers of a tenant, as people saw them",
        "services",
    ),
    "a tenant that its limit refuses": (
        {"tenants": [TenantResult(code="330106", requests=600, failed=0, limited=60, wrong=0)]},
        "right answers of a tenant, as people saw them",
        "services",
    ),
    "a tenant that is answered wrongly": (
        {"tenants": [TenantResult(code="330106", requests=600, failed=0, limited=0, wrong=60)]},
        "right answers of a tenant, as people saw them",
        "services",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "limit", "component"), LOADS.values(), ids=list(LOADS))
def test_a_run_that_breaks_one_limit_is_refused_for_that_limit(
    changes: dict[str, Any], limit: str, component: str
) -> None:
    judgement = verdict(healthy_load(**changes))
    assert judgement.verdict == "NO-GO"
    assert [(reason.limit, reason.component) for reason in judgement.reasons] == [(limit, component)]


@pytest.mark.parametrize(
    ("changes", "limit", "words"),
    [
        ({"failed": 10}, "availability of affairs, as people saw it", "10 of them citizen.file"),
        ({"wrong": 500}, "right answers of affairs", "500 of them citizen.file"),
        ({"limited": 100}, "answers that are not refused by a limit", "429"),
        ({"typical": 0.9}, "latency of affairs, as people saw it", "slowest: citizen.file"),
    ],
)
def test_what_people_see_is_judged_by_service(changes: dict[str, Any], limit: str, words: str) -> None:
    judgement = verdict(
        with_operation(healthy_load(), "citizen.file", lambda _: operation("citizen.file", "affairs", **changes))
    )
    assert (judgement.verdict, limits(judgement)) == ("NO-GO", [limit])
    assert words in judgement.reasons[0].sentence


@pytest.mark.parametrize("name", JUDGED)
def test_every_figure_of_prometheus_beyond_its_limit_is_a_no_go_that_names_it(name: str) -> None:
    limit = QUERIES[name].limit
    assert limit is not None
    beyond = max(limit * 3, 0.5) if QUERIES[name].unit in ("share", "use") else limit * 3
    judgement = verdict(evidence=spoiled(healthy_evidence(), name, value=beyond, halves=(beyond, beyond)))
    assert judgement.verdict == "NO-GO"
    assert set(limits(judgement)) == {name}
    keys = {(key.component, key.tenant or None) for key in healthy_evidence().expected if key.query == name}
    assert {(reason.component, reason.tenant) for reason in judgement.reasons} == keys


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_figure_that_is_missing_is_a_no_go(name: str) -> None:
    """Also of a figure without a limit: it is the proof of where the limit is."""
    key = next(key for key in healthy_evidence().expected if key.query == name)
    for evidence in (
        spoiled(healthy_evidence(), name, key.component, key.tenant, value=None, count=None),
        without(healthy_evidence(), name, key.component, key.tenant),
    ):
        judgement = verdict(evidence=evidence)
        assert (judgement.verdict, limits(judgement)) == ("NO-GO", [name])
        assert judgement.reasons[0].outcome == "missing"


def without(evidence: Evidence, query: str, component: str, tenant: str) -> Evidence:
    key = (query, component, tenant)
    rest = tuple(figure for figure in evidence.figures if (figure.query, figure.component, figure.tenant) != key)
    return evidence.model_copy(update={"figures": rest})


def test_a_query_that_was_not_asked_at_all_is_a_no_go() -> None:
    evidence = healthy_evidence()
    expected = tuple(key for key in evidence.expected if key.query != CPU)
    judgement = verdict(evidence=evidence.model_copy(update={"expected": expected}))
    assert (judgement.verdict, limits(judgement)) == ("NO-GO", ["metrics"])
    assert CPU in judgement.reasons[0].sentence


def test_a_service_that_was_not_asked_is_not_judged_and_one_that_was_must_have_counted() -> None:
    name = "availability of {}, as it saw itself"
    evidence = healthy_evidence()
    for service in ("portal", "affairs"):
        evidence = spoiled(evidence, name.format(service), value=None, count=0.0)
    judgement = verdict(evidence=evidence)
    assert limits(judgement) == [name.format("affairs")]
    assert "has counted none of it" in judgement.reasons[0].sentence
    assert name.format("portal") in {check.limit for check in judgement.kept if check.outcome == "unused"}


def test_a_service_of_the_scenario_that_nobody_reached_is_a_no_go() -> None:
    load = with_operation(healthy_load(), "citizen.query", lambda _: operation("citizen.query", "query", 0))
    assert "Nobody" not in verdict().proof
    assert [reason.component for reason in verdict(load).reasons] == ["query"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"up_at_start": None}, "was no target when the hold began"),
        ({"up_at_start": False}, "was down when the hold began"),
        ({"up_at_end": None}, "vanished in the middle of the hold"),
        ({"up_at_end": False}, "went down in the middle of the hold"),
        ({"succeeded": 0.75}, "missed 25 % of its scrapes"),
        ({"gap": 31.0}, "Prometheus itself was out"),
    ],
)
def test_a_target_out_of_sight_is_named(changes: dict[str, Any], words: str) -> None:
    judgement = verdict(evidence=with_target(healthy_evidence(), "host", "cell-a-gateway-2", **changes))
    assert (judgement.verdict, limits(judgement)) == ("NO-GO", ["every target in sight"])
    assert judgement.reasons[0].component == "cell-a-gateway-2 host"
    assert words in judgement.reasons[0].sentence


def test_one_missed_scrape_of_a_long_hold_is_no_reason() -> None:
    seen = {"scrapes": 24, "succeeded": 23 / 24, "gap": 10.0}
    assert verdict(evidence=with_target(healthy_evidence(), "host", "cell-a-gateway-2", **seen)).verdict == "GO"


def test_without_prometheus_nothing_else_is_said_of_its_figures() -> None:
    blind = Evidence(
        environment="local",
        prometheus="http://p",
        start=START,
        end=START + HOLD,
        faults=("Prometheus does not answer",),
    )
    for load in (healthy_load(), None):
        judgement = judge(OBJECTIVES, SCENARIO, load, blind)
        assert judgement.verdict == "NO-GO"
        assert judgement.reasons[0].component == "prometheus"
        assert len(judgement.reasons) == (1 if load else 2)


def test_an_old_plan_is_a_no_go_by_itself() -> None:
    judgement = verdict(plan_warning="the plan was measured 120 days ago")
    assert (judgement.verdict, limits(judgement)) == ("NO-GO", ["age of the plan"])


def test_the_most_telling_reason_is_first() -> None:
    load = with_operation(healthy_load(), "citizen.file", lambda _: operation("citizen.file", "affairs", wrong=500))
    evidence = with_target(healthy_evidence(), "host", "cell-a-gateway-2", up_at_end=False)
    evidence = spoiled(evidence, CPU, APPLICATION, value=0.99, halves=(0.99, 0.99))
    judgement = verdict(load, evidence, "the plan is old")
    assert [reason.kind for reason in judgement.reasons] == ["sight", "promise", "saturation", "plan"]


# ---- UNSURE ----


def test_halves_on_both_sides_of_a_limit_that_is_near_are_unsure() -> None:
    judgement = verdict(evidence=spoiled(healthy_evidence(), CPU, APPLICATION, value=0.85, halves=(0.7, 1.0)))
    assert (judgement.verdict, limits(judgement)) == ("UNSURE", [CPU])
    assert "0.70 in the first half of the hold, 1.00 in the second" in judgement.reasons[0].sentence


def test_halves_that_agree_or_a_limit_that_is_far_are_not_unsure() -> None:
    steady = spoiled(healthy_evidence(), CPU, APPLICATION, value=0.85, halves=(0.84, 0.86))
    far = spoiled(healthy_evidence(), CPU, APPLICATION, value=0.5, halves=(0.05, 0.95))
    assert [verdict(evidence=evidence).verdict for evidence in (steady, far)] == ["GO", "GO"]


def test_one_failure_in_a_thousand_says_too_little() -> None:
    once = with_operation(healthy_load(), "citizen.file", lambda _: operation("citizen.file", "affairs", failed=2))
    judgement = verdict(once)
    assert (judgement.verdict, limits(judgement)) == ("UNSURE", ["availability of affairs, as people saw it"])
    assert "The run cannot tell" in judgement.reasons[0].sentence
    assert judgement.reasons[0].interval is not None


def test_what_is_clearly_broken_leaves_no_room_for_doubt() -> None:
    doubtful = spoiled(healthy_evidence(), CPU, APPLICATION, value=0.85, halves=(0.7, 1.0))
    judgement = verdict(healthy_load(journeys_begun=100), doubtful)
    assert (judgement.verdict, limits(judgement)) == ("NO-GO", ["offered load", CPU])


# ---- the limiting component ----


def test_the_limiting_component_is_named_with_the_proof_that_no_other_is() -> None:
    judgement = verdict(evidence=spoiled(healthy_evidence(), CPU, APPLICATION, value=0.99, halves=(0.99, 0.99)))
    assert judgement.limiting == APPLICATION
    assert judgement.proof.startswith("cell-a application hosts: CPU 0.99 of their limit; ")
    for other in (
        "cell-a gateway hosts: CPU 0.30",
        "cell-core identity hosts: CPU 0.30",
        "cell-a database: 0.30 of its connections",
        "cell-a application pools: mean statement 1 ms",
        "generator: 0.31 of a core",
    ):
        assert other in judgement.proof


def test_two_components_at_their_limit_are_both_told() -> None:
    both = spoiled(healthy_evidence(), CPU, APPLICATION, value=0.99)
    both = spoiled(both, CPU, "cell-a gateway hosts", value=0.95)
    judgement = verdict(evidence=both)
    assert judgement.limiting == APPLICATION
    assert "at their limit, too: cell-a gateway hosts" in judgement.proof


def test_hosts_that_were_full_for_a_while_explain_a_broken_promise() -> None:
    """Arrivals that come in a crowd are answered late although nothing was full on average."""
    full = spoiled(healthy_evidence(), FULLEST_CPU, APPLICATION, value=0.99)
    full = spoiled(full, FULLEST_CPU, "cell-a gateway hosts", value=1.0)
    full = spoiled(full, CPU, APPLICATION, value=0.84)
    late = "latency of affairs, as it saw itself"
    judgement = verdict(evidence=spoiled(full, late, value=0.2, count=1000.0, halves=(0.2, 0.2)))
    assert (judgement.verdict, judgement.limiting) == ("NO-GO", APPLICATION)
    assert judgement.proof.startswith(
        "cell-a application hosts: CPU 0.99 of their limit in their fullest 15 s "
        "(at their limit, too: cell-a gateway hosts); "
        "cell-a application hosts: CPU 0.84 of their limit"
    )
    # without a broken promise it is no limit, and without full hosts it explains nothing
    assert verdict(evidence=full).limiting is None
    assert verdict(evidence=spoiled(healthy_evidence(), late, value=0.2, count=1000.0)).limiting is None


def test_a_generator_that_was_the_limit_is_the_limiting_component() -> None:
    limited = Generator(processes=1, cpu_share=0.4, lateness_p99=0.5, limited=True, reason="half a second late")
    assert verdict(healthy_load(generator=limited)).limiting == "generator"


# ---- properties ----

FIGURES = st.sampled_from(range(len(healthy_evidence().figures)))
SHARES = st.floats(0, 3)


def changed(evidence: Evidence, index: int, **changes: Any) -> Evidence:
    figures = list(evidence.figures)
    figures[index] = figures[index].model_copy(update=changes)
    return evidence.model_copy(update={"figures": tuple(figures)})


@settings(max_examples=60)
@given(FIGURES, st.booleans())
def test_never_go_with_a_missing_figure(index: int, removed: bool) -> None:
    evidence = healthy_evidence()
    if removed:
        spoilt = evidence.model_copy(update={"figures": evidence.figures[:index] + evidence.figures[index + 1 :]})
    else:
        spoilt = changed(evidence, index, value=None, count=None)
    assert verdict(evidence=spoilt).verdict == "NO-GO"


@settings(max_examples=80)
@given(FIGURES, SHARES, SHARES, st.tuples(SHARES, SHARES), st.tuples(SHARES, SHARES))
def test_a_worse_figure_never_turns_a_refusal_into_a_go(
    index: int, value: float, more: float, halves: tuple[float, float], more_halves: tuple[float, float]
) -> None:
    limit = QUERIES[healthy_evidence().figures[index].query].limit or 1.0
    before = changed(healthy_evidence(), index, value=value * limit, halves=tuple(half * limit for half in halves))
    worse = changed(
        healthy_evidence(),
        index,
        value=(value + more) * limit,
        halves=tuple((half + extra) * limit for half, extra in zip(halves, more_halves, strict=True)),
    )
    if verdict(evidence=before).verdict == "NO-GO":
        assert verdict(evidence=worse).verdict != "GO"


def worsened(load: LoadResult, **more: int) -> LoadResult:
    def worse(filed: Any) -> Any:
        grown = {name: min(getattr(filed, name) + count, filed.requests) for name, count in more.items()}
        return filed.model_copy(update=grown)

    return with_operation(load, "citizen.file", worse)


@settings(max_examples=60)
@given(
    st.fixed_dictionaries({name: st.integers(0, 20) for name in ("failed", "wrong")}),
    st.fixed_dictionaries({name: st.integers(0, 20) for name in ("failed", "wrong")}),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_a_worse_run_never_turns_a_refusal_into_a_go(
    first: dict[str, int], more: dict[str, int], missed: int, more_missed: int
) -> None:
    before = worsened(healthy_load(journeys_begun=480 - missed), **first)
    after = worsened(healthy_load(journeys_begun=480 - missed - more_missed), **{k: first[k] + more[k] for k in first})
    if verdict(before).verdict == "NO-GO":
        assert verdict(after).verdict != "GO"


@settings(max_examples=60)
@given(st.floats(0.01, 3), st.floats(1, 4))
def test_slower_answers_never_turn_a_refusal_into_a_go(typical: float, factor: float) -> None:
    def slow(seconds: float) -> LoadResult:
        return with_operation(
            healthy_load(), "citizen.file", lambda _: operation("citizen.file", "affairs", typical=seconds)
        )

    if verdict(slow(typical)).verdict == "NO-GO":
        assert verdict(slow(typical * factor)).verdict != "GO"


# ---- the machine ----


def machine(before: float, after: float) -> Machine:
    return Machine(before=Speed(whole=before, core=1900), after=Speed(whole=after, core=1900))


STEADY, SLOWED = machine(3600, 3300), machine(3600, 2000)


def slow(**changes: Any) -> LoadResult:
    filed = operation("citizen.file", "affairs", typical=0.6)
    return with_operation(healthy_load(**changes), "citizen.file", lambda _: filed)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"machine": STEADY, "machine_busy": 0.8}, "NO-GO"),
        ({"machine": None, "machine_busy": None}, "NO-GO"),
        ({"machine": SLOWED, "machine_busy": 0.8}, "UNSURE"),
        ({"machine": machine(2000, 3600), "machine_busy": 0.8}, "UNSURE"),
        ({"machine": STEADY, "machine_busy": 0.99}, "UNSURE"),
    ],
)
def test_late_answers_say_nothing_where_the_machine_was_not_steady_or_had_no_room(
    changes: dict[str, Any], expected: str
) -> None:
    judgement = verdict(slow(**changes))
    assert (judgement.verdict, limits(judgement)) == (expected, ["latency of affairs, as people saw it"])
    told = "whether it was the machine" in judgement.reasons[0].sentence
    assert told == (expected == "UNSURE")


def test_what_was_kept_on_a_machine_that_was_not_steady_was_kept() -> None:
    assert verdict(healthy_load(machine=SLOWED, machine_busy=0.99)).verdict == "GO"


def test_the_machine_excuses_neither_failures_nor_full_hosts() -> None:
    failing = healthy_load(machine=SLOWED)
    failing = with_operation(
        failing, "citizen.file", lambda filed: filed.model_copy(update={"failed": filed.requests // 20})
    )
    assert verdict(failing).verdict == "NO-GO"
    full = spoiled(healthy_evidence(), CPU, APPLICATION, value=0.97, halves=(0.97, 0.97))
    assert verdict(slow(machine=SLOWED), full).verdict == "NO-GO"
