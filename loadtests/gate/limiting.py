"""Which component is at its limit, and how far from theirs all the others are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadtests.gate.evidence import CPU_CURVE, Evidence
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


def limits_of(objectives: Objectives, load: LoadResult | None, evidence: Evidence) -> tuple[str | None, str]:
    """The fullest component that is at its limit, if one is, and how full all are, the fullest first."""
    everything = sorted(_fullness(objectives, load, evidence), key=lambda one: -one.share / one.limit)
    if not everything:
        return None, ""
    first = everything[0]
    others = ", ".join([one.sentence for one in everything[1:]] + _beside(evidence))
    if not first.at_limit:
        return None, f"nothing is at its limit: {first.sentence}, {others}" if others else first.sentence
    also = [one.component for one in everything[1:] if one.at_limit]
    beside = f" (at their limit, too: {', '.join(also)})" if also else ""
    return first.component, f"{first.sentence}{beside}; {others}"


def _fullness(objectives: Objectives, load: LoadResult | None, evidence: Evidence) -> Iterator[Fullness]:
    limits = objectives.saturation
    for query, limit, what in (
        (CPU_CURVE, limits.host_cpu, "CPU {share} of their limit"),
        ("connections of the database", limits.database_connections, "{share} of its connections"),
        ("memory of the cache", limits.cache_memory, "{share} of its memory"),
    ):
        for one in evidence.figures:
            if one.query == query and one.value is not None:
                told = what.replace("{share}", shown(one.value, "use"))
                yield Fullness(one.component, one.value, limit, f"{one.component}: {told}")
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
        f"{one.component}: {told[one.query].format(shown(one.value, units[one.query]))}"  # type: ignore[arg-type]
        for one in evidence.figures
        if one.query in told and one.value is not None
    ]
