"""Where a figure stands against its limit, when it is known only as well as one run can tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import bdtrik, betaincinv

CONFIDENCE = 0.95
MARGIN = (1 - CONFIDENCE) / 2
Standing = Literal["kept", "broken", "unsure"]


@dataclass(frozen=True)
class Measured:
    """A figure that grows when things get worse. `low` and `high`: the interval; both are `value` where none is known.
    `halves`: the same figure of each half of the hold."""

    value: float
    low: float
    high: float
    halves: tuple[float | None, float | None] = (None, None)


def exactly(value: float, halves: tuple[float | None, float | None] = (None, None)) -> Measured:
    return Measured(value, value, value, halves)


def share(bad: float, count: float, halves: tuple[float | None, float | None] = (None, None)) -> Measured:
    """A share of events, with Clopper and Pearson's interval."""
    events = max(round(count), 1)
    hits = min(max(round(bad), 0), events)
    low = float(betaincinv(hits, events - hits + 1, MARGIN)) if hits else 0.0
    high = float(betaincinv(hits + 1, events - hits, 1 - MARGIN)) if hits < events else 1.0
    value = min(max(bad, 0.0) / count, 1.0) if count else 0.0
    return Measured(value, min(low, value), max(high, value), halves)


def percentile(
    bounds: Sequence[float],
    within: Sequence[int],
    count: int,
    quantile: float,
    largest: float,
    halves: tuple[float | None, float | None] = (None, None),
) -> Measured:
    """A percentile from cumulative counts by bound; its interval lies between two order statistics."""
    # as many of the events are below the percentile as heads fall in so many throws
    ranks = (
        quantile * count,
        math.ceil(bdtrik(MARGIN, count, quantile)),
        math.ceil(bdtrik(1 - MARGIN, count, quantile)) + 1,
    )
    value, low, high = (_at_rank(bounds, within, count, rank, largest) for rank in ranks)
    return Measured(value, min(low, value), max(high, value), halves)


def _at_rank(bounds: Sequence[float], within: Sequence[int], count: int, rank: float, largest: float) -> float:
    """The value of so many-th of all, along a straight line within its bucket."""
    passed, low = 0, 0.0
    for bound, cumulative in zip(bounds, within, strict=True):
        if cumulative >= rank and cumulative > passed:
            high = max(min(bound, largest), low)
            return low + (high - low) * max(rank - passed, 0) / (cumulative - passed)
        passed, low = cumulative, bound
    return max(largest, low if count > passed else 0.0)


def standing(measured: Measured, limit: float, noise: float) -> Standing:
    """`broken` only when the run leaves no doubt; a figure beyond its limit is never `kept`."""
    if not math.isfinite(measured.value):
        return "broken"
    near = abs(measured.value - limit) <= noise * limit
    if near and _restless(measured.halves, limit, noise):
        return "unsure"
    if measured.value <= limit:
        return "kept"
    return "unsure" if measured.low <= limit else "broken"


def _restless(halves: tuple[float | None, float | None], limit: float, noise: float) -> bool:
    """One half keeps the limit, the other breaks it, and they are further apart than noise."""
    first, second = halves
    if first is None or second is None:
        return False
    better, worse = sorted((first, second))
    return better <= limit < worse and worse - better > noise * worse
