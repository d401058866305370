"""Planning an environment's capacity: measure its cells, or take what was measured, and make the plan of it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from infra import plan as plans
from infra.engine import Engine
from infra.outputs import EnvironmentOutputs
from infra.plan import MEASURED_FOR, Plan
from infra.stacks import cells_in_use
from loadtests.arrivals import weights
from loadtests.gate.evidence import CPU_TOGETHER, collect
from loadtests.gate.judge import judge
from loadtests.model.measure import APPLICATION, Look, Measurement, component, known, measure
from loadtests.model.planning import Demand, PlanningError, Proposal, propose
from loadtests.model.steps import Pace, Seen
from loadtests.rehearsal import KitTenant
from loadtests.result import LoadResult
from loadtests.run import check_workers, run
from loadtests.scenario import Scenario
from monitoring import objectives as objective_files
from monitoring.objectives import Objectives
from monitoring.prometheus import Prometheus
from tools import rehearsal_people
from tools.gate import SETTLING_SECONDS
from tools.locks import holding
from tools.ports import judging
from tools.scopes import registry_of
from tools.stages import StageError, with_way_out

FRESH = timedelta(days=1)
"""How old a measurement may be that is planned from without measuring again."""
FIRST_SHARE = 0.4
"""A stepped load begins at this share of what the cell is believed to carry."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Planned:
    """What was proposed; `path` is where it was written, None when it was not."""

    proposal: Proposal
    path: Path | None


def make_plan(
    engine: Engine,
    scenario: Scenario,
    *,
    rate: float | None = None,
    cell: str | None = None,
    measuring: bool = True,
    write: Path | None = None,
    allow_fewer: bool = False,
    workers: int = 0,
    agreed: Callable[[Proposal], bool] = lambda proposal: True,
    look: Look | None = None,
    hold_seconds: float | None = None,
    say: Say = print,
) -> Planned:
    """Plans the application hosts that the scenario's rate needs, from a measurement made now or (`measuring=False`)
    within the last day, and writes the environment's plan, or to `write`, once it is `agreed`.

    Raises:
        StageError: nothing could be measured, or no plan follows from it; nothing was written.
        PlanError: today's plan does not hold.
    """
    if write is not None:
        _check_place(write)
    outputs = engine.merged_outputs()
    registry = registry_of(engine.folder)
    plans.consistent(engine.environment, registry, cells_in_use(engine.environment))  # refused before minutes of load
    with _explained():
        check_workers(workers)
        objectives = objective_files.load()
        wanted = scenario.changed(rate=rate)
        demands = demands_of(wanted, outputs, cell)
        if measuring:
            for demand in demands:
                measure_cell(
                    engine, wanted, demand.cell, look=look, workers=workers, hold_seconds=hold_seconds, say=say
                )
        now = datetime.now(UTC)
        today = plans.consistent(engine.environment, registry, cells_in_use(engine.environment))
        evidence = {demand.cell: _evidence(engine, demand.cell, now) for demand in demands}
        proposal = propose(today, demands, evidence, objectives.capacity, registry, now, allow_fewer=allow_fewer)
    target = write or engine.folder.plan
    if proposal.changes_nothing and (write is None or write.exists()):
        return Planned(proposal, None)
    _refuse_unsupported(proposal.plan, engine, now)
    if not agreed(proposal):
        return Planned(proposal, None)
    with holding(engine.folder, "plan"):
        if plans.consistent(engine.environment, registry, cells_in_use(engine.environment)) != today:
            raise StageError("today's plan was changed meanwhile; nothing was written", "plan again: --no-measure")
        write_plan(proposal.plan, target, engine.folder.root)
    return Planned(proposal, target)


def measure_cell(
    engine: Engine,
    scenario: Scenario,
    cell: str,
    *,
    look: Look | None = None,
    hold_seconds: float | None = None,
    workers: int = 0,
    say: Say = print,
) -> Measurement:
    """Steps the scenario's load up on one cell until an objective breaks; the evidence stays in the environment's
    folder.

    Raises:
        StageError: nothing could be measured.
    """
    outputs = engine.merged_outputs()
    with _explained():
        objectives = objective_files.load()
        (demand,) = demands_of(scenario, outputs, cell)
        chosen = look or looking_at(outputs, cell, objectives, engine.folder.cloud.exists())
        earlier = [
            measurement.capacity.rate
            for measurement in _evidence(engine, cell, datetime.now(UTC))
            if measurement.capacity
        ]
        first = FIRST_SHARE * (earlier[0] if earlier else demand.rate)
        pace = Pace(first) if hold_seconds is None else Pace(first, hold_seconds=hold_seconds)

        def offer(step: Scenario, folder: Path) -> LoadResult:
            return run(step, engine.environment, folder, workers=workers, say=lambda line: None)

        with judging(engine, say), rehearsal_people.people(engine, scenario, say):
            say(f"{cell}: stepping {scenario.name} up from {first:.1f}/s until an objective breaks")
            return measure(cell, outputs, scenario, engine.folder.root, pace, offer, chosen, say)


