"""What a cell carries, and how much more hosts would: the universal scalability law fitted to what was measured.

The law (`infra/scalability.py`) is fitted twice:

- over the requests in flight in one cell, from a stepped load. Both figures of a step are of its hold by the clock:
  requests in flight on average, journeys that ended. Above the capacity work piles up, so what is let in, and the
  latencies of those who came, which reach beyond the hold, say more than the cell carried. A single queue (M/M/1) is
  exactly the law with σ = 1/2, so the law holds below one in flight as well. Mean latency is N / X(N) by Little's law;
  the percentile that an objective names is taken as a multiple of it, set where it broke.
- over the number of hosts, from capacities measured with different numbers of them.

Method: N. J. Gunther, Guerrilla Capacity Planning (2007), chapter 5, which asks for at least six points. Intervals are
a bootstrap's percentiles (B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 9 and 13), with a
fixed seed, so that the same evidence always gives the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, nnls

from infra.errors import ExpectedError
from infra.scalability import ScalabilityLaw

LEAST_STEPS = 6
CONFIDENCE = 0.9
DRAWS = 300
SEED = 20261124
PARAMETERS = 3
NOTHING = 1e-6
NEARLY = 0.9
FILLED = 1.09
"""Fullness above which hosts have next to nothing left, and CPU rises no more with the rate."""
LEAST_FOR_LINE = 3
LEAST_ERROR = 0.02
"""Of a reading of CPU, as a share: few steps may lie on a line by chance."""
NEAR = 0.25
"""Share of a latency limit above which a step's percentile says something about the limit."""

Numbers = NDArray[np.float64]


class CapacityError(ExpectedError):
    """What was measured says nothing about capacity; the message says why and what to do."""


@dataclass(frozen=True)
class Interval:
    """Holds the true figure with `CONFIDENCE`, as far as the model is right."""

    low: float
    high: float

    def __contains__(self, figure: float) -> bool:
        return self.low <= figure <= self.high


@dataclass(frozen=True)
class Fit:
    """A fitted law, and the laws that the noise might as well have given."""

    law: ScalabilityLaw
    others: tuple[ScalabilityLaw, ...]
    r_squared: float

    def interval(self, figure: Callable[[ScalabilityLaw], float]) -> Interval:
        """Of any figure of the law."""
        return _interval([figure(other) for other in self.others])


@dataclass(frozen=True)
class Step:
    """One step of a stepped load.

    `used`: the tightest latency objective's percentile as a share of its limit, 1 is the limit. `broke`: what was not
    kept, or None. `by_latency`: it was a latency objective, which follows the law; failures do not. `fullness`: CPU of
    the hosts as a share of what they may use, None where it is not known. `cost`: what the same piece of work cost in
    CPU meanwhile, on the machine that the hosts are on; None where that is not known.
    """

    offered: float
    carried: float
    in_flight: float
    used: float
    broke: str | None = None
    by_latency: bool = True
    fullness: float | None = None
    cost: float | None = None

    @property
    def full(self) -> bool:
        """The busiest of the hosts is at its limit a little before all are."""
        return self.fullness is not None and self.fullness >= NEARLY


@dataclass(frozen=True)
class Capacity:
    """The largest rate that kept every objective. Without a break it is only a lower bound, `high` is infinite.
    `cost`: at which cost of the same piece of work; hosts carry the less, the dearer it is."""

    rate: float
    interval: Interval
    lower_bound: bool
    fit: Fit | None
    cost: float | None = None


@dataclass(frozen=True)
class Carried:
    """What so many hosts of a role carried, with its interval."""

    hosts: int
    rate: float
    interval: Interval


