"""The verdict, from what was measured: a pure function.

GO needs every figure known and every limit kept. Whatever is clearly broken, or missing, is NO-GO. UNSURE is left for a
run in which nothing is clearly broken, and one figure is so near its limit that the run cannot tell on which side.
"""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.gate.checks import absent
from loadtests.gate.evidence import Evidence
from loadtests.gate.limiting import limits_of
from loadtests.gate.of_evidence import seen_by_prometheus, sight_checks
from loadtests.gate.of_load import GENERATOR, run_checks, seen_by_people
from loadtests.gate.steadiness import forgiven, unsteady
from loadtests.gate.verdict import Check, Decision, Kind, Outcome, Verdict
from loadtests.result import LoadResult
from loadtests.scenario import Scenario
from monitoring.objectives import Objectives

ORDER: tuple[Kind, ...] = ("sight", "run", "promise", "saturation", "plan")
"""Kinds, the most telling first: without sight, or with a run that says nothing, the rest is worth little."""
OUTCOMES: tuple[Outcome, ...] = ("broken", "missing", "unsure")


def judge(
    objectives: Objectives,
    scenario: Scenario,
    load: LoadResult | None,
    evidence: Evidence,
    plan_warning: str | None = None,
) -> Verdict:
    """
    Args:
        load: None when no load was sent, because there was no sight.
        plan_warning: why the environment's plan is too old, from `infra.plan`.
    """
    checks = [*sight_checks(objectives, evidence), *_plan(plan_warning)]
    if load is None:
        checks.append(absent("load", "run", GENERATOR, "No load was sent."))
    else:
        checks += [*run_checks(objectives, scenario, load), *seen_by_people(objectives, load)]
        if not evidence.faults:
            checks += seen_by_prometheus(objectives, load, evidence)
        checks = list(forgiven(checks, unsteady(objectives, load)))
    reasons = sorted((check for check in checks if check.outcome in OUTCOMES), key=_tellingness)
    broken = any(reason.kind == "promise" and reason.outcome == "broken" for reason in reasons)
    limiting, proof = limits_of(objectives, load, evidence, broken)
    return Verdict(
        environment=evidence.environment,
        scenario=scenario.name,
        target_rate=scenario.rate,
        at=evidence.end,
        verdict=_decision(reasons),
        reasons=tuple(reasons),
        kept=tuple(check for check in checks if check.outcome not in OUTCOMES),
        limiting=limiting,
        proof=proof,
    )


def _decision(reasons: list[Check]) -> Decision:
    if any(reason.outcome != "unsure" for reason in reasons):
        return "NO-GO"
    return "UNSURE" if reasons else "GO"


def _tellingness(check: Check) -> tuple[int, int, float, str, str]:
    certainty = 1 if check.outcome == "unsure" else 0
    missing = check.outcome == "missing" and check.kind not in ("sight", "run")
    return (2 * certainty + missing, ORDER.index(check.kind), -check.excess, check.limit, check.tenant or "")


def _plan(warning: str | None) -> Iterator[Check]:
    if warning:
        yield Check(limit="age of the plan", kind="plan", component="plan", outcome="broken", sentence=f"{warning}.")
