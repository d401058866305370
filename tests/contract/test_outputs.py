"""The seam between `infra/` and everything after it: what the programs export is what the types promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from infra.outputs import CellOutputs, EnvironmentOutputs, merge
from infra.registry import load_registry
from infra.render import Rendering
from infra.schemas import FOLDER, TYPES, schema_of
from infra.secret_outputs import CellSecrets, TenantSecrets
from infra.services import modules_with_tables
from tests.support.rendered import merged_outputs, rendered_stacks


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rendering]:
    return rendered_stacks(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def outputs(stacks: dict[str, Rendering]) -> EnvironmentOutputs:
    return merged_outputs(stacks)


def test_all_stacks_merge_into_one_environment(outputs: EnvironmentOutputs) -> None:
    assert [cell.cell for cell in outputs.cells] == ["cell-a", "cell-core"]
    assert {tenant.code for tenant in outputs.tenants} == {
        division.code for division in load_registry().divisions.values() if division.provisioned
    }
    assert outputs.issuer == "https://id.render.localhost:8443"


def test_a_cell_says_how_to_reach_everything(outputs: EnvironmentOutputs) -> None:
    core = outputs.cells[1]
    assert {host.role for host in core.hosts} == {"gateway", "identity", "query", "monitoring"}
    assert core.hosts[0].name == "cell-core-gateway-1"
    assert core.database.port == 5432
    assert (core.database.max_connections, core.database.storage_gib) == (400, 20)
    assert core.database.databases == {"identity": "identity_owner", "query": "query_owner"}
    assert core.cache.accounts == {"identity": "identity", "query": "query", "monitoring": "monitoring"}
    assert (core.gateway.name, core.gateway.address, core.gateway.port) == ("alb.example", "10.77.192.4", 8443)
    assert set(outputs.cells[0].cache.accounts) == {*modules_with_tables(), "monitoring"}
    assert outputs.cells[0].database.databases == {}


def test_the_monitoring_host_is_where_signals_are_asked_for(outputs: EnvironmentOutputs) -> None:
    assert outputs.prometheus == "http://10.77.0.10:9090"
    assert outputs.alertmanager == "http://10.77.0.10:9093"
    assert outputs.receiver == "http://10.77.0.10:9095"


def test_outputs_from_before_monitoring_are_still_read(outputs: EnvironmentOutputs) -> None:
    document = outputs.model_dump(mode="json")
    for cell in document["cells"]:
        cell["hosts"] = [host for host in cell["hosts"] if host["role"] != "monitoring"]
        del cell["database"]["storage_gib"]
    older = EnvironmentOutputs.model_validate(document)
    assert (older.prometheus, older.alertmanager, older.receiver) == (None, None, None)
    assert older.cells[0].database.storage_gib is None


def test_a_tenants_descriptor_is_whole(outputs: EnvironmentOutputs) -> None:
    xihu = next(tenant for tenant in outputs.tenants if tenant.code == "330106")
    assert xihu.url == "https://xihu.render.localhost:8443"
    assert (xihu.parent, xihu.cell, xihu.bucket) == ("330100", "cell-a", "yw-test-render-hangzhou-local")
    assert xihu.databases[0].model_dump() == {
        "cell": "cell-a",
        "name": "t330106",
        "owner": "t330106_owner",
        "application": "t330106_app",
    }


def test_secrets_are_of_their_types_and_in_no_contract(stacks: dict[str, Rendering]) -> None:
    core = CellSecrets.model_validate(stacks["cell-core"].outputs["secrets"])
    assert core.identity_signing_key
    assert set(core.databases) == {"identity", "query"}
    assert set(core.cache) == {"identity", "query", "monitoring"}
    tenants_cell = CellSecrets.model_validate(stacks["cell-a"].outputs["secrets"])
    assert tenants_cell.identity_signing_key is None
    assert set(tenants_cell.cache) == {*modules_with_tables(), "monitoring"}
    assert tenants_cell.monitoring_database_password != tenants_cell.database_privileged_password
    tenants = {code: TenantSecrets.model_validate(kept) for code, kept in stacks["hangzhou"].outputs["secrets"].items()}
    assert tenants["330106"].object_access_key_secret == "the-key-itself"
    contracts = json.dumps([rendering.outputs["contract"] for rendering in stacks.values()])
    leaked = [kept.client_secret for kept in tenants.values() if kept.client_secret in contracts]
    assert leaked == []
    assert core.database_privileged_password not in contracts
    assert core.monitoring_database_password not in contracts


def test_one_tenants_secrets_are_no_others(stacks: dict[str, Rendering]) -> None:
    tenants = stacks["hangzhou"].outputs["secrets"].values()
    kept = [value for tenant in tenants for value in tenant.values() if isinstance(value, str)]
    kept += [password for tenant in tenants for password in tenant["database_passwords"].values()]
    own = [value for value in kept if value != "the-key-itself" and not value.startswith("id-of-")]
    accounts = {*modules_with_tables(), "measures"}
    assert len(own) == len(set(own)) == 14 * (4 + len(accounts))
    assert set(next(iter(tenants))["database_passwords"]) == accounts


def test_the_merged_outputs_are_what_their_schema_says(outputs: EnvironmentOutputs) -> None:
    schema = json.loads((FOLDER / "outputs.v1.json").read_text())
    document = outputs.model_dump(mode="json")
    Draft202012Validator(schema).validate(document)
    del document["cells"][0]["gateway"]["name"]
    with pytest.raises(ValidationError, match="'name' is a required property"):
        Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_schema_changes_only_in_sight(name: str) -> None:
    """Write them again with `python -m infra.schemas`; raise the version when an older reader cannot take it."""
    assert (FOLDER / f"{name}.json").read_text() == schema_of(name)


def test_no_schema_is_left_over() -> None:
    assert {Path(path).stem for path in FOLDER.glob("*.json")} == set(TYPES)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"schema_version": 2}, "schema_version"), ({"surprise": 1}, "surprise"), ({"hosts": None}, "hosts")],
)
def test_a_contract_of_another_version_or_shape_is_refused(
    change: dict[str, Any], said: str, stacks: dict[str, Rendering]
) -> None:
    contract = {**stacks["cell-a"].outputs["contract"], **change}
    CellOutputs.model_validate(stacks["cell-a"].outputs["contract"])
    with pytest.raises(ValueError, match=said):
        merge("test-render", [stacks["foundation"].outputs["contract"], contract])


def test_an_environment_without_a_foundation_is_refused(stacks: dict[str, Rendering]) -> None:
    with pytest.raises(ValueError, match=r"pulumi up -s test-render\.foundation"):
        merge("test-render", [stacks["cell-a"].outputs["contract"]])