def fit(counts: Sequence[float], rates: Sequence[float]) -> Fit:
    """The law over `counts`, from the `rates` that they carried.

    Raises:
        CapacityError: fewer than `LEAST_STEPS` points, all at one count, or one that is no positive number.
    """
    if len(counts) < LEAST_STEPS:
        raise CapacityError(f"{len(counts)} steps: the law has three parameters and needs at least {LEAST_STEPS} steps")
    n, x = np.asarray(counts, float), np.asarray(rates, float)
    if n.shape != x.shape or not (np.isfinite(n).all() and np.isfinite(x).all() and (n > 0).all() and (x > 0).all()):
        raise CapacityError("a step's load or throughput is missing, zero or no number: measure again")
    if np.ptp(n) <= 1e-9 * n.max():
        raise CapacityError("every step had the same load: step it")
    law = _least_squares(n, x)
    expected = _throughput(law, n)
    errors = np.log(x / expected)
    errors = (errors - errors.mean()) * math.sqrt(len(n) / (len(n) - PARAMETERS))
    random = np.random.default_rng(SEED)
    others = tuple(_linear(n, expected * np.exp(random.choice(errors, len(n))), coherency=True) for _ in range(DRAWS))
    spread = float(np.square(x - x.mean()).sum())
    return Fit(law, others, 1 - float(np.square(x - expected).sum()) / spread if spread else 1.0)


def capacity_of(steps: Sequence[Step]) -> Capacity:
    """The last step that kept every limit and the first that did not bracket the capacity. Where latency broke, the law
    says at which rate between them; where the hosts were full, the straight line of their CPU over the rate says it.
    The lower of both is the figure. Failures follow neither: then it is the last good step.

    Raises:
        CapacityError: the steps say nothing about capacity: too few, not a number, or none kept the objectives.
    """
    if not steps:
        raise CapacityError("no step was measured")
    if any(not math.isfinite(value) or value <= 0 for step in steps for value in (step.offered, step.carried)):
        raise CapacityError("a step's rate is missing, zero or no number: measure again")
    broken = min((step for step in steps if step.broke), key=lambda step: step.offered, default=None)
    kept = [step for step in steps if not step.broke and (broken is None or step.offered < broken.offered)]
    if not kept:
        assert broken is not None
        raise CapacityError(
            f"the first step, {broken.offered:g}/s, already broke an objective ({broken.broke}): begin lower"
        )
    last = max(kept, key=lambda step: step.offered)
    if broken is None:
        return Capacity(last.offered, Interval(last.offered, math.inf), True, None)
    fitted = fit([step.in_flight for step in steps], [step.carried for step in steps])
    reading = _Reading(last, broken)
    estimates: list[tuple[float, Interval]] = []
    if broken.full:
        estimates.append(_rate_when_full(reading, steps))
    if broken.by_latency:
        rate = min(max(reading.rate_at_limit(fitted.law), last.offered), broken.offered)
        estimates.append((rate, _interval_of_capacity(rate, reading, steps, fitted)))
    rate, interval = min(
        estimates, key=lambda estimate: estimate[0], default=(last.offered, Interval(last.offered, broken.offered))
    )
    return Capacity(rate, interval, False, fitted, _cost(steps))


def _cost(steps: Sequence[Step]) -> float | None:
    """What the same piece of work usually cost meanwhile."""
    costs = [step.cost for step in steps if step.cost is not None and (step.fullness or 0) <= FILLED]
    return float(np.median(costs)) if costs else None


def _rate_when_full(reading: _Reading, steps: Sequence[Step]) -> tuple[float, Interval]:
    """Where the hosts' CPU reaches its limit. Each journey costs about the same, so CPU is a straight line over the
    rate carried, up to where there is no more of it, and a reading is off by a share of itself. All steps tell of it,
    and more than the two at the limit, which a neighbour's moment decides. Where it is known what the same work cost
    meanwhile, each reading is brought to what it would be at the usual cost.

    Method: weighted least squares; the interval is that of the line's parameters, which follow Student's distribution
    (N. R. Draper, H. Smith, Applied Regression Analysis, 1998, chapters 3 and 9), by `DRAWS` draws.
    """
    last, broken = reading.last.offered, reading.broken.offered
    usual = _cost(steps)
    below = [
        (step.carried, step.fullness * (usual / step.cost if usual and step.cost else 1))
        for step in steps
        if step.fullness is not None and step.fullness <= FILLED
    ]
    rates, shares = np.array([rate for rate, _ in below], float), np.array([share for _, share in below], float)
    if len(set(rates)) < LEAST_FOR_LINE:
        return last, Interval(last, broken)
    terms = np.column_stack([np.ones_like(rates), rates])
    weights = 1 / np.maximum(shares, NOTHING)
    fitted, *_ = np.linalg.lstsq(terms * weights[:, None], shares * weights, rcond=None)
    free = len(rates) - 2
    off = math.sqrt(float(np.square((terms @ fitted - shares) * weights).sum()) / free)
    spread = max(off, LEAST_ERROR) ** 2 * np.linalg.inv((terms * weights[:, None]).T @ (terms * weights[:, None]))
    random = np.random.default_rng(SEED)
    scale = np.sqrt(free / random.chisquare(free, DRAWS))
    others = fitted + random.multivariate_normal(np.zeros(2), spread, DRAWS) * scale[:, None]
    first, highest = float(rates.min()), max(step.offered for step in steps)
    drawn = _interval([_full_at(line, first, highest) for line in others])
    rate = _full_at(fitted, first, highest)
    return rate, Interval(min(drawn.low, rate), max(drawn.high, rate))


