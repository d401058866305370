"""The launch gate on a living environment: sight, people, load, evidence, verdict, reports; then what was made goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from infra import plan as plans
from infra.engine import Engine
from infra.outputs import EnvironmentOutputs
from loadtests import run as load_run
from loadtests.gate import report
from loadtests.gate.evidence import Evidence, blindness, collect
from loadtests.gate.judge import judge
from loadtests.gate.verdict import Verdict
from loadtests.result import LoadResult
from loadtests.scenario import Scenario
from monitoring import objectives as objectives_file
from monitoring.objectives import Objectives
from monitoring.prometheus import Prometheus
from tools import rehearsal_people
from tools.environment import load_choice
from tools.ports import judging
from tools.scopes import registry_of

SETTLING_SECONDS = 2.0
"""A scrape that began before the hold ended is stored by then."""
PUBLISHING_SECONDS = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Judged:
    """`unpublished`: why the verdict is no metric; empty when it is one."""

    verdict: Verdict
    load: LoadResult | None
    evidence: Evidence
    page: Path
    unpublished: str


def run_gate(
    engine: Engine,
    scenario: Scenario,
    *,
    workers: int = 0,
    folder: Path | None = None,
    objectives: Objectives | None = None,
    say: Say = print,
) -> Judged:
    """Judges whether the environment is fit for the scenario. People that were prepared before stay; others go again.

    Raises:
        StageError, EngineError, PlanError, RehearsalError, LoadError: it cannot be judged at all.
    """
    limits = objectives or objectives_file.load()
    load_run.check_workers(workers)
    outputs = outputs_of(engine)
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    place = folder or engine.folder.root / "gate" / f"{stamp}-{scenario.name}"
    with judging(engine, say):
        place.mkdir(parents=True, exist_ok=True)  # refused before minutes of load
        warning = _plan_warning(engine)
        if outputs.prometheus is None:
            load, evidence = None, _blind(outputs, ["the environment has no monitoring host"])
        else:
            with Prometheus(outputs.prometheus) as prometheus:
                load, evidence = _watched_run(engine, outputs, scenario, limits, prometheus, workers, place, say)
    verdict = judge(limits, scenario, load, evidence, warning)
    page = report.write(place, verdict, limits, load, evidence)
    return Judged(verdict, load, evidence, page, publish(outputs.receiver, verdict))


def outputs_of(engine: Engine) -> EnvironmentOutputs:
    """
    Raises:
        StageError: there is no such environment.
    """
    if engine.folder.made_here:
        load_choice(engine.folder)
    return engine.merged_outputs()


def _plan_warning(engine: Engine) -> str | None:
    _, warnings = plans.load(engine.environment, registry_of(engine.folder))
    return "; ".join(warnings) or None


def _watched_run(
    engine: Engine,
    outputs: EnvironmentOutputs,
    scenario: Scenario,
    objectives: Objectives,
    prometheus: Prometheus,
    workers: int,
    folder: Path,
    say: Say,
) -> tuple[LoadResult | None, Evidence]:
    if faults := blindness(prometheus):
        return None, _blind(outputs, faults)
    with rehearsal_people.people(engine, scenario, say):
        load = load_run.run(scenario, engine.environment, folder, workers=workers, say=say)
        time.sleep(max(load.hold_ended_at + SETTLING_SECONDS - time.time(), 0))
        say("asking Prometheus about the hold")
        return load, collect(prometheus, outputs, objectives, load)


def _blind(outputs: EnvironmentOutputs, faults: list[str]) -> Evidence:
    now = time.time()
    url = outputs.prometheus or ""
    return Evidence(environment=outputs.environment, prometheus=url, start=now, end=now, faults=tuple(faults))


def publish(receiver: str | None, verdict: Verdict) -> str:
    """Hands the verdict to the receiver, which shows it as a metric; gives why it could not."""
    if receiver is None:
        return "the environment has no receiver"
    document = {
        "scenario": verdict.scenario,
        "verdict": verdict.verdict,
        "at": verdict.at,
        "reasons": [reason.sentence for reason in verdict.reasons[: report.MOST_REASONS]],
    }
    try:
        with httpx.Client(timeout=PUBLISHING_SECONDS, trust_env=False) as client:
            client.post(f"{receiver}/verdicts", json=document).raise_for_status()
    except httpx.HTTPError as error:
        return f"{receiver}: {error!r}"
    return ""
