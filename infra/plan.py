"""The capacity plan: how much each cell has of everything, and which cell serves a tenant.

The tracked `plans/<environment>.json` rules (`plans/local.json` for test environments) until `yiwang plan` has written
the environment's own `plan.json`; that one wins from then on.

Version 2 carries what a measured plan rests on; a file of version 1 is read as it always was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from infra.database_classes import DATABASE_CLASSES
from infra.errors import ExpectedError
from infra.folder import EnvironmentFolder
from infra.registry import Registry
from infra.scalability import MOST_HOSTS, NAME, OutOfReach, ScalabilityLaw
from infra.services import CORE, NAMES, CellKind, kind_of, opens_tenants_databases, roles_of, services_of
from infra.services import named as service_named
from infra.unread import mistaken_for

TRACKED = Path(__file__).parent.parent / "plans"
ROLES: Mapping[CellKind, frozenset[str]] = {
    "core": frozenset({"gateway", "monitoring", *roles_of("core")}),
    "tenants": frozenset({"gateway", *roles_of("tenants")}),
}
MIGRATION_AND_OPERATOR_CONNECTIONS = 20
BY_HAND = "hand"
MEASURED_FOR = timedelta(days=90)
"""How long a measured plan counts as today's; one made by hand does not age."""
CLOCKS_DIFFER = timedelta(minutes=5)

CellName = Annotated[str, Field(pattern=r"^cell-[a-z][a-z0-9]{0,15}$")]
TenantCode = Annotated[str, Field(pattern=r"^[1-9][0-9]{5}$")]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PlanError(ExpectedError):
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


class CellCapacity(PlanModel):
    """What a role's hosts of a cell carried, and what the plan makes of it; rates are journeys a second."""

    role: str
    hosts: Annotated[int, Field(ge=1, le=MOST_HOSTS)] = Field(description="so many were there when it was measured")
    rate: Rate = Field(description="the largest that kept every objective")
    low: Rate
    high: Rate
    law: Literal["universal scalability"] = NAME
    parameters: ScalabilityLaw = Field(description="of the law over the number of hosts")
    headroom: Annotated[float, Field(ge=0, lt=1)] = Field(description="share of what is carried, unused at the target")
    scenario: str
    target_rate: Rate = Field(description="this cell's part of the scenario's target")
    evidence: str = Field(
        pattern=r"^capacity/[A-Za-z0-9][A-Za-z0-9-]*\.json$", description="the measurement, beside the plan's own file"
    )
    measured_at: AwareDatetime

    @model_validator(mode="after")
    def _hang_together(self) -> CellCapacity:
        if not self.low <= self.rate <= self.high:
            raise ValueError(f"a rate of {self.rate:g} lies outside its own interval, {self.low:g} to {self.high:g}")
        said = self.parameters.throughput(self.hosts)
        if not self.low * 0.999 <= said <= self.high * 1.001:
            raise ValueError(
                f"the law says {said:.1f}/s for {self.hosts} hosts, measured were {self.low:.1f} to {self.high:.1f}"
            )
        return self

    @property
    def hosts_needed(self) -> int:
        """
        Raises:
            OutOfReach: no number of hosts carries the target.
        """
        return self.parameters.needed(self.target_rate, self.headroom)

    def usable(self, hosts: int) -> float:
        """What so many hosts carry, the headroom left unused."""
        return (1 - self.headroom) * self.parameters.throughput(hosts)


