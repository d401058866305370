"""The universal scalability law fitted to what was measured: known truths come back, nonsense does not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.scalability import OutOfReach, ScalabilityLaw
from loadtests.model.capacity import (
    CONFIDENCE,
    LEAST_STEPS,
    CapacityError,
    Carried,
    Interval,
    Step,
    capacity_of,
    fit,
    fit_hosts,
)

LAWS = st.builds(
    ScalabilityLaw,
    of_one=st.floats(0.5, 500),
    contention=st.floats(0, 0.9),
    coherency=st.one_of(st.just(0.0), st.floats(1e-4, 0.05)),
)
RATES = st.floats(0.01, 1e4)
HEADROOMS = st.floats(0, 0.9)

LIMIT, SERVICE_SECONDS = 0.5, 0.1
"""Seconds of the objective's percentile, and of one answer when nobody waits."""


def known_law(contention: float = 0.05, coherency: float = 0.002) -> ScalabilityLaw:
    return ScalabilityLaw(of_one=12, contention=contention, coherency=coherency)


# The law itself


@given(LAWS, st.integers(1, 100))
def test_nothing_carries_more_than_the_peak(law: ScalabilityLaw, count: int) -> None:
    assert law.throughput(count) <= law.peak * (1 + 1e-9)
    assert law.throughput(1) == pytest.approx(law.of_one)


@given(LAWS, RATES, HEADROOMS)
def test_hosts_needed_are_enough_and_one_fewer_is_not(law: ScalabilityLaw, target: float, headroom: float) -> None:
    try:
        needed = law.needed(target, headroom)
    except OutOfReach as error:
        assert max((1 - headroom) * law.throughput(count) for count in range(1, 101)) < target
        assert "another cell is needed" in str(error)
        return
    assert (1 - headroom) * law.throughput(needed) >= target
    assert all((1 - headroom) * law.throughput(fewer) < target for fewer in range(1, needed))


@given(LAWS, RATES, RATES, HEADROOMS)
def test_a_larger_target_never_needs_fewer_hosts(
    law: ScalabilityLaw, rate: float, other_rate: float, headroom: float
) -> None:
    def needed(target: float) -> float:
        try:
            return law.needed(target, headroom)
        except OutOfReach:
            return math.inf

    assert needed(min(rate, other_rate)) <= needed(max(rate, other_rate))


def test_a_law_that_turns_back_refuses_what_no_number_of_hosts_carries() -> None:
    law = ScalabilityLaw(of_one=10, contention=0.1, coherency=0.05)
    assert law.needed(20, 0) == 3
    with pytest.raises(OutOfReach, match=r"the most is 21\.1/s, with 4 hosts; another cell is needed"):
        law.needed(30, 0)


@pytest.mark.parametrize("target", [0, -1, math.nan, math.inf])
def test_a_target_that_is_no_rate_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="give a rate above zero"):
        known_law().needed(target, 0.2)


@pytest.mark.parametrize("headroom", [-0.1, 1, math.nan])
def test_a_headroom_that_is_no_share_is_refused(headroom: float) -> None:
    with pytest.raises(ValueError, match="give a share from 0 to below 1"):
        known_law().needed(1, headroom)


@pytest.mark.parametrize(
    "wrong", [{"of_one": math.nan}, {"of_one": 0}, {"contention": -0.1}, {"coherency": math.inf}, {"contention": 1.1}]
)
def test_a_law_of_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        ScalabilityLaw.model_validate({"of_one": 1, "contention": 0, "coherency": 0} | wrong)


# The fit


@given(LAWS)
@settings(max_examples=25)
def test_without_noise_the_law_comes_back(law: ScalabilityLaw) -> None:
    counts = list(np.geomspace(0.5, 40, 10))
    fitted = fit(counts, [law.throughput(count) for count in counts])
    assert fitted.r_squared == pytest.approx(1, abs=1e-3)
    for count in counts:
        assert fitted.law.throughput(count) == pytest.approx(law.throughput(count), rel=0.01)


FIGURES: dict[str, Callable[[ScalabilityLaw], float]] = {
    "λ": lambda law: law.of_one,
    "σ": lambda law: law.contention,
    "κ": lambda law: law.coherency,
    "X(30)": lambda law: law.throughput(30),
}