def _full_at(line: Numbers, lowest: float, highest: float) -> float:
    """The rate at which this line of CPU is at its limit, among those that were tried."""
    rest, slope = (float(parameter) for parameter in line)
    return min(max((1 - rest) / slope, lowest), highest) if slope > 0 else highest


@dataclass(frozen=True)
class _Reading:
    """The two steps between which an objective broke.

    An objective's percentile is a multiple of mean latency: the readings of both ends make two multiples, and their
    geometric mean stands for both.
    """

    last: Step
    broken: Step

    def multiple(self, law: ScalabilityLaw) -> float:
        return math.sqrt(_multiple(law, self.last) * _multiple(law, self.broken))

    def rate_at_limit(self, law: ScalabilityLaw, error: float = 0.0) -> float:
        """Where the law's latency reaches the limit, when the readings were off by the logarithm `error`."""
        allowed = law.of_one / (self.multiple(law) * math.exp(error))
        return law.throughput(max(_solved(law, allowed), 1e-9))


def _solved(law: ScalabilityLaw, allowed: float) -> float:
    """The N at which 1 + σ(N − 1) + κN(N − 1) is `allowed`."""
    square, linear, rest = law.coherency, law.contention - law.coherency, 1 - law.contention - allowed
    if square > 0:
        inside = linear * linear - 4 * square * rest
        return (math.sqrt(inside) - linear) / (2 * square) if inside > 0 else 0.0
    return -rest / linear if linear > 0 else 1e9


def _multiple(law: ScalabilityLaw, step: Step) -> float:
    return max(step.used, 1e-9) * law.throughput(step.in_flight) / step.in_flight


def _interval_of_capacity(rate: float, reading: _Reading, steps: Sequence[Step], fitted: Fit) -> Interval:
    """From the laws that might as well be, and readings of the percentile that are off as much as the steps' were.

    It may reach to the next steps outside the bracket, whose own readings are as noisy, and is never narrower than half
    of the bracket.
    """
    near = [step for step in steps if step.used > NEAR and step.offered <= reading.broken.offered]
    multiples = np.log([_multiple(fitted.law, step) for step in near])
    errors = (multiples - multiples.mean()) / math.sqrt(2)
    random = np.random.default_rng(SEED)
    drawn = _interval([reading.rate_at_limit(other, float(random.choice(errors))) for other in fitted.others])
    last, broken = reading.last.offered, reading.broken.offered
    least = (broken - last) / 4
    low = min(drawn.low, rate - least)
    high = max(drawn.high, rate + least)
    below = max((step.offered for step in steps if step.offered < last), default=last / 2)
    above = min((step.offered for step in steps if step.offered > broken), default=2 * broken - last)
    return Interval(max(low, below), min(high, above))


