"""The table of services holds together, and what every stage makes of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from infra.outputs import CellOutputs
from infra.ports import ALERTMANAGER_PORT, EXPORTERS, GATEWAY_METRICS_PORT, GATEWAY_PORT, PROMETHEUS_PORT, RECEIVER_PORT
from infra.services import NAMES, SERVICES, Service, roles_of, services_of
from loadtests.journey import Journey
from loadtests.scenario import JOURNEYS
from services.migrate import MODULES
from tests.support.watched import watched

SERVICES_FOLDER = Path(__file__).resolve().parents[3] / "services"
TAKEN = {*EXPORTERS.values(), GATEWAY_PORT, GATEWAY_METRICS_PORT, PROMETHEUS_PORT, ALERTMANAGER_PORT, RECEIVER_PORT}
# of an account, a unit, a schema and a backend; `tenant` is what the gateways call all tenants' sites
PREFIX = re.compile(r"/([a-z0-9-]+/)*")
NAME = re.compile(r"(?!tenant$|self$|metrics$|gateway$|app$|owner$|measures$)[a-z][a-z0-9_]{1,30}")


def faults(services: tuple[Service, ...]) -> list[str]:
    problems = []
    for service in services:
        others = [other for other in services if other is not service]
        if not NAME.fullmatch(service.name) or service.name in [other.name for other in others]:
            problems.append(f"{service.name}: no name, or another's")
        if service.port in TAKEN or service.port in [other.port for other in others]:
            problems.append(f"{service.name}: port {service.port} is taken")
        if bool(service.label) == bool(service.prefix) or bool(service.label) != (service.cells == "core"):
            problems.append(f"{service.name}: a core service has a site, one of a tenants' cell a prefix")
        if service.label and service.label in [other.label for other in others]:
            problems.append(f"{service.name}: its site is another's")
        prefixes = ["", *(other.prefix for other in others)]
        if service.prefix and not (PREFIX.fullmatch(service.prefix) and service.prefix not in prefixes):
            problems.append(f"{service.name}: no prefix, or another's")
        if service.tables == ("tenants" if service.cells == "core" else "own"):
            problems.append(f"{service.name}: its cell has no such tables")
        if any(other.role == service.role and other.cells != service.cells for other in others):
            problems.append(f"{service.name}: its role's hosts are of two kinds of cell")
    if [service.prefix for service in services].count("/") != 1:
        problems.append("one service has what no other has")
    return problems


def test_the_table_holds() -> None:
    assert faults(SERVICES) == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "tenant"}, "no name"),
        ({"name": "measures"}, "no name"),
        ({"name": "portal"}, "portal: no name, or another's"),
        ({"port": 8002}, "port 8002 is taken"),
        ({"port": 9100}, "port 9100 is taken"),
        ({"prefix": ""}, "a prefix"),
        ({"prefix": "/"}, "one service has what no other has"),
        ({"prefix": "api"}, "no prefix"),
        ({"tables": "own"}, "no such tables"),
        ({"role": "query"}, "two kinds of cell"),
    ],
)
def test_a_row_that_does_not_fit_is_seen(fields: dict[str, str], told: str) -> None:
    assert told in "; ".join(faults((replace(SERVICES[0], **fields), *SERVICES[1:])))  # type: ignore[arg-type]


def test_each_row_is_a_folder_with_a_process_and_each_process_a_row() -> None:
    serving = {path.parent.name for path in SERVICES_FOLDER.glob("*/__main__.py")} - {"pages"}
    assert serving == set(NAMES)


def test_who_has_tables_has_migrations_and_nobody_else() -> None:
    assert set(MODULES) == {service.name for service in SERVICES if service.tables != "none"}


def unforgetting() -> set[str]:
    """Services that answer journeys, keep something, and have no `forget.py` to remove what a rehearsal leaves."""
    asked = {service for journey in JOURNEYS.values() for service in journey.steps.values()}
    keeping = {service.name for service in SERVICES if service.tables != "none"}
    return {name for name in asked & keeping if not (SERVICES_FOLDER / name / "forget.py").exists()}


def test_whoever_answers_a_journey_forgets_a_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unforgetting() == set()
    monkeypatch.setitem(JOURNEYS, "careless", Journey("citizen", {"look": "portal"}))
    assert unforgetting() == {"portal"}, "the twin"


def test_a_stack_that_does_not_tell_its_services_yet_runs_those_of_the_table() -> None:
    for cell in watched().cells:
        before = {key: value for key, value in cell.model_dump(mode="json").items() if key != "services"}
        assert CellOutputs.model_validate(before) == cell
    assert [service.name for service in watched().cells[0].services] == [row.name for row in services_of("tenants")]
    assert [service.role for service in watched().cells[1].services] == list(roles_of("core"))


def test_a_row_of_fewer_fields_than_rows_have_by_now_is_the_tables() -> None:
    told = watched().cells[0].model_dump(mode="json")
    told["services"] = [
        {key: value for key, value in row.items() if key != "own_secrets"} for row in told["services"][1:]
    ]
    assert CellOutputs.model_validate(told).services == watched().cells[0].services[1:]
    told["services"][0]["name"] = "licences"
    with pytest.raises(ValueError, match="own_secrets"):
        CellOutputs.model_validate(told)


def test_what_a_stack_tells_wins_over_the_table() -> None:
    told = watched().cells[0].model_dump(mode="json")
    told["services"] = [row for row in told["services"] if row["name"] == "affairs"]
    assert [service.name for service in CellOutputs.model_validate(told).services] == ["affairs"]
