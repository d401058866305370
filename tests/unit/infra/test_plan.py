from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra import plan as plans
from infra.folder import EnvironmentFolder
from infra.plan import Plan, PlanError
from infra.registry import Registry, load_registry
from infra.settings import SettingsError
from infra.stacks import cells_in_use

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    return tmp_path


def changed(change: Change, environment: str = "test-plan") -> None:
    """Puts a changed local plan into the environment's folder."""
    document = json.loads((plans.TRACKED / "local.json").read_text())
    change(document)
    target = EnvironmentFolder(environment).plan
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document))


def put(*path: str, value: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


def drop(*path: str) -> Change:
    def change(document: dict[str, Any]) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


@pytest.mark.parametrize("environment", ["local", "prod", "test-plan"])
def test_tracked_plans_hold(environment: str, registry: Registry, home: Path) -> None:
    plan, warnings = plans.load(environment, registry)
    assert warnings == []
    assert set(plan.cells) == {"cell-core", "cell-a"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("placements", "330100", value={"serving": "cell-z"}), "placements.330100: cell-z is no tenants' cell"),
        (put("placements", "330100", value={"serving": "cell-core"}), "placements.330100: cell-core is no tenants'"),
        (put("placements", "999999", value={"serving": "cell-a"}), "placements.999999: no such tenant"),
        (put("placements", "330100", value={"serving": "cell-a", "preparing": "cell-a"}), "both serving and prep"),
        (drop("placements", "330000"), "placements: neither 330000 浙江省 nor one above it has a cell"),
        (drop("cells", "cell-core"), "cells: cell-core is missing"),
        (put("cells", "cell-a", "hosts", "application", value=0), "cells.cell-a.hosts.application"),
        (drop("cells", "cell-a", "hosts", "gateway"), "cells.cell-a.hosts: gateway is missing"),
        (drop("cells", "cell-core", "hosts", "monitoring"), 'monitoring is missing; add "monitoring": 1'),
        (put("cells", "cell-a", "hosts", "identity", value=1), "cells.cell-a.hosts: identity is no role"),
        (put("cells", "cell-a", "database", "instance_class", value="pg.huge"), "'pg.huge' is no database class"),
        (put("cells", "cell-a", "hosts", "application", value=20), "cells.cell-a: tenants' pools may open"),
        (put("cells", "core", value={}), "cells.core"),
        (put("schema_version", value=3), "schema_version"),
        (put("made_by", value="somebody"), "made_by"),
        (put("made_by", value="model run"), "made_by: a plan of the model carries capacity, and no cell does"),
        (put("made_at", value="2026-11-24T00:00:00"), "made_at: Input should have timezone info"),
        (put("sizes", value={}), "sizes: Extra inputs"),
    ],
)
def test_a_plan_that_does_not_hold_is_refused_by_name(
    change: Change, said: str, registry: Registry, home: Path
) -> None:
    changed(change)
    with pytest.raises(PlanError) as refused:
        plans.load("test-plan", registry)
    assert said in str(refused.value)
    assert "plan.json" in str(refused.value)


def test_a_cell_in_use_must_not_be_forgotten(registry: Registry, home: Path) -> None:
    with pytest.raises(PlanError, match="cell-b is in use and the plan forgets it"):
        plans.load("test-plan", registry, {"cell-a", "cell-b"})


def test_asking_for_a_cell_that_the_plan_lacks_names_those_it_has(registry: Registry, home: Path) -> None:
    plan, _ = plans.load("test-plan", registry)
    with pytest.raises(PlanError, match="the plan names no cell-b; it has cell-a, cell-core"):
        plan.cell("cell-b")


def test_malformed_and_missing_plans_are_refused(registry: Registry, home: Path) -> None:
    target = EnvironmentFolder("test-plan").plan
    target.parent.mkdir(parents=True)
    target.write_text('{"cells": ')
    with pytest.raises(PlanError, match=r"plan\.json:1: is not JSON"):
        plans.load("test-plan", registry)
    with pytest.raises(PlanError, match="has no plan"):
        plans.read(home / "nowhere.json")


@pytest.mark.parametrize("name", ["Plan.json", "plan.JSON", "plan.yaml", "plan.json.txt"])
def test_a_plan_by_another_name_is_refused_and_not_passed_over(name: str, registry: Registry, home: Path) -> None:
    target = EnvironmentFolder("test-plan").plan
    target.parent.mkdir(parents=True)
    (target.parent / name).write_text("{}")
    with pytest.raises(PlanError, match=rf"{name}: is not read: the plan's name is plan\.json"):
        plans.load("test-plan", registry)


