"""What hosts are told, computed from outputs and secrets."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible.errors import AnsibleError

from infra.outputs import EnvironmentOutputs
from infra.services import GIVEN, modules_with_tables
from monitoring.jobs import targets
from tests.support import provisioned
from tests.support.playbook_plugins import load

filters = load("filter", "yiwang")


@pytest.fixture
def outputs() -> dict[str, Any]:
    return provisioned.outputs().model_dump(mode="json")


def tenant(outputs: dict[str, Any], code: str) -> dict[str, Any]:
    wanted: dict[str, Any] = next(listed for listed in outputs["tenants"] if listed["code"] == code)
    return wanted


def test_tenants_document_names_every_live_tenant_and_no_secret(outputs: dict[str, Any]) -> None:
    document = filters.tenants_document(outputs, "/etc/yiwang/authority.pem")
    assert [listed["code"] for listed in document["tenants"]] == sorted(provisioned.CODES)
    assert document["issuer"] == "https://id.province.localhost:8443"
    assert document["query"] == "https://query.province.localhost:8443"
    assert document["ca_file"] == "/etc/yiwang/authority.pem"
    assert provisioned.secrets()["tenants"]["330106"]["client_secret"] not in repr(document)


def test_a_suspended_tenant_is_nobodys_neighbour_but_keeps_its_pool(outputs: dict[str, Any]) -> None:
    tenant(outputs, "330106")["status"] = "suspended"
    assert "330106" not in [listed["code"] for listed in filters.tenants_document(outputs, None)["tenants"]]
    assert "t330106.province.localhost" not in filters.gateway_sites(outputs, "cell-a")
    assert "t330106" in [pool["database"] for pool in filters.pgbouncer_pools(outputs, "cell-a", "application", 8)]


def test_without_a_private_authority_there_is_no_file_to_trust(outputs: dict[str, Any]) -> None:
    outputs["foundation"]["authority_certificate"] = ""
    assert filters.tenants_document(outputs, "/etc/yiwang/authority.pem")["ca_file"] is None


def test_a_tenant_without_a_database_where_it_is_served_is_refused(outputs: dict[str, Any]) -> None:
    tenant(outputs, "330106")["databases"][0]["cell"] = "cell-b"
    with pytest.raises(AnsibleError, match="330106: no database in cell-a"):
        filters.tenants_document(outputs, None)


def test_a_service_gets_the_secrets_of_its_own_cell_alone(outputs: dict[str, Any]) -> None:
    tenant(outputs, "330106")["cell"] = "cell-b"
    here = filters.service_secrets(provisioned.secrets(), outputs, "cell-a", "application")
    affairs = here["affairs"]
    assert list(here) == modules_with_tables()
    assert "330106" not in affairs["tenants"] and "330112" in affairs["tenants"]
    assert set(affairs) == {"tenants", "cache_password"}
    assert set(affairs["tenants"]["330112"]) == {"database_password", *GIVEN}


def test_a_module_gets_its_own_account_and_the_secrets_that_its_row_names(outputs: dict[str, Any]) -> None:
    secrets = provisioned.secrets()
    here = filters.service_secrets(secrets, outputs, "cell-a", "application")
    affairs, portal = (here[module]["tenants"]["330106"] for module in ("affairs", "portal"))
    measures = filters.tenants_exporter_secrets(secrets, outputs, "cell-a")["tenants"]["330106"]
    assert set(portal) == {"database_password", "client_secret"} and set(measures) == {"database_password"}
    for account, entry in {"affairs": affairs, "portal": portal, "measures": measures}.items():
        assert entry["database_password"] == provisioned.secret(f"330106 database {account}")
    row = next(row for row in outputs["cells"][1]["services"] if row["name"] == "portal")
    row["tenant_secrets"].append("check_code_key")
    widened = filters.service_secrets(secrets, outputs, "cell-a", "application")["portal"]["tenants"]["330106"]
    assert "check_code_key" in widened, "the twin: a row that names more gets more"


def test_a_stack_that_was_brought_up_before_modules_had_accounts_is_named(outputs: dict[str, Any]) -> None:
    secrets = provisioned.secrets()
    del secrets["tenants"]["330106"]["database_passwords"]
    with pytest.raises(AnsibleError, match=r"no stack has a password of \w+ for tenant 330106: pulumi up"):
        filters.cell_databases(outputs, secrets, "cell-a", 8)


def test_the_tenants_exporter_gets_no_account_of_a_cache(outputs: dict[str, Any]) -> None:
    secrets = filters.tenants_exporter_secrets(provisioned.secrets(), outputs, "cell-a")
    assert list(secrets) == ["tenants"] and list(secrets["tenants"]) == provisioned.CODES


def test_a_service_that_the_table_gets_is_routed_pooled_migrated_and_told_its_secrets(outputs: dict[str, Any]) -> None:
    """Also where several of the core share a role's hosts."""
    [core, cell] = outputs["cells"]
    licences = cell["services"][0] | {
        "name": "licences", "port": 8005, "prefix": "/api/affairs/licences/", "tenant_secrets": ["seal"]
    }  # fmt: skip
    notify = core["services"][1] | {"name": "notify", "port": 8006, "label": "notify", "own_secrets": ["carrier"]}
    cell["services"].append(licences)
    core["services"].append(notify)
    core["database"]["databases"]["notify"] = "notify_owner"
    secrets = provisioned.secrets()
    secrets["cells"]["cell-a"]["cache"]["licences"] = secrets["cells"]["cell-core"]["cache"]["notify"] = "cache"
    secrets["cells"]["cell-core"]["services"] = {"notify": {"carrier": "own secret"}}
    for code, kept in secrets["tenants"].items():
        kept["database_passwords"]["licences"], kept["made"]["seal"] = "licences password", f"{code} seal"
    secrets["cells"]["cell-core"]["databases"]["notify"] = {"owner": "owner", "application": "application"}
    backends = filters.gateway_backends(outputs, "cell-a")
    routed = [backend["name"] for backend in backends]
    assert (routed[0], routed[-1]) == ("licences", "portal"), "the longest prefix first"
    assert {server["name"] for server in backends[0]["servers"]} == {f"cell-a-application-{n}" for n in (1, 2)}
    assert "notify.province.localhost notify" in filters.gateway_sites(outputs, "cell-core").splitlines()
    pools = filters.pgbouncer_pools(outputs, "cell-core", "query", 8)
    assert [pool["database"] for pool in pools] == ["query", "notify"]
    assert filters.pgbouncer_accounts(secrets, outputs, "cell-core", "query")["notify_app"] == "application"
    assert filters.cell_databases(outputs, secrets, "cell-core", 8)[-1]["modules"] == {"notify": "notify_app"}
    database = filters.cell_databases(outputs, secrets, "cell-a", 8)[0]
    assert list(database["modules"]) == [*modules_with_tables(), "licences"]
    assert database["accounts"]["t330000_licences"] == "licences password"
    assert "t330000_licences" in filters.pgbouncer_accounts(secrets, outputs, "cell-a", "application")
    assert filters.service_secrets(secrets, outputs, "cell-core", "query")["notify"] == {
        "cache_password": "cache", "database_password": "application", "own": {"carrier": "own secret"}
    }  # fmt: skip
    told = filters.service_secrets(secrets, outputs, "cell-a", "application")["licences"]["tenants"]["330106"]
    assert told == {"database_password": "licences password", "seal": "330106 seal"}


