"""How a check is written down: a figure held against its limit, or what is not known at all."""

from __future__ import annotations

from loadtests.gate.standing import Measured, standing
from loadtests.gate.verdict import Check, Kind, Unit, shown


def held(
    limit: str,
    kind: Kind,
    component: str,
    measured: Measured,
    value: float,
    noise: float,
    says: str,
    unit: Unit = "share",
    tenant: str | None = None,
) -> Check:
    """A figure that is known, against its limit. `says` takes `{figure}` and `{limit}`."""
    outcome = standing(measured, value, noise)
    figure = shown(measured.value, unit)
    certain = measured.low == measured.high
    said = says.replace("{figure}", figure).replace("{limit}", shown(value, unit))
    if outcome == "unsure":
        between = "" if certain else f", between {shown(measured.low, unit)} and {shown(measured.high, unit)}"
        said += f" The run cannot tell: {figure}{between}{_halves(measured, unit)}."
    return Check(
        limit=limit,
        kind=kind,
        component=component,
        tenant=tenant,
        figure=measured.value,
        interval=None if certain else (measured.low, measured.high),
        limit_value=value,
        unit=unit,
        outcome=outcome,
        sentence=said,
    )


def _halves(measured: Measured, unit: Unit) -> str:
    first, second = measured.halves
    if first is None or second is None:
        return ""
    return f"; {shown(first, unit)} in the first half of the hold, {shown(second, unit)} in the second"


def absent(limit: str, kind: Kind, component: str, sentence: str, tenant: str | None = None) -> Check:
    return Check(limit=limit, kind=kind, component=component, tenant=tenant, outcome="missing", sentence=sentence)