@pytest.mark.parametrize("name", ["plan.json~", ".plan.json.swp", "plan-20261129T080000.json", "plan.json.orig"])
def test_what_else_lies_beside_a_plan_hinders_nobody(name: str, registry: Registry, home: Path) -> None:
    target = EnvironmentFolder("test-plan").plan
    target.parent.mkdir(parents=True)
    (target.parent / name).write_text("{}")
    assert plans.load("test-plan", registry)[1] == []


@pytest.mark.parametrize("name", ["Pulumi.test-plan.cell-b.yml", "pulumi.test-plan.cell-b.yaml", "Pulumi.cell-b.yaml"])
def test_settings_by_a_name_that_the_engine_does_not_read_are_refused(name: str, home: Path) -> None:
    folder = EnvironmentFolder("test-plan").stacks
    folder.mkdir(parents=True)
    (folder / "Pulumi.test-plan.cell-a.yaml").write_text("")
    (folder / "Pulumi.test-plan.cell-a.yaml~").write_text("")
    assert cells_in_use("test-plan") == {"cell-a"}
    (folder / name).write_text("")
    with pytest.raises(SettingsError, match=rf"{name}: is not read"):
        cells_in_use("test-plan")


def test_a_tenant_takes_its_own_cell_then_its_citys_then_its_provinces(registry: Registry) -> None:
    document = json.loads((plans.TRACKED / "local.json").read_text())
    document["cells"]["cell-b"] = document["cells"]["cell-a"]
    document["cells"]["cell-c"] = document["cells"]["cell-a"]
    document["placements"]["330100"] = {"serving": "cell-b"}
    document["placements"]["330106"] = {"serving": "cell-b", "preparing": "cell-c"}
    plan = Plan.model_validate(document)
    assert plans.inconsistencies(plan, registry) == []
    assert plan.placement("330106", registry).cells == ("cell-b", "cell-c")
    assert plan.placement("330112", registry).cells == ("cell-b",)
    assert plan.placement("330200", registry).cells == ("cell-a",)


MEASURED_AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
EVIDENCE = "capacity/20261120T080000Z-cell-a.json"
CAPACITY: dict[str, Any] = {
    "role": "application",
    "hosts": 2,
    "rate": 12.0,
    "low": 11.4,
    "high": 12.5,
    "law": "universal scalability",
    "parameters": {"of_one": 6.18, "contention": 0.03, "coherency": 0},
    "headroom": 0.15,
    "scenario": "cell",
    "target_rate": 14.4,
    "evidence": EVIDENCE,
    "measured_at": MEASURED_AT.isoformat(),
}


def measured() -> dict[str, Any]:
    """The local plan as the model would write it: 3 hosts, from 2 that were measured."""
    document: dict[str, Any] = json.loads((plans.TRACKED / "local.json").read_text())
    document |= {"schema_version": 2, "made_by": "model 20261120T080000Z-cell-a"}
    document["made_at"] = (MEASURED_AT + timedelta(minutes=5)).isoformat()
    document["cells"]["cell-a"]["hosts"]["application"] = 3
    document["cells"]["cell-a"]["capacity"] = json.loads(json.dumps(CAPACITY))
    return document


def loaded(document: dict[str, Any], registry: Registry, evidence: bool = True) -> tuple[Plan, list[str]]:
    """The plan as an environment would read it from its folder."""
    target = EnvironmentFolder("test-plan").plan
    (target.parent / "capacity").mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document))
    if evidence:
        (target.parent / EVIDENCE).write_text("{}")
    return plans.load("test-plan", registry)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five days after the measurement, whatever this machine's clock says."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return MEASURED_AT + timedelta(days=5)

    monkeypatch.setattr(plans, "datetime", Clock)


@pytest.mark.usefixtures("clock", "home")
def test_a_measured_plan_holds_with_the_hosts_it_asks_for_or_more(registry: Registry) -> None:
    plan, warnings = loaded(measured(), registry)
    assert warnings == []
    assert plan.capacities["cell-a"].hosts_needed == 3
    more = measured()
    more["cells"]["cell-a"]["hosts"]["application"] = 5
    assert loaded(more, registry)[0].cell("cell-a").hosts["application"] == 5


