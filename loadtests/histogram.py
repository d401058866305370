"""A histogram of seconds whose bounds never change, so that those of many processes add up to that of all."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import accumulate

from loadtests.result import Latencies

# Two significant digits, forty bounds a decade from a millisecond to a hundred seconds: a quantile is off by less
# than a tenth of itself. A test holds the objectives to be bounds, so that shares within them are exact.
_DECADE = (*range(10, 30), *range(30, 50, 2), *range(50, 100, 5))
BOUNDS: tuple[float, ...] = (*(round(step * 10.0**power, 9) for power in range(-4, 1) for step in _DECADE), 100.0)


@dataclass
class Histogram:
    """`counts`: index of the first bound that is not below the value → how many; beyond the last bound, its length."""

    counts: dict[int, int] = field(default_factory=dict)
    largest: float = 0.0

    def add(self, seconds: float) -> None:
        place = bisect_left(BOUNDS, seconds)
        self.counts[place] = self.counts.get(place, 0) + 1
        self.largest = max(self.largest, seconds)

    def merge(self, other: Histogram) -> None:
        for place, count in other.counts.items():
            self.counts[place] = self.counts.get(place, 0) + count
        self.largest = max(self.largest, other.largest)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def within(self) -> tuple[int, ...]:
        """How many are within each bound."""
        return tuple(accumulate(self.counts.get(place, 0) for place in range(len(BOUNDS))))

    def quantile(self, share: float) -> float:
        """The value below which `share` of all lie: within its bucket by a straight line, 0 when there are none."""
        rank, passed = share * self.total, 0
        for place in sorted(self.counts):
            count = self.counts[place]
            if passed + count >= rank and count:
                if place >= len(BOUNDS):
                    return self.largest
                low = BOUNDS[place - 1] if place else 0.0
                high = min(BOUNDS[place], self.largest)
                return low + (max(high, low) - low) * (rank - passed) / count
            passed += count
        return self.largest

    def latencies(self) -> Latencies:
        return Latencies(
            bounds=BOUNDS,
            within=self.within(),
            p50=self.quantile(0.5),
            p95=self.quantile(0.95),
            p99=self.quantile(0.99),
            largest=self.largest,
        )
