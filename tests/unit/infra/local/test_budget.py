"""The plan of a local environment fits its machine, now and with what is to come (decision 23)."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from infra import plan as plans
from infra.local.budget import CORES, cores, faults
from infra.plan import TRACKED, Plan
from infra.services import roles_of, services_on
from infra.stacks import FOLDER

TYPES: dict[str, str] = YAML(typ="safe").load(FOLDER / "template.cell.yaml")["config"]["yiwang:instanceTypes"]
TO_COME = {
    "application": ("affairs", "portal", "engage", "exchange", "disclosure"),
    "identity": ("identity",),
    "query": ("query", "notify", "search"),
}
"""Nine modules, each where decision 23 puts it."""
OF_THE_CORE = {"gateway": 1, "identity": 2, "query": 1, "monitoring": 1}
OF_TENANTS = {"gateway": 1, "application": 2}


def local() -> Plan:
    return plans.read(TRACKED / "local.json")


def with_cells(tenants_cells: int, **core: int) -> Plan:
    document: dict[str, Any] = local().model_dump(mode="json")
    cell = document["cells"]["cell-a"] | {"hosts": OF_TENANTS}
    document["cells"] = {"cell-core": document["cells"]["cell-core"] | {"hosts": OF_THE_CORE | core}}
    document["cells"] |= {f"cell-{name}": cell for name in "abcd"[:tenants_cells]}
    return Plan.model_validate(document)


def test_todays_plan_fits_the_machine() -> None:
    assert 1.0 < cores(local(), TYPES) <= CORES
    for kind in ("core", "tenants"):
        for role in roles_of(kind):
            assert faults(role, [service.name for service in services_on(role)], TYPES[role]) == []


def test_two_tenants_cells_fit_with_fewer_hosts_of_the_core() -> None:
    assert cores(with_cells(2), TYPES) <= CORES
    assert cores(with_cells(3), TYPES) > CORES, "the twin"
    assert cores(with_cells(2, query=2, gateway=2), TYPES) > CORES


@pytest.mark.parametrize("role", TO_COME)
def test_nine_modules_fit_their_hosts(role: str) -> None:
    together = [TO_COME[role]]
    assert faults(role, TO_COME[role], TYPES[role], together) == []


def test_too_many_are_seen_and_a_shared_process_group_makes_room() -> None:
    too_many = [f"module{number}" for number in range(9)]
    assert faults("application", too_many, TYPES["application"])
    assert "MiB" in faults("application", too_many, TYPES["application"])[0]
    assert "MiB" not in repr(faults("application", too_many, TYPES["application"], [too_many]))
    assert "while nobody asks" in repr(faults("application", [*too_many, *too_many], TYPES["application"], [too_many]))