def test_only_people_on_tenants_sites_get_a_page_for_what_is_out(outputs: dict[str, Any]) -> None:
    backends = [backend for cell in ("cell-core", "cell-a") for backend in filters.gateway_backends(outputs, cell)]
    assert [backend["name"] for backend in backends if backend["pages"]] == ["portal"]


def test_identity_knows_hashes_of_client_secrets_and_not_the_secrets(outputs: dict[str, Any]) -> None:
    identity = filters.service_secrets(provisioned.secrets(), outputs, "cell-core", "identity")["identity"]
    secret = provisioned.secrets()["tenants"]["330106"]["client_secret"]
    assert identity["clients"]["330106"] == hashlib.sha256(secret.encode()).hexdigest()
    assert set(identity["clients"]) == {*provisioned.CODES, "operator"}
    assert secret not in repr(identity)


def test_a_tenant_that_no_stack_has_secrets_of_is_named(outputs: dict[str, Any]) -> None:
    secrets = provisioned.secrets()
    del secrets["tenants"]["330112"]
    with pytest.raises(AnsibleError, match="no stack has secrets of tenant 330112"):
        filters.pgbouncer_accounts(secrets, outputs, "cell-a", "application")


def test_pools_follow_the_tenants_settings(outputs: dict[str, Any]) -> None:
    tenant(outputs, "330106")["settings"]["database_connections"] = 7
    sizes = {pool["database"]: pool["size"] for pool in filters.pgbouncer_pools(outputs, "cell-a", "application", 8)}
    assert sizes["t330106"] == 7 and sizes["t330112"] == 2
    assert filters.pgbouncer_pools(outputs, "cell-core", "identity", 8) == [{"database": "identity", "size": 8}]
    assert filters.pgbouncer_pools(outputs, "cell-core", "gateway", 8) == []


