"""Checks of what Prometheus saw: whether it saw everything, and every figure of the table."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.gate.checks import absent, held
from loadtests.gate.evidence import STALE_SCRAPES, Evidence, Figure, TargetSight
from loadtests.gate.queries import Query, table
from loadtests.gate.standing import exactly, share
from loadtests.gate.verdict import Check, Kind, shown
from loadtests.result import LoadResult
from monitoring.objectives import Objectives

NOT_EVERYWHERE = frozenset({"storage of the database"})
"""Stacks that were last brought up before they told have no storage to hold the database against."""


def sight_checks(objectives: Objectives, evidence: Evidence) -> Iterator[Check]:
    for fault in evidence.faults:
        yield absent("sight", "sight", "prometheus", f"{fault}. A launch without sight is no launch.")
    if evidence.faults:
        return
    if not evidence.targets:
        yield absent("sight", "sight", "prometheus", "Prometheus has no target of this environment.")
    for target in evidence.targets:
        yield _target(objectives.gate.scrapes, target)


def _target(wanted: float, target: TargetSight) -> Check:
    lost = 1 - target.succeeded if target.succeeded is not None else 0.0
    patience = STALE_SCRAPES * target.interval
    said = None
    if target.up_at_start is None:
        said = "was no target when the hold began"
    elif target.up_at_start is False:
        said = "was down when the hold began"
    elif target.up_at_end is None:
        said = "vanished in the middle of the hold"
    elif target.up_at_end is False:
        said = "went down in the middle of the hold"
    elif target.gap is not None and target.gap > patience:
        said = f"was not scraped for {target.gap:.0f} s of the hold: Prometheus itself was out"
    elif lost > 1 - wanted and round(lost * target.scrapes) > 0:
        said = f"missed {shown(lost, 'share')} of its scrapes in the hold; {shown(1 - wanted, 'share')} may be missed"
    return Check(
        limit="every target in sight",
        kind="sight",
        component=f"{target.host} {target.job}",
        figure=lost,
        limit_value=round(1 - wanted, 9),
        outcome="missing" if said else "kept",
        sentence=f"The target {target.job} of {target.host} {said or 'was in sight'}.",
    )


def seen_by_prometheus(objectives: Objectives, load: LoadResult, evidence: Evidence) -> Iterator[Check]:
    queries = {query.name: query for query in table(objectives)}
    figures = {(figure.query, figure.component, figure.tenant): figure for figure in evidence.figures}
    asked = {operation.service for operation in load.operations if operation.requests}
    counted: dict[str, set[str | None]] = {name: set() for name in queries}
    for figure in evidence.figures:
        if figure.count and figure.query in queries:
            counted[figure.query].add(queries[figure.query].service)
    if not evidence.expected:
        yield absent("metrics", "sight", "prometheus", "Nothing was expected of Prometheus, so nothing is known.")
    if forgotten := set(queries) - {key.query for key in evidence.expected} - NOT_EVERYWHERE:
        said = f"Nothing was asked about {', '.join(sorted(forgotten))}."
        yield absent("metrics", "sight", "prometheus", said)
    for key in evidence.expected:
        expected_figure = figures.get((key.query, key.component, key.tenant))
        unseen = asked - counted[key.query]
        yield _figure(queries[key.query], key.component, key.tenant, expected_figure, unseen, objectives.gate.noise)


def _figure(query: Query, component: str, tenant: str, figure: Figure | None, unseen: set[str], noise: float) -> Check:
    """`unseen`: services that people asked and that nobody counted in any cell."""
    kind: Kind = "promise" if query.unit == "share" or tenant else "saturation"
    answered = figure is not None and (figure.value is not None or figure.count is not None)
    if figure is None or not answered:
        said = f"{query.name}: Prometheus has no figure for {tenant or component}."
        return absent(query.name, kind, component, said, tenant or None)
    if figure.value is None:
        if query.service in unseen:
            said = f"{query.name}: people asked {query.service}, and {component} has counted none of it."
            return absent(query.name, kind, component, said, tenant or None)
        said = f"{query.name}: nothing happened at {tenant or component} in the hold."
        return Check(
            limit=query.name, kind=kind, component=component, tenant=tenant or None, outcome="unused", sentence=said
        )
    if query.limit is None:
        said = query.says.format(component=component, tenant=tenant, figure=shown(figure.value, query.unit))
        return Check(
            limit=query.name,
            kind=kind,
            component=component,
            figure=figure.value,
            unit=query.unit,
            outcome="kept",
            sentence=said,
        )
    measured = (
        share(figure.value * figure.count, figure.count, figure.halves)
        if figure.count is not None
        else exactly(figure.value, figure.halves)
    )
    says = query.says.replace("{component}", component).replace("{tenant}", tenant)
    return held(query.name, kind, component, measured, query.limit, noise, says, query.unit, tenant or None)