def fit_hosts(carried: Sequence[Carried], contention: float) -> Fit:
    """The law over the number of hosts. One count of hosts tells λ only, and σ is then `contention` (drawn from none to
    twice of it for the interval); two tell σ as well; three and more tell κ.

    Raises:
        CapacityError: nothing was measured, or a figure is no positive number.
    """
    figures = [value for point in carried for value in (point.rate, point.interval.low, point.interval.high)]
    if not carried or not all(math.isfinite(value) and value > 0 for value in figures):
        raise CapacityError("no measured capacity to extrapolate from: measure until an objective breaks")
    counts = np.array([point.hosts for point in carried], float)
    rates = np.array([point.rate for point in carried], float)
    lows = np.array([point.interval.low for point in carried])
    highs = np.array([point.interval.high for point in carried])
    random = np.random.default_rng(SEED)
    draws = [random.uniform(lows, highs) for _ in range(DRAWS)]
    kinds = len(set(counts))
    if kinds == 1:
        law = _through(counts[0], float(rates.mean()), contention)
        others = [_through(counts[0], float(draw.mean()), random.uniform(0, 2 * contention)) for draw in draws]
        return Fit(law, tuple(others), 1.0)
    law = _least_squares(counts, rates, coherency=kinds > 2)
    others = [_linear(counts, draw, coherency=kinds > 2) for draw in draws]
    spread = float(np.square(rates - rates.mean()).sum())
    missed = float(np.square(rates - _throughput(law, counts)).sum())
    return Fit(law, tuple(others), 1 - missed / spread if spread else 1.0)


def _through(count: float, rate: float, contention: float) -> ScalabilityLaw:
    """The law with this contention that passes through one point."""
    return ScalabilityLaw(of_one=rate * (1 + contention * (count - 1)) / count, contention=contention, coherency=0)


def _least_squares(n: Numbers, x: Numbers, coherency: bool = True) -> ScalabilityLaw:
    """Least squares of the throughput's logarithm: a step's noise is a share of it, not a number of requests."""
    begin = _linear(n, x, coherency)
    free = PARAMETERS if coherency else PARAMETERS - 1
    first = np.clip([math.log(begin.of_one), begin.contention, begin.coherency][:free], [-50, 0, 0][:free], None)

    def missed(values: Numbers) -> Numbers:
        contention, agreed = values[1], values[2] if coherency else 0.0
        pairs = 1 + contention * (n - 1) + agreed * n * (n - 1)
        return np.asarray(values[0] + np.log(n / np.maximum(pairs, 1e-9)) - np.log(x), float)

    limits = ([-np.inf, 0, 0][:free], [np.inf, 1, 1][:free])
    solution: Any = least_squares(missed, np.clip(first, *limits), bounds=limits, x_scale="jac", method="trf")
    values = [*solution.x, 0.0][:PARAMETERS]
    return ScalabilityLaw(of_one=math.exp(values[0]), contention=_part(values[1]), coherency=_part(values[2]))


def _part(value: float) -> float:
    """The solver stays inside its bounds: what it leaves next to zero is zero."""
    return 0.0 if value < NOTHING else min(1.0, float(value))


def _linear(n: Numbers, x: Numbers, coherency: bool) -> ScalabilityLaw:
    """N/X is linear in 1/λ, σ/λ and κ/λ, none of them negative: with the same weight for each relative error this is
    the fit to first order, a hundred times as fast. It begins the fit, and is what each draw is fitted by."""
    columns = [np.ones_like(n), n - 1, n * (n - 1)][: PARAMETERS if coherency else PARAMETERS - 1]
    weights = x / n
    solved, _ = nnls(np.column_stack(columns) * weights[:, None], np.ones_like(n))
    inverse = max(float(solved[0]), 1e-3 * float((n / x).min()))
    rest = [min(1.0, float(value) / inverse) for value in solved[1:]] + [0.0]
    return ScalabilityLaw(of_one=1 / inverse, contention=rest[0], coherency=rest[1])


def _throughput(law: ScalabilityLaw, n: Numbers) -> Numbers:
    return np.array([law.throughput(count) for count in n])


def _interval(figures: Sequence[float]) -> Interval:
    """The middle `CONFIDENCE` of them; infinite ones (a law without a peak) count as the largest."""
    ordered = sorted(figures)
    outside = (1 - CONFIDENCE) / 2
    last = len(ordered) - 1
    return Interval(ordered[math.floor(outside * last)], ordered[math.ceil((1 - outside) * last)])
