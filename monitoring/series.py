"""How many series an environment makes Prometheus hold: counted from the table of metrics, not guessed.

    yiwang outputs local | python -m monitoring.series        an environment, as provisioned
    python -m monitoring.series 3200                          so many tenants, on cells like production's

Two bounds: `fewest` before anybody has asked anything, `most` once every route, outcome and pool has occurred. A real
Prometheus (`prometheus_tsdb_head_series`) lies between them, a little above while series of what ended fade.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import ValidationError

from infra.outputs import (
    CacheOutputs,
    CellOutputs,
    DatabaseOutputs,
    EnvironmentOutputs,
    GatewayOutputs,
    HostOutputs,
)
from infra.plan import TRACKED, CellPlan, read
from infra.services import CORE, NAMES, kind_of, named, services_of
from monitoring import rules
from monitoring.jobs import JOBS, Job
from monitoring.metric import Size
from monitoring.metrics import KEPT, SCRAPE
from monitoring.objectives import Objectives, load
from monitoring.rules.model import Group

TENANTS_A_CELL = 102
"""As the province of production on its one cell of `plans/prod.json`."""
METHODS = 2
"""Of routes in no module's router, the document and, where there are pages, the assets: GET and HEAD."""
GIVEN_A_CELL = 2
"""Limits from the outputs: storage, and live tenants."""


@dataclass(frozen=True)
class Cell:
    outputs: CellOutputs
    tenants: int
    """With a database here."""

    @property
    def is_core(self) -> bool:
        return self.outputs.cell == CORE

    def sizes(self, job: Job) -> dict[Size, int]:
        """How many values a label takes on one target of the job, by what it counts."""
        # a host of the core opens its own service's database alone
        pools = self.tenants or 1
        # `postgres` itself, and a line for what belongs to no database
        instance = self.tenants + len(self.outputs.database.databases) + 2
        return {
            # requests to no tenant's site count as well, by the name of nobody
            "tenant": self.tenants if job.name == "tenants" else 1 + (0 if self.is_core else self.tenants),
            "sender": self.tenants,
            "database": pools if job.name == "pgbouncer" else instance,
            "route": routes(job.name) if job.name in NAMES else 0,
            # a host stands behind each service that it runs
            "server": sum(len(self.outputs.services_on(host.role)) for host in self.outputs.hosts),
        }


@dataclass(frozen=True)
class Count:
    targets: int
    by_job: Mapping[str, int]
    recorded: int
    fewest: int

    @property
    def most(self) -> int:
        return sum(self.by_job.values()) + self.recorded


@cache
def routes(service: str) -> int:
    """Routes of the service's routers, those beside, and one for what matches none."""
    package = importlib.import_module(f"services.{service}")
    routers: dict[int, APIRouter] = {}
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "migrations" in module.name or module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, APIRouter):
                routers[id(value)] = value
    served = (route for router in routers.values() for route in router.routes if isinstance(route, APIRoute))
    beside = METHODS * (2 if named(service).pages else 1)
    return 1 + beside + sum(len(route.methods or ()) for route in served)


def of_outputs(outputs: EnvironmentOutputs) -> list[Cell]:
    return [
        Cell(cell, sum(any(database.cell == cell.cell for database in tenant.databases) for tenant in outputs.tenants))
        for cell in outputs.cells
    ]


def of_tenants(number: int) -> list[Cell]:
    """Cells as production plans them, as many as so many tenants take; the core's hosts grow with them."""
    plan = read(TRACKED / "prod.json")
    serving = math.ceil(number / TENANTS_A_CELL)
    cells = [Cell(_imagined(CORE, plan.cell(CORE), times=serving), 0)]
    for place in range(serving):
        share = number // serving + (place < number % serving)
        cells.append(Cell(_imagined(f"cell-{place}", plan.cell(plan.tenant_cells[0])), share))
    return cells


def _imagined(name: str, plan: CellPlan, times: int = 1) -> CellOutputs:
    """Outputs of a cell that nobody has provisioned: what is counted is true, the rest is blank."""
    hosts = [
        HostOutputs(name=f"{name}-{role}-{place}", role=role, zone="", address="", instance_type="", instance_id="")
        for role, planned in plan.hosts.items()
        for place in range(planned * (1 if role in ("monitoring", "gateway") else times))
    ]
    return CellOutputs(
        environment="",
        cell=name,
        hosts=hosts,
        database=DatabaseOutputs(
            host="",
            port=0,
            instance_class=plan.database.instance_class,
            max_connections=0,
            privileged_account="",
            databases={service.name: "" for service in services_of(kind_of(name)) if service.tables == "own"},
        ),
        cache=CacheOutputs(host="", port=0, accounts={}),
        gateway=GatewayOutputs(name="", address="", port=0, server_group_id=""),
        database_instance_id="",
    )


def count(cells: Iterable[Cell]) -> Count:
    cells = list(cells)
    objectives = load()
    written = recorded(cells, objectives)
    most, fewest = ({job.name: _of_job(job, cells, late) for job in JOBS} for late in (True, False))
    targets = sum(len(job.where(cell.outputs)) for job in JOBS for cell in cells)
    return Count(targets, most, written, sum(fewest.values()))


def _of_job(job: Job, cells: Iterable[Cell], late: bool) -> int:
    metrics = [metric for metric in KEPT[job.name] if late or not metric.late]
    return sum(
        len(job.where(cell.outputs)) * (len(SCRAPE) + sum(metric.series(cell.sizes(job)) for metric in metrics))
        for cell in cells
    )


def recorded(cells: Iterable[Cell], objectives: Objectives) -> int:
    """Series that rules write: each name once for everything of its level."""
    cells = list(cells)
    promised = {name: 2 + (service.freshness is not None) for name, service in objectives.services.items()}
    members = {
        "service": sum(promised[service.name] for cell in cells for service in cell.outputs.services),
        "host": sum(len(cell.outputs.hosts) for cell in cells),
        "tenant": sum(cell.tenants for cell in cells),
        "cell": len(cells),
    }
    names = {recording.record for group in _groups(objectives) for recording in group.recordings}
    return sum(members[name.split(":")[0]] for name in names) + sum(promised.values()) + GIVEN_A_CELL * len(cells)


def _groups(objectives: Objectives) -> list[Group]:
    modules = (rules.services, rules.tenants, rules.hosts, rules.databases)
    return [group for module in modules for group in module.groups(objectives)]


def table(counted: Count) -> str:
    lines = [f"{job:14}{series:>10,}" for job, series in counted.by_job.items()]
    lines.append(f"{'rules':14}{counted.recorded:>10,}")
    lines.append(f"{'most':14}{counted.most:>10,}   of {counted.targets:,} targets")
    lines.append(f"{'fewest':14}{counted.fewest:>10,}   before anybody asks")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    try:
        if arguments:
            cells = of_tenants(int(arguments[0]))
        else:
            cells = of_outputs(EnvironmentOutputs.model_validate_json(sys.stdin.read()))
    except ValidationError:
        print("stdin: no outputs of an environment; hand in what `yiwang outputs ENV` prints", file=sys.stderr)
        return 1
    except ValueError:
        print(f"{arguments[0]}: no number of tenants; for example: python -m monitoring.series 3200", file=sys.stderr)
        return 1
    print(table(count(cells)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