@pytest.mark.parametrize("law", [known_law(), known_law(0.3, 0), known_law(0, 0.01)], ids=str)
def test_intervals_hold_the_truth_about_as_often_as_they_say(law: ScalabilityLaw) -> None:
    """Sixty noisy runs of ten steps: an interval of 90 % may miss a few more, as the law itself is fitted."""
    random, runs = np.random.default_rng(7), 60
    counts = np.geomspace(0.4, 30, 10)
    held = dict.fromkeys(FIGURES, 0)
    for _ in range(runs):
        rates = [law.throughput(count) * random.lognormal(0, 0.03) for count in counts]
        fitted = fit(list(counts), rates)
        for name, figure in FIGURES.items():
            held[name] += figure(law) in fitted.interval(figure)
    assert min(held.values()) / runs >= CONFIDENCE - 0.13, held


def test_the_same_evidence_always_gives_the_same_interval() -> None:
    counts, rates = [1, 2, 4, 8, 16, 32], [5.1, 9.7, 17, 29, 40, 44]
    assert fit(counts, rates) == fit(counts, rates)


@pytest.mark.parametrize(
    ("counts", "rates", "said"),
    [
        ([1, 2, 3], [1, 2, 3], "needs at least 6 steps"),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, math.nan, 5, 6], "no number"),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 0, 5, 6], "missing, zero"),
        ([1, 2, 3, 4, 5, math.inf], [1, 2, 3, 4, 5, 6], "no number"),
        ([3] * 6, [1, 2, 3, 4, 5, 6], "every step had the same load"),
    ],
)
def test_points_that_tell_nothing_are_refused(counts: list[float], rates: list[float], said: str) -> None:
    with pytest.raises(CapacityError, match=said):
        fit(counts, rates)


# A stepped load


def stepped(most: float, random: np.random.Generator, noise: float = 1.0) -> list[Step]:
    """Steps of hosts that carry `most` at the very most, taken as the measurement takes them; readings are noisy."""
    steps: list[Step] = []
    rate, kept, broken = most / 5, 0.0, math.inf
    while len(steps) < LEAST_STEPS or not (math.isfinite(broken) and broken / kept <= 1.12):
        carried = min(rate, 0.995 * most)
        mean = mean_latency(carried, most)
        used = 3 * mean / LIMIT * random.lognormal(0, 0.08 * noise)
        steps.append(
            Step(
                offered=rate,
                carried=carried * random.lognormal(0, 0.02 * noise),
                in_flight=carried * mean * random.lognormal(0, 0.05 * noise),
                used=used,
                broke="latency" if used > 1 else None,
            )
        )
        kept, broken = (kept, min(broken, rate)) if used > 1 else (max(kept, rate), broken)
        if not math.isfinite(broken):
            rate *= 1.5
        elif broken / kept > 1.12:
            rate = math.sqrt(kept * broken)
        else:
            rate = min(step.offered for step in steps) / 1.5
    return steps


def mean_latency(rate: float, most: float) -> float:
    """Of two servers that share a queue (M/M/2): not the law itself, as the real thing is not."""
    return SERVICE_SECONDS / (1 - (rate / most) ** 2)


def true_capacity(most: float) -> float:
    return most * math.sqrt(1 - 3 * SERVICE_SECONDS / LIMIT)


def test_the_capacity_lies_in_its_interval_about_as_often_as_it_says() -> None:
    random, runs = np.random.default_rng(5), 40
    capacities = [capacity_of(stepped(12, random)) for _ in range(runs)]
    truth = true_capacity(12)
    assert sum(truth in capacity.interval for capacity in capacities) / runs >= CONFIDENCE - 0.1
    assert abs(float(np.mean([capacity.rate for capacity in capacities])) / truth - 1) < 0.05
    assert all(
        not capacity.lower_bound and capacity.interval.low <= capacity.rate <= capacity.interval.high
        for capacity in capacities
    )
    widths = [(capacity.interval.high - capacity.interval.low) / capacity.rate for capacity in capacities]
    assert float(np.mean(widths)) < 0.25


@given(st.floats(2, 200))
@settings(max_examples=10)
def test_the_capacity_lies_between_the_last_good_step_and_the_first_broken_one(most: float) -> None:
    steps = stepped(most, np.random.default_rng(1), noise=0.3)
    broken = min(step.offered for step in steps if step.broke)
    kept = max(step.offered for step in steps if step.offered < broken)
    assert kept <= capacity_of(steps).rate <= broken


def step(offered: float, broke: str | None = None, by_latency: bool = True) -> Step:
    mean = mean_latency(min(offered, 11.9), 12)
    return Step(offered, min(offered, 11.9), min(offered, 11.9) * mean, 3 * mean / LIMIT, broke, by_latency)


