"""Figures that nobody scrapes, because they are decided: objectives, and limits from the stacks' outputs."""

from __future__ import annotations

from collections.abc import Iterator

from infra.outputs import CellOutputs, EnvironmentOutputs
from monitoring.objectives import Objectives
from monitoring.rules.model import Group, Recording


def groups(objectives: Objectives, outputs: EnvironmentOutputs) -> list[Group]:
    return [Group("given", [*_budgets(objectives), *(rule for cell in outputs.cells for rule in _cell(cell, outputs))])]


def _budgets(objectives: Objectives) -> Iterator[Recording]:
    for name, service in objectives.services.items():
        kinds = {"availability": service.availability, "latency": service.latency, "freshness": service.freshness}
        for kind, objective in kinds.items():
            if objective is not None:
                share = f"vector({1 - objective.target:.6g})"
                yield Recording("service:budget:share", share, {"service": name, "objective": kind})


def _cell(cell: CellOutputs, outputs: EnvironmentOutputs) -> Iterator[Recording]:
    labels = {"cell": cell.cell}
    if cell.database.storage_gib is not None:
        yield Recording("cell:database_storage_limit:bytes", f"vector({cell.database.storage_gib * 1024**3})", labels)
    live = sum(1 for tenant in outputs.tenants if tenant.cell == cell.cell and tenant.status == "live")
    if live:
        yield Recording("cell:tenants_live:count", f"vector({live})", labels)
