"""The gate's verdict: what `verdict.json` holds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Decision = Literal["GO", "NO-GO", "UNSURE"]
Kind = Literal["sight", "run", "promise", "saturation", "plan"]
Outcome = Literal["kept", "broken", "missing", "unsure", "unused"]
Unit = Literal["share", "use", "seconds", "count"]


class VerdictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Check(VerdictModel):
    """One figure held against one limit."""

    limit: str = Field(description="which limit, for example `latency of affairs, as people saw it`")
    kind: Kind
    component: str
    tenant: str | None = None
    figure: float | None = None
    interval: tuple[float, float] | None = Field(None, description="holds the true figure with 95 %")
    limit_value: float | None = None
    unit: Unit = "share"
    outcome: Outcome = Field(description="`unused`: nothing happened that could be judged, and nothing had to")
    sentence: str

    @property
    def excess(self) -> float:
        """How many times the figure is its limit; what is missing has no end."""
        if self.figure is None or self.limit_value is None:
            return float("inf")
        return self.figure / self.limit_value if self.limit_value else float("inf")


class Verdict(VerdictModel):
    schema_version: Literal[1] = 1
    environment: str
    scenario: str
    target_rate: float | None
    at: float = Field(description="seconds since the epoch: the end of the hold")
    verdict: Decision
    reasons: tuple[Check, ...] = Field(description="limits that were not kept, the most telling first")
    kept: tuple[Check, ...]
    limiting: str | None = Field(description="the component at its limit, for example `cell-a application hosts`")
    proof: str = Field(description="how full that component and all others were")

    @property
    def tells(self) -> bool:
        """Whether the run says anything of the environment: not where it was not the run that was intended, or the
        generator was the limit."""
        return not any(check.kind == "run" and check.outcome == "broken" for check in self.reasons)


def shown(value: float | None, unit: Unit) -> str:
    """A figure as a person reads it."""
    if value is None:
        return "unknown"
    if unit == "share":
        return f"{value * 100:.3g} %"
    if unit == "use":
        return f"{value:.2f}"
    if unit == "seconds":
        return f"{value * 1000:.3g} ms" if abs(value) < 0.1 else f"{value:.2f} s"
    return f"{value:.4g}"