@pytest.mark.parametrize(("connections", "fits"), [(96, True), (97, False)])
def test_pools_of_all_hosts_stay_within_what_the_instance_spares(
    outputs: dict[str, Any], connections: int, fits: bool
) -> None:
    """13 tenants with 2 connections and one with more, on two hosts: 2 × (26 + n) of 0.8 × 305 = 244."""
    outputs["cells"][1]["database"]["max_connections"] = 305
    tenant(outputs, "330106")["settings"]["database_connections"] = connections
    if fits:
        filters.pgbouncer_pools(outputs, "cell-a", "application", 8)
        return
    with pytest.raises(AnsibleError, match=r"cell-a: .* may open 246 connections, .* spares 244"):
        filters.pgbouncer_pools(outputs, "cell-a", "application", 8)


def test_each_host_tells_of_itself_and_one_of_each_cell_of_what_nobody_else_may_ask(outputs: dict[str, Any]) -> None:
    exporters = {
        host["name"]: filters.exporters_of(outputs, cell["cell"], host["name"])
        for cell in outputs["cells"]
        for host in cell["hosts"]
    }
    assert exporters["cell-a-gateway-1"] == ["host"]
    assert exporters["cell-core-query-2"] == ["host", "pgbouncer"]
    assert exporters["cell-a-application-1"] == ["host", "pgbouncer", "database", "cache", "tenants"]
    assert exporters["cell-a-application-2"] == ["host", "pgbouncer"]
    assert exporters["cell-core-monitoring-1"] == ["host", "database", "cache"]


def test_exporters_run_where_prometheus_looks_for_them(outputs: dict[str, Any]) -> None:
    wanted = {(target.job, target.labels["host"]) for target in targets(EnvironmentOutputs.model_validate(outputs))}
    exporters = {"host", "pgbouncer", "database", "cache", "tenants"}
    assert {(job, host) for job, host in wanted if job in exporters} == {
        (exporter, host["name"])
        for cell in outputs["cells"]
        for host in cell["hosts"]
        for exporter in filters.exporters_of(outputs, cell["cell"], host["name"])
    }


def test_onboarding_looks_at_one_tenants_database(outputs: dict[str, Any]) -> None:
    everything = filters.cell_databases(outputs, provisioned.secrets(), "cell-a", 8)
    assert len(everything) == len(provisioned.CODES)
    assert [
        database["name"] for database in filters.cell_databases(outputs, provisioned.secrets(), "cell-a", 8, "330106")
    ] == ["t330106"]
    assert filters.cell_databases(outputs, provisioned.secrets(), "cell-core", 8, "330106") == []
    assert everything[0]["connections"] == 4 and list(everything[0]["modules"]) == modules_with_tables()
    assert list(everything[0]["accounts"]) == [f"t330000_{account}" for account in (*modules_with_tables(), "measures")]
    assert (everything[0]["measures"], everything[0]["former"]) == ("t330000_measures", ["t330000_app"])


def test_the_gateway_of_a_cell_knows_its_own_sites(outputs: dict[str, Any]) -> None:
    core = filters.gateway_sites(outputs, "cell-core").splitlines()
    assert core == ["id.province.localhost identity", "query.province.localhost query"]
    assert "t330106.province.localhost tenant" in filters.gateway_sites(outputs, "cell-a").splitlines()
    assert "t330106.province.localhost 200" in filters.gateway_limits(outputs, "cell-a").splitlines()


GROUPS = {
    "cell_core_identity": [f"cell-core-identity-{n}" for n in (1, 2)],
    "cell_core_query": ["cell-core-query-1"],
    "cell_a_application": [f"cell-a-application-{n}" for n in range(1, 12)],
    "rollout_stale": ["cell-a-application-3", "cell-a-application-4"],
}
HOSTS = [host for name, hosts in GROUPS.items() if name.startswith("cell") for host in hosts]


def test_a_batch_takes_one_host_of_each_group() -> None:
    batches = filters.rolling_order(HOSTS, GROUPS, [])
    assert batches[0] == ["cell-a-application-1", "cell-core-identity-1", "cell-core-query-1"]
    assert batches[1] == ["cell-a-application-2", "cell-core-identity-2"]
    assert [batch[0] for batch in batches[2:]] == [f"cell-a-application-{n}" for n in range(3, 12)]


def test_hosts_that_serve_nobody_come_first_and_together() -> None:
    idle = ["cell-core-identity-1", "cell-core-identity-2"]
    batches = filters.rolling_order(["cell-a-application-1", *idle], GROUPS, idle)
    assert batches == [idle, ["cell-a-application-1"]]
    assert filters.rolling_order([], GROUPS, []) == []