class CellPlan(PlanModel):
    hosts: dict[str, Annotated[int, Field(ge=1, le=MOST_HOSTS)]] = Field(description="role → number of hosts")
    database: DatabasePlan
    cache: CachePlan
    together: tuple[tuple[str, ...], ...] = Field(
        (), description="services of a role that share a process group of its hosts, and with it memory"
    )
    capacity: CellCapacity | None = Field(None, description="version 2: what the number of one role's hosts rests on")

    @field_validator("together")
    @classmethod
    def _of_one_role(cls, groups: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        named = [name for group in groups for name in group]
        if strangers := sorted(set(named) - set(NAMES)):
            raise ValueError(f"{', '.join(strangers)}: no service of infra/services.py")
        if len(named) != len(set(named)):
            raise ValueError("a service is in two groups")
        if parted := [group for group in groups if len({service_named(name).role for name in group}) > 1]:
            raise ValueError(f"{', '.join(parted[0])} run on hosts of several roles")
        return groups


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
    schema_version: Literal[1, 2] = 2
    made_by: str = Field(pattern=r"^(hand|model .+)$", description="`hand`, or `model` and the run it came from")
    made_at: AwareDatetime
    cells: dict[CellName, CellPlan]
    placements: dict[TenantCode, Placement] = Field(description="tenant → cells; others take their city's")

    @model_validator(mode="after")
    def _version_holds_it(self) -> Plan:
        if self.schema_version == 1 and self.capacities:
            raise ValueError("capacity needs schema_version 2")
        return self

    @property
    def by_hand(self) -> bool:
        return self.made_by == BY_HAND

    @cached_property
    def capacities(self) -> dict[str, CellCapacity]:
        """By cell, where there is one."""
        return {name: cell.capacity for name, cell in self.cells.items() if cell.capacity}

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
        """A warning when the oldest measurement behind the plan is old; a plan made by hand does not age."""
        if self.by_hand:
            return None
        age = now - min([capacity.measured_at for capacity in self.capacities.values()], default=self.made_at)
        if age <= MEASURED_FOR:
            return None
        return f"the plan was measured {age.days} days ago ({self.made_by}); measure again: make plan, make gate"

    @cached_property
    def tenant_cells(self) -> list[str]:
        return [name for name in self.cells if name != CORE]


def path_of(environment: str) -> Path:
    """
    Raises:
        PlanError: a file lies there that was meant to be the environment's plan and is not called so.
    """
    folder = EnvironmentFolder(environment)
    own, tracked = folder.plan, TRACKED / f"{environment}.json"
    for path in (own, tracked):
        for other in mistaken_for(path):
            raise PlanError(f"{other}: is not read: the plan's name is {path.name}; rename it or take it away")
    if own.exists():
        return own
    return TRACKED / "local.json" if not tracked.exists() and folder.kind == "test" else tracked


def read(path: Path) -> Plan:
    """
    Raises:
        PlanError: there is no plan there, or it is malformed.
    """
    try:
        return Plan.model_validate(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise PlanError(f"{path}: the environment has no plan; copy plans/local.json there") from None
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PlanError(f"{path}: is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise PlanError(f"{path}:{error.lineno}: is not JSON: {error.msg}") from None
    except ValidationError as error:
        raise PlanError(_refusal(path, [_fault(detail["loc"], detail["msg"]) for detail in error.errors()])) from None


def load(environment: str, registry: Registry, cells_in_use: Collection[str] = ()) -> tuple[Plan, list[str]]:
    """The environment's plan and warnings about it.

    Raises:
        PlanError: there is no plan, it is malformed or inconsistent with the registry or the cells in use, or it does
            not follow from its own evidence.
    """
    path, now = path_of(environment), datetime.now(UTC)
    plan = consistent(environment, registry, cells_in_use)
    if faults := unsupported(plan, path.parent, now):
        raise PlanError(_refusal(path, faults))
    warning = plan.ages(now)
    return plan, [f"{path}: {warning}"] if warning else []


def consistent(environment: str, registry: Registry, cells_in_use: Collection[str] = ()) -> Plan:
    """The plan to plan again from: it holds together, but what it rests on may be gone.

    Raises:
        PlanError: there is no plan, or it is malformed or inconsistent with the registry or the cells in use.
    """
    path = path_of(environment)
    plan = read(path)
    if faults := inconsistencies(plan, registry, cells_in_use):
        raise PlanError(_refusal(path, faults))
    return plan


def inconsistencies(plan: Plan, registry: Registry, cells_in_use: Collection[str] = ()) -> list[str]:
    """Every fault, each a sentence that names the thing."""
    faults = []
    if CORE not in plan.cells:
        running = ", ".join(service.name for service in services_of("core"))
        faults.append(f"cells: {CORE} is missing; {running} and monitoring run there")
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


def unsupported(plan: Plan, folder: Path, now: datetime) -> list[str]:
    """Every way in which a plan of the model does not follow from its own evidence, which lies in `folder`."""
    if plan.by_hand:
        return []
    if not plan.capacities:
        return ["made_by: a plan of the model carries capacity, and no cell does; plan again (make plan) or set hand"]
    faults = [f"made_at: {plan.made_at:%Y-%m-%d %H:%M} is in the future"] if plan.made_at > now + CLOCKS_DIFFER else []
    for name, capacity in plan.capacities.items():
        place = f"cells.{name}.capacity"
        if capacity.measured_at > now + CLOCKS_DIFFER:
            faults.append(f"{place}.measured_at: {capacity.measured_at:%Y-%m-%d %H:%M} is in the future")
        elif capacity.measured_at > plan.made_at:
            faults.append(f"{place}.measured_at: the plan was made before it, {plan.made_at:%Y-%m-%d %H:%M}")
        if not (folder / capacity.evidence).is_file():
            faults.append(f"{place}.evidence: there is no {folder / capacity.evidence}; plan again: make plan")
        faults += _short(name, plan.cells[name], capacity)
    return faults


def _short(name: str, cell: CellPlan, capacity: CellCapacity) -> list[str]:
    """Hosts of a measured plan must carry its own target; more of them than needed is anybody's choice."""
    if capacity.role not in cell.hosts:
        having = ", ".join(sorted(cell.hosts))
        return [f"cells.{name}.capacity.role: {capacity.role} is no role of this cell; it has {having}"]
    hosts = cell.hosts[capacity.role]
    if capacity.usable(hosts) >= capacity.target_rate:
        return []
    try:
        way_out = f"set {capacity.hosts_needed}"
    except OutOfReach as error:
        way_out = str(error)
    return [
        f"cells.{name}.hosts.{capacity.role}: by its own measurement {hosts} carry {capacity.usable(hosts):.1f}/s with "
        f"headroom {capacity.headroom:g}, its target is {capacity.target_rate:.1f}/s; {way_out}, or plan again "
        f'(make plan), or set made_by to "hand"'
    ]


def _roles(name: str, cell: CellPlan) -> list[str]:
    expected = ROLES[kind_of(name)]
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
    """Each host that opens tenants' databases may open each tenant's whole pool: their sum must fit the instance."""
    faults = []
    for name in plan.tenant_cells:
        cell = plan.cells[name]
        pools = sum(
            registry.settings_of(division.code).database_connections
            for division in registry.divisions.values()
            if division.provisioned and name in plan.placement(division.code, registry).cells
        )
        hosts = sum(count for role, count in cell.hosts.items() if opens_tenants_databases(role))
        needed = pools * hosts + MIGRATION_AND_OPERATOR_CONNECTIONS
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
