"""A metric that is kept: its labels, and how many series it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Size = Literal["tenant", "sender", "database", "route", "server"]
UNBOUNDED = ("tenant", "sender", "database", "route")
"""What grows without anybody deciding it; servers behind a gateway are its own cell's hosts, which the plan bounds."""


@dataclass(frozen=True)
class Metric:
    """`labels`: label → how many values it takes on one target, or what it counts."""

    name: str
    labels: Mapping[str, int | Size] | None = None
    histogram: int = 0
    """Number of buckets, the infinite one included; 0: no histogram."""
    late: bool = False
    """Appears with the first event or reading; never a counter, which would hide what happened first."""

    @property
    def unbounded(self) -> list[str]:
        return [label for label, values in (self.labels or {}).items() if values in UNBOUNDED]

    @property
    def names(self) -> list[str]:
        if not self.histogram:
            return [self.name]
        return [f"{self.name}_{part}" for part in ("bucket", "sum", "count")]

    def series(self, sizes: Mapping[Size, int]) -> int:
        """On one target."""
        series = self.histogram + 2 if self.histogram else 1
        for values in (self.labels or {}).values():
            series *= values if isinstance(values, int) else sizes[values]
        return series


def gauges(labels: Mapping[str, int | Size] | None, *names: str, late: bool = False) -> tuple[Metric, ...]:
    return tuple(Metric(name, labels, late=late) for name in names)