def test_what_never_broke_is_only_a_lower_bound_and_says_so() -> None:
    capacity = capacity_of([step(2), step(3), step(4.5)])
    assert capacity.lower_bound
    assert (capacity.rate, capacity.interval.low, capacity.interval.high) == (4.5, 4.5, math.inf)


def test_failures_follow_no_law_the_last_good_step_is_the_figure() -> None:
    steps = [step(rate) for rate in (1, 2, 3, 4, 5)] + [step(7, "5 % failed", by_latency=False)]
    capacity = capacity_of(steps)
    assert capacity.rate == 5
    assert capacity.interval == Interval(5, 7)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([], "no step was measured"),
        ([step(2, "95 % within 900 ms")], "the first step, 2/s, already broke an objective .* begin lower"),
        ([step(2), step(4, "slow")], "needs at least 6 steps"),
        ([step(2), Step(math.nan, 1, 1, 1)], "no number"),
        ([step(2), Step(3, 0, 1, 1)], "missing, zero"),
    ],
)
def test_steps_that_tell_nothing_are_refused(steps: list[Step], said: str) -> None:
    with pytest.raises(CapacityError, match=said):
        capacity_of(steps)


# Over the number of hosts


def carried(hosts: int, law: ScalabilityLaw, error: float = 0.05) -> Carried:
    rate = law.throughput(hosts)
    return Carried(hosts, rate, Interval(rate * (1 - error), rate * (1 + error)))


def test_one_number_of_hosts_takes_the_assumed_contention_and_a_wider_interval() -> None:
    law = ScalabilityLaw(of_one=6, contention=0.04, coherency=0)
    alone = fit_hosts([carried(2, law)], 0.03)
    assert alone.law.contention == 0.03
    assert alone.law.coherency == 0
    assert alone.law.throughput(2) == pytest.approx(law.throughput(2))
    both = fit_hosts([carried(2, law), carried(6, law)], 0.03)

    def of_six(law: ScalabilityLaw) -> float:
        return law.throughput(6)

    def width(interval: Interval) -> float:
        return interval.high - interval.low

    assert law.throughput(6) in alone.interval(of_six)
    assert width(alone.interval(of_six)) > width(both.interval(of_six))


def test_two_numbers_of_hosts_tell_contention_and_three_tell_coherency() -> None:
    law = ScalabilityLaw(of_one=6, contention=0.08, coherency=0.004)
    two = fit_hosts([carried(2, law), carried(4, law)], 0.03)
    assert two.law.coherency == 0
    assert two.law.contention > 0.03
    many = fit_hosts([carried(hosts, law) for hosts in (1, 2, 4, 8)], 0.03)
    assert many.law.contention == pytest.approx(0.08, rel=0.05)
    assert many.law.coherency == pytest.approx(0.004, rel=0.05)
    assert many.r_squared > 0.999


def test_more_than_twice_from_twice_the_hosts_is_noise_not_a_gain() -> None:
    points = [Carried(2, 10, Interval(9, 11)), Carried(4, 22, Interval(20, 24))]
    assert fit_hosts(points, 0.03).law.contention == 0


@pytest.mark.parametrize("points", [[], [Carried(2, math.nan, Interval(1, 2))], [Carried(2, 1, Interval(1, math.inf))]])
def test_a_capacity_that_is_none_extrapolates_to_nothing(points: list[Carried]) -> None:
    with pytest.raises(CapacityError, match="measure until an objective breaks"):
        fit_hosts(points, 0.03)


def test_cpu_is_told_by_what_was_carried_and_not_by_what_was_offered() -> None:
    """A step far above the capacity, in a moment when work cost more: a third of what came was not carried."""
    full, told = "hosts were full", []
    for offered, carried, fullness, cost, broke in (
        (12.7, 12.7, 0.53, 6.1, None),
        (19.1, 19.1, 0.76, 6.3, None),
        (28.6, 28.9, 0.83, 5.1, None),
        (42.9, 30.1, 1.06, 7.0, full),
        (35.0, 35.3, 1.04, 5.3, full),
        (31.6, 31.5, 1.04, 5.8, full),
    ):
        told.append(Step(offered, carried, carried / 20, fullness / 3, broke, False, fullness, cost))
    capacity = capacity_of(told)
    assert capacity.cost == pytest.approx(5.95)
    assert capacity.rate == pytest.approx(30.0, rel=0.03)
    assert capacity.interval.high < 1.2 * capacity.interval.low