@pytest.mark.usefixtures("clock", "home")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("cells", "cell-a", "hosts", "application", value=2), "2 carry 10.2/s with headroom 0.15"),
        (put("cells", "cell-a", "hosts", "application", value=2), "set 3, or plan again (make plan), or set made_by"),
        (put("cells", "cell-a", "capacity", "target_rate", value=1e6), "another cell is needed"),
        (put("cells", "cell-a", "capacity", "target_rate", value=-1), "target_rate: Input should be greater than 0"),
        (put("cells", "cell-a", "capacity", "rate", value=20), "a rate of 20 lies outside its own interval"),
        (put("cells", "cell-a", "capacity", "rate", value="NaN"), "cells.cell-a.capacity.rate"),
        (put("cells", "cell-a", "capacity", "parameters", "of_one", value=60), "the law says 116.5/s for 2 hosts"),
        (put("cells", "cell-a", "capacity", "parameters", "contention", value=-1), "contention"),
        (put("cells", "cell-a", "capacity", "headroom", value=1), "headroom"),
        (put("cells", "cell-a", "capacity", "law", value="linear"), "law"),
        (put("cells", "cell-a", "capacity", "role", value="identity"), "identity is no role of this cell; it has appl"),
        (put("cells", "cell-a", "capacity", "evidence", value="../../etc/passwd"), "evidence: String should match"),
        (put("cells", "cell-a", "capacity", "evidence", value="capacity/gone.json"), "evidence: there is no "),
        (drop("cells", "cell-a", "capacity", "evidence"), "evidence: Field required"),
        (drop("cells", "cell-a", "capacity"), "a plan of the model carries capacity, and no cell does"),
        (put("cells", "cell-a", "capacity", "measured_at", value="2026-11-21T00:00:00Z"), "the plan was made before"),
        (put("cells", "cell-a", "capacity", "measured_at", value="2031-01-01T00:00:00Z"), "is in the future"),
        (put("made_at", value="2031-01-01T00:00:00Z"), "made_at: 2031-01-01 00:00 is in the future"),
        (put("schema_version", value=1), "capacity needs schema_version 2"),
    ],
)
def test_a_measured_plan_edited_into_nonsense_is_refused_by_name(change: Change, said: str, registry: Registry) -> None:
    document = measured()
    change(document)
    with pytest.raises(PlanError) as refused:
        loaded(document, registry)
    assert said in str(refused.value)
    assert "plan.json: the plan does not hold; nothing was changed." in str(refused.value)


@pytest.mark.usefixtures("clock", "home")
def test_the_way_out_of_too_few_hosts_is_to_own_them(registry: Registry) -> None:
    document = measured()
    document["cells"]["cell-a"]["hosts"]["application"] = 2
    document["made_by"] = "hand"
    plan, warnings = loaded(document, registry)
    assert plan.by_hand
    assert warnings == []


@pytest.mark.usefixtures("clock", "home")
def test_one_can_plan_again_from_a_plan_whose_evidence_is_gone(registry: Registry) -> None:
    with pytest.raises(PlanError, match="there is no"):
        loaded(measured(), registry, evidence=False)
    assert plans.consistent("test-plan", registry).capacities


def test_version_1_is_read_as_ever(registry: Registry) -> None:
    document = json.loads((plans.TRACKED / "local.json").read_text()) | {"schema_version": 1}
    plan = Plan.model_validate(document)
    assert plan.by_hand
    assert plan.capacities == {}
    assert plans.inconsistencies(plan, registry) == []
    assert plans.unsupported(plan, plans.TRACKED, datetime.now(UTC)) == []


def test_only_a_measured_plan_ages_and_by_its_oldest_measurement() -> None:
    document = measured()
    plan = Plan.model_validate(document)
    by_hand = Plan.model_validate({**document, "made_by": "hand"})
    later = MEASURED_AT + timedelta(days=91)
    assert by_hand.ages(later) is None
    assert plan.ages(MEASURED_AT + timedelta(days=90)) is None
    assert "measured 91 days ago" in (plan.ages(later) or "")
    renewed_in_part = {**document, "made_at": later.isoformat()}
    assert "measured 91 days ago" in (Plan.model_validate(renewed_in_part).ages(later) or "")


@pytest.mark.usefixtures("home")
def test_an_old_measured_plan_warns_and_goes_on(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "MEASURED_FOR", timedelta(0))
    document = measured()
    document["cells"]["cell-a"]["capacity"]["measured_at"] = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    document["made_at"] = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    _, warnings = loaded(document, registry)
    assert len(warnings) == 1
    assert "measured 2 days ago" in warnings[0]
    assert "measure again: make plan" in warnings[0]
