"""Which component is at its limit, and how far from theirs all the others are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadtests.gate.evidence import CPU_CURVE, FULLEST_CPU, Evidence
from loadtests.gate.queries import FULLEST_SECONDS
from loadtests.gate.verdict import shown
from loadtests.result import LoadResult
from monitoring.objectives import Objectives


@dataclass(frozen=True)
class Fullness:
    """`share` of what the component has, of which `limit` may be in use."""

    component: str
    share: float
    limit: float
    sentence: str

    @property
    def at_limit(self) -> bool:
        return self.share >= self.limit


def limits_of(
    objectives: Objectives, load: LoadResult | None, evidence: Evidence, broken: bool = False
) -> tuple[str | None, str]:
    """The fullest component that is at its limit, if one is, and how full all are, the fullest first.

    Where a promise is `broken` and nothing is at its limit on average, it is the hosts that were for a while.
    """
    everything = sorted(_fullness(objectives, load, evidence), key=lambda fullness: -fullness.share / fullness.limit)
    if not everything:
        return None, ""
    full = [fullness for fullness in everything if fullness.at_limit]
    if not full and broken:
        full = list(_for_a_while(objectives, evidence))
    told = ", ".join([fullness.sentence for fullness in everything if fullness not in full[:1]] + _beside(evidence))
    if not full:
        return None, f"nothing is at its limit: {told}"
    first, *also = full
    beside = f" (at their limit, too: {', '.join(fullness.component for fullness in also)})" if also else ""
    return first.component, f"{first.sentence}{beside}; {told}"


def _for_a_while(objectives: Objectives, evidence: Evidence) -> Iterator[Fullness]:
    """Hosts that were at their limit in their fullest seconds, those first that were the fullest on average."""
    limit = objectives.saturation.host_cpu
    average = {figure.component: figure.value or 0.0 for figure in evidence.figures if figure.query == CPU_CURVE}
    fullest = [figure for figure in evidence.figures if figure.query == FULLEST_CPU and (figure.value or 0.0) >= limit]
    for figure in sorted(fullest, key=lambda figure: -average.get(figure.component, 0.0)):
        share = figure.value or 0.0
        said = f"CPU {shown(share, 'use')} of their limit in their fullest {FULLEST_SECONDS} s"
        yield Fullness(figure.component, share, limit, f"{figure.component}: {said}")


def _fullness(objectives: Objectives, load: LoadResult | None, evidence: Evidence) -> Iterator[Fullness]:
    limits = objectives.saturation
    for query, limit, what in (
        (CPU_CURVE, limits.host_cpu, "CPU {share} of their limit"),
        ("connections of the database", limits.database_connections, "{share} of its connections"),
        ("memory of the cache", limits.cache_memory, "{share} of its memory"),
    ):
        for figure in evidence.figures:
            if figure.query == query and figure.value is not None:
                told = what.replace("{share}", shown(figure.value, "use"))
                yield Fullness(figure.component, figure.value, limit, f"{figure.component}: {told}")
    if load is not None:
        share = load.generator.cpu_share
        said = f"generator: {shown(share, 'use')} of a core"
        # a generator that came late for another reason is the limit as well
        limited = max(share, objectives.gate.generator_cpu_share) if load.generator.limited else share
        yield Fullness("generator", limited, objectives.gate.generator_cpu_share, said)


def _beside(evidence: Evidence) -> list[str]:
    """What has no limit of its own and shows whether a database or a gateway keeps others waiting."""
    told = {
        "mean statement": "mean statement {}",
        "queue at the gateway": "queue {}",
        "waiting for a connection": "wait {}",
    }
    units = {"mean statement": "seconds", "queue at the gateway": "count", "waiting for a connection": "seconds"}
    return [
        f"{figure.component}: {told[figure.query].format(shown(figure.value, units[figure.query]))}"  # type: ignore[arg-type]
        for figure in evidence.figures
        if figure.query in told and figure.value is not None
    ]
