"""The capacity plan: how much each cell has of everything, and which cell serves a tenant.

An environment's own `plan.json` wins over the tracked `plans/<environment>.json`; test environments start from
`plans/local.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from infra.database_classes import DATABASE_CLASSES
from infra.folder import EnvironmentFolder
from infra.registry import Registry

TRACKED = Path(__file__).parent.parent / "plans"
CORE = "cell-core"
ROLES = {
    "core": frozenset({"gateway", "identity", "query", "monitoring"}),
    "tenants": frozenset({"gateway", "application"}),
}
MIGRATION_AND_OPERATOR_CONNECTIONS = 20
MEASURED_FOR = timedelta(days=90)
"""How long a measured plan counts as today's; one made by hand does not age."""

CellName = Annotated[str, Field(pattern=r"^cell-[a-z][a-z0-9]{0,15}$")]
TenantCode = Annotated[str, Field(pattern=r"^[1-9][0-9]{5}$")]


class PlanError(Exception):
    """The plan does not hold together; the message names the file, each fault and the way out."""


class PlanModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabasePlan(PlanModel):
    instance_class: str
    storage_gib: int = Field(ge=20, le=64000, multiple_of=5)

    @field_validator("instance_class")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DATABASE_CLASSES:
            raise ValueError(f"{name!r} is no database class of infra/database_classes.py")
        return name


class CachePlan(PlanModel):
    instance_class: str = Field(pattern=r"^(redis|tair)\.[a-z0-9.]+$")


class CellPlan(PlanModel):
    hosts: dict[str, Annotated[int, Field(ge=1, le=100)]] = Field(description="role → number of hosts")
    database: DatabasePlan
    cache: CachePlan


class Placement(PlanModel):
    serving: CellName
    preparing: CellName | None = Field(None, description="during a move: the cell whose database is being filled")

    @model_validator(mode="after")
    def _differ(self) -> Placement:
        if self.preparing == self.serving:
            raise ValueError(f"{self.serving} is both serving and preparing")
        return self

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.serving, self.preparing) if self.preparing else (self.serving,)


class Plan(PlanModel):
    schema_version: Literal[1] = 1
    made_by: str = Field(pattern=r"^(hand|model .+)$", description="`hand`, or `model` and the run it came from")
    made_at: datetime
    cells: dict[CellName, CellPlan]
    placements: dict[TenantCode, Placement] = Field(description="tenant → cells; others take their city's")

    def cell(self, name: str) -> CellPlan:
        """
        Raises:
            PlanError: the plan does not name the cell.
        """
        if name not in self.cells:
            raise PlanError(f"the plan names no {name}; it has {', '.join(sorted(self.cells))}")
        return self.cells[name]

    def placement(self, code: str, registry: Registry) -> Placement:
        """The tenant's own placement, else its city's, else its province's.

        Raises:
            PlanError: none of them has one.
        """
        for division in reversed(registry.lineage(code)):
            if division.code in self.placements:
                return self.placements[division.code]
        raise PlanError(f"the plan places neither {code} nor its city nor its province")

    def ages(self, now: datetime) -> str | None:
        """A warning when the measurements behind the plan are old."""
        age = now - self.made_at
        if self.made_by == "hand" or age <= MEASURED_FOR:
            return None
        return f"the plan was measured {age.days} days ago ({self.made_by}); measure again: make gate, make plan"

    @cached_property
    def tenant_cells(self) -> list[str]:
        return [name for name in self.cells if name != CORE]


def path_of(environment: str) -> Path:
    own = EnvironmentFolder(environment).plan
    if own.exists():
        return own
    tracked = TRACKED / f"{environment}.json"
    return TRACKED / "local.json" if not tracked.exists() and environment.startswith("test-") else tracked


