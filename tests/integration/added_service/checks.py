"""Every stage knows the service `bulletin` that was added to this copy of the repository."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.outputs import EnvironmentOutputs
from infra.render import Rendering
from infra.services import NAMES
from loadtests import scenario as scenarios
from loadtests.gate.judge import judge
from loadtests.tally import service_of
from monitoring import objectives, rules
from monitoring.jobs import targets
from monitoring.metrics import names
from monitoring.render import files
from monitoring.series import count, of_outputs
from tests.integration.backends import Postgres, Redis
from tests.integration.issuer import Issuer
from tests.integration.network import CITY, COUNTY, PLACES, Network, account_of, client
from tests.support.playbook_plugins import load
from tests.support.rendered import merged_outputs, rendered_stacks
from tests.support.waiting import wait_until
from tests.unit.loadtests.gate_cases import healthy_evidence, healthy_load

ADDED, PORT = "bulletin", 8005
filters = load("filter", "yiwang")


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendering]:
    return rendered_stacks(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def outputs(stacks: dict[str, Rendering]) -> EnvironmentOutputs:
    return merged_outputs(stacks)


@pytest.fixture(scope="module")
def secrets(stacks: dict[str, Rendering]) -> dict[str, Any]:
    cells = {scope: stacks[scope].outputs["secrets"] for scope in ("cell-core", "cell-a")}
    tenants = {
        code: kept for scope in ("zhejiang", "hangzhou") for code, kept in stacks[scope].outputs["secrets"].items()
    }
    return {"cells": cells, "tenants": tenants}


def test_it_is_provisioned(stacks: dict[str, Rendering], outputs: EnvironmentOutputs, secrets: dict[str, Any]) -> None:
    rules_of_ports = [
        resource.inputs["portRange"]
        for resource in stacks["cell-a"].of_type("alicloud:ecs/securityGroupRule:SecurityGroupRule")
    ]
    assert f"{PORT}/{PORT}" in rules_of_ports
    cell = next(cell for cell in outputs.cells if cell.cell == "cell-a")
    assert ADDED in [service.name for service in cell.services] and ADDED in cell.cache.accounts
    seals = {code: kept["made"]["bulletin_seal"] for code, kept in secrets["tenants"].items()}
    assert len(set(seals.values())) == len(seals) > 10, "each tenant has a secret of its own for it"
    assert all(ADDED in kept["database_passwords"] for kept in secrets["tenants"].values())


def test_hosts_are_told_of_it_and_it_is_told_what_its_row_names(
    outputs: EnvironmentOutputs, secrets: dict[str, Any]
) -> None:
    told = outputs.model_dump(mode="json")
    backends = filters.gateway_backends(told, "cell-a")
    assert [backend["name"] for backend in backends][-1] == "portal", "the portal has what no other has"
    added = next(backend for backend in backends if backend["name"] == ADDED)
    assert (added["prefix"], added["port"], len(added["servers"]) > 0) == ("/api/bulletin/", PORT, True)
    told_to = filters.service_secrets(secrets, told, "cell-a", "application")
    assert set(told_to[ADDED]["tenants"][COUNTY.code]) == {"database_password", "client_secret", "bulletin_seal"}
    assert "bulletin_seal" not in json.dumps({name: told_to[name] for name in told_to if name != ADDED})
    database = filters.cell_databases(told, secrets, "cell-a", 8)[0]
    assert database["modules"][ADDED] == f"{database['name']}_{ADDED}"
    assert database["modules"][ADDED] in filters.pgbouncer_accounts(secrets, told, "cell-a", "application")


@pytest.fixture(scope="module")
def network(backend_folder: Path, postgres: Postgres, redis_server: Redis, issuer: Issuer) -> Iterator[Network]:
    """Four tenants on two cells whose databases have its tables, and a process of it on each cell."""
    folder = backend_folder / ADDED
    folder.mkdir()
    folder.chmod(0o755)
    province = Network(
        folder, postgres, redis_server, issuer, module=ADDED, tenant_secrets=("client_secret", "bulletin_seal")
    )
    province.create()
    for cell in ("cell-a", "cell-b"):
        province.start(ADDED, cell)
    yield province
    province.stop_all()


def test_it_is_migrated_and_granted_its_own(network: Network) -> None:
    granted = network.postgres.run(
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM "
        f"information_schema.role_table_grants WHERE grantee = '{account_of(f't{COUNTY.code}', ADDED)}' "
        "GROUP BY 1 ORDER BY 1",
        f"t{COUNTY.code}",
    )
    assert granted.splitlines()[0] == "inbox|INSERT SELECT" and "notices|INSERT SELECT" in granted.splitlines()


def test_what_a_clerk_pins_arrives_at_another_tenant_once_and_sealed(network: Network, issuer: Issuer) -> None:
    clerk = issuer.officer("clerk-of-county", COUNTY.code)
    with network.client(COUNTY, clerk) as here, network.client(CITY) as there:
        pinned = here.post("/notices", json={"to": CITY.code, "text": "明天停水"})
        assert pinned.status_code == 201, pinned.text
        board = wait_until(lambda: there.get("/notices").json()["notices"], 20, "the notice arrives")
        assert here.get("/notices").json()["notices"] == []
        assert here.post("/notices", json={"to": CITY.code, "text": " "}).status_code == 422
    key = f"bulletin_seal-{COUNTY.code}".encode()
    seal = hmac.new(key, "明天停水".encode(), hashlib.sha256).hexdigest()
    assert board == [{"origin": COUNTY.code, "text": "明天停水", "seal": seal}]
    with network.client(COUNTY, issuer.citizen("somebody")) as citizen:
        assert citizen.post("/notices", json={"to": CITY.code, "text": "x"}).status_code == 403


def test_a_forged_notice_is_refused_and_counted(network: Network, issuer: Issuer) -> None:
    message = {"sequence": 999, "kind": "notice", "key": CITY.code, "created_at": time.time(),
               "body": {"origin": PLACES[0].code, "text": "x", "seal": "", "author": "x"}}  # fmt: skip
    with network.client(CITY, issuer.relay(COUNTY.code)) as relay:
        answer = relay.post("/inbox", json={"sender": COUNTY.code, "messages": [message]})
    assert answer.status_code == 200 and answer.json()["rejected"], answer.text
    with client(network.url(CITY), None) as site:
        assert "yiwang_bulletin_forged_total 1.0" in site.get("/metrics").text


def test_it_is_watched_and_its_series_are_counted(outputs: EnvironmentOutputs) -> None:
    assert {target.labels["host"] for target in targets(outputs) if target.job == ADDED}
    assert "yiwang_bulletin_forged_total" in names(ADDED) and "yiwang_outbox_ways" in names(ADDED)
    assert count(of_outputs(outputs)).by_job[ADDED] > 0
    laid = files(outputs, objectives.load())
    assert "NoticesForged" in laid["rules/modules.yml"] and "runbooks/NoticesForged.md" in laid
    assert "NoticesForged" in [alert.name for alert in rules.alerts(rules.groups(objectives.load(), outputs))]


def test_it_is_judged() -> None:
    assert ADDED in objectives.load().names and service_of("bulletin.pin") == ADDED
    scenario = scenarios.load("loadtests/journeys/bulletin/scenario.yaml")
    load = healthy_load()
    unreached = [operation.model_copy(update={"name": f"bulletin.{step}", "service": ADDED, "requests": 0})
                 for operation, step in zip(load.operations, ("pin", "read"), strict=False)]  # fmt: skip
    verdict = judge(objectives.load(), scenario, load.model_copy(update={"operations": unreached}), healthy_evidence())
    assert verdict.verdict != "GO" and ADDED in repr(verdict.reasons)


def test_it_has_a_place_on_the_site() -> None:
    import services.portal.areas
    from services.portal.area import discover

    assert "公告栏" in [entry.label for entry in discover(services.portal.areas).entries]
    assert ADDED in NAMES