def demands_of(scenario: Scenario, outputs: EnvironmentOutputs, cell: str | None = None) -> list[Demand]:
    """Each cell's part of the scenario's rate, by its tenants' share of the arrivals.

    Raises:
        StageError: the scenario has no rate, or nobody of it comes to the cell.
    """
    if scenario.rate is None:
        raise StageError(
            f"scenario {scenario.name} has users who come one after another, so no target rate",
            "plan for one with an open arrival, for example --scenario launch",
        )
    if scenario.cell is not None and cell not in (None, scenario.cell):
        raise StageError(f"scenario {scenario.name} is of {scenario.cell} alone, not of {cell}", "leave --cell away")
    wanted = cell or scenario.cell
    tenants = [tenant for tenant in outputs.tenants if tenant.status == "live" and scenario.cell in (None, tenant.cell)]
    shares: dict[str, float] = {}
    # level and residents are what the shares are made of; descriptors of tenants and of the kit both have them
    for tenant, share in zip(tenants, weights(cast("Sequence[KitTenant]", tenants)), strict=True):
        shares[tenant.cell] = shares.get(tenant.cell, 0.0) + share
    demands = [
        Demand(name, scenario.rate * share, scenario.name)
        for name, share in sorted(shares.items())
        if wanted in (None, name)
    ]
    if not demands:
        having = ", ".join(sorted({tenant.cell for tenant in outputs.tenants})) or "none"
        raise StageError(f"no tenant of {outputs.environment} is on cell {wanted}", f"cells with tenants: {having}")
    return demands


def looking_at(outputs: EnvironmentOutputs, cell: str, objectives: Objectives, one_machine: bool) -> Look:
    """The gate's own judgement of a step, by the environment's Prometheus. `one_machine`: its hosts are on this one.

    Raises:
        StageError: the environment has none.
    """
    if outputs.prometheus is None:
        raise StageError(
            f"{outputs.environment} has no monitoring host: nothing could show what is at its limit",
            "add monitoring to the plan of cell-core, then make up",
        )
    url, hosts = outputs.prometheus, component(cell, APPLICATION)

    def look(step: Scenario, load: LoadResult) -> Seen:
        time.sleep(max(load.hold_ended_at + SETTLING_SECONDS - time.time(), 0))
        with Prometheus(url) as prometheus:
            evidence = collect(prometheus, outputs, objectives, load)
        used = evidence.find(CPU_TOGETHER, hosts)
        full = used.value / objectives.saturation.host_cpu if used is not None and used.value is not None else None
        return Seen(judge(objectives, step, load, evidence), full, one_machine)

    return look


def _check_place(path: Path) -> None:
    """Refused before minutes of load."""
    if path.is_dir():
        raise StageError(f"{path} is a folder", "name a file; nothing was measured")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StageError(
            f"no plan can be written to {path}: {error.strerror}", "name another place; nothing was measured"
        ) from None


def write_plan(plan: Plan, path: Path, evidence_at: Path) -> None:
    """Writes the plan, whole or not at all, its evidence beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for capacity in plan.capacities.values():
        source, beside = evidence_at / capacity.evidence, path.parent / capacity.evidence
        if source.resolve() != beside.resolve() and source.exists():
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, beside)
    fresh = path.with_suffix(".new")
    document = plan.model_dump(mode="json", exclude_none=True)
    fresh.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", "utf-8")
    fresh.replace(path)


def _evidence(engine: Engine, cell: str, now: datetime) -> list[Measurement]:
    """Newest first; none when the newest is too old to plan from."""
    measurements = known(engine.folder.root, cell, now - MEASURED_FOR)
    return measurements if measurements and measurements[0].measured_at >= now - FRESH else []


def _refuse_unsupported(plan: Plan, engine: Engine, now: datetime) -> None:
    faults = plans.unsupported(plan, engine.folder.root, now)
    if faults:
        raise StageError("the plan would not hold: " + "; ".join(faults), "plan every cell: leave --cell away")


@contextmanager
def _explained() -> Iterator[None]:
    """What the model refuses, as this project's commands say it."""
    try:
        with with_way_out("no plan was made, today's stays"):
            yield
    except PlanningError as error:
        raise StageError(error.cause, f"{error.way_out}; nothing was written") from None