def read(path: Path) -> Plan:
    """
    Raises:
        PlanError: there is no plan there, or it is malformed.
    """
    try:
        return Plan.model_validate(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise PlanError(f"{path}: the environment has no plan; copy plans/local.json there") from None
    except json.JSONDecodeError as error:
        raise PlanError(f"{path}:{error.lineno}: is not JSON: {error.msg}") from None
    except ValidationError as error:
        raise PlanError(_refusal(path, [_fault(detail["loc"], detail["msg"]) for detail in error.errors()])) from None


def load(environment: str, registry: Registry, cells_in_use: Collection[str] = ()) -> tuple[Plan, list[str]]:
    """The environment's plan and warnings about it.

    Raises:
        PlanError: there is no plan, or it is malformed or inconsistent with the registry or the cells in use.
    """
    path = path_of(environment)
    plan = read(path)
    faults = inconsistencies(plan, registry, cells_in_use)
    if faults:
        raise PlanError(_refusal(path, faults))
    warning = plan.ages(datetime.now(UTC))
    return plan, [f"{path}: {warning}"] if warning else []


def inconsistencies(plan: Plan, registry: Registry, cells_in_use: Collection[str] = ()) -> list[str]:
    """Every fault, each a sentence that names the thing."""
    faults = []
    if CORE not in plan.cells:
        faults.append(f"cells: {CORE} is missing; identity, query and monitoring run there")
    for name in sorted(set(cells_in_use) - set(plan.cells)):
        faults.append(f"cells: {name} is in use and the plan forgets it; empty it and destroy its stack first")
    for name, cell in plan.cells.items():
        faults += _roles(name, cell)
    for code, placement in plan.placements.items():
        if code not in registry.divisions:
            faults.append(f"placements.{code}: no such tenant in the registry")
        for cell_name in placement.cells:
            if cell_name == CORE or cell_name not in plan.cells:
                tenants_cells = ", ".join(plan.tenant_cells) or "none"
                faults.append(f"placements.{code}: {cell_name} is no tenants' cell of this plan ({tenants_cells})")
    return faults or _unplaced(plan, registry) or _overcommitted(plan, registry)


def _roles(name: str, cell: CellPlan) -> list[str]:
    expected = ROLES["core" if name == CORE else "tenants"]
    missing, unknown = expected - set(cell.hosts), set(cell.hosts) - expected
    faults = [f'cells.{name}.hosts: {role} is missing; add "{role}": 1' for role in sorted(missing)]
    return faults + [f"cells.{name}.hosts: {role} is no role of this cell" for role in sorted(unknown)]


def _unplaced(plan: Plan, registry: Registry) -> list[str]:
    faults = []
    for division in registry.divisions.values():
        if division.provisioned and not any(above.code in plan.placements for above in registry.lineage(division.code)):
            faults.append(f"placements: neither {division.code} {division.name} nor one above it has a cell")
    return faults


def _overcommitted(plan: Plan, registry: Registry) -> list[str]:
    """Each application host may open each tenant's whole pool: their sum must fit the instance."""
    faults = []
    for name in plan.tenant_cells:
        cell = plan.cells[name]
        pools = sum(
            registry.settings_of(division.code).database_connections
            for division in registry.divisions.values()
            if division.provisioned and name in plan.placement(division.code, registry).cells
        )
        needed = pools * cell.hosts["application"] + MIGRATION_AND_OPERATOR_CONNECTIONS
        usable = DATABASE_CLASSES[cell.database.instance_class].usable_connections
        if needed > usable:
            faults.append(
                f"cells.{name}: tenants' pools may open {needed} connections, "
                f"{cell.database.instance_class} has {usable} to give"
            )
    return faults


def _fault(location: tuple[int | str, ...], message: str) -> str:
    place = ".".join(str(step) for step in location if step != "[key]")
    return f"{place}: {re.sub('^Value error, ', '', message)}"


def _refusal(path: Path, faults: list[str]) -> str:
    return "\n".join([f"{path}: the plan does not hold; nothing was changed.", *(f"  {fault}" for fault in faults)])
