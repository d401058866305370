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
        (put("schema_version", value=2), "schema_version"),
        (put("made_by", value="somebody"), "made_by"),
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


def test_only_a_measured_plan_ages() -> None:
    document = json.loads((plans.TRACKED / "local.json").read_text())
    by_hand = Plan.model_validate(document)
    measured = Plan.model_validate({**document, "made_by": "model 2026-11-24T08:00"})
    later = by_hand.made_at + timedelta(days=91)
    assert by_hand.ages(later) is None
    assert measured.ages(by_hand.made_at + timedelta(days=90)) is None
    assert "measured 91 days ago" in (measured.ages(later) or "")


def test_an_old_measured_plan_warns_and_goes_on(registry: Registry, home: Path) -> None:
    changed(put("made_by", value="model first-run"))
    changed_at = (datetime.now(UTC) - timedelta(days=400)).isoformat()
    document = json.loads(EnvironmentFolder("test-plan").plan.read_text())
    EnvironmentFolder("test-plan").plan.write_text(json.dumps({**document, "made_at": changed_at}))
    _, warnings = plans.load("test-plan", registry)
    assert len(warnings) == 1
    assert "measure again" in warnings[0]
