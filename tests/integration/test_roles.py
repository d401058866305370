"""The playbooks on real hosts: systemd, HAProxy, PgBouncer, PostgreSQL, Prometheus, with stand-ins for the services.

Tests run in the order of an environment's life, on one bed, and share runs: a playbook takes longer than what it does.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator

import pg8000.native
import pytest

from monitoring.prometheus import Prometheus
from tests.integration.roles.asking import ask
from tests.integration.roles.bed import STAND_IN, Bed, podman, secret
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)

SITE = "t330106.roles.localhost"
SHAPE = {
    "cell-core": {"gateway": 1, "identity": 1, "query": 1, "monitoring": 1},
    "cell-a": {"gateway": 2, "application": 1},
}
FIRST, WATCH = "cell-a-application-1", "cell-core-monitoring-1"
# job → hosts that have it while cell-a has one application host
SCRAPED = {
    "host": {"cell-core-gateway-1", "cell-core-identity-1", "cell-core-query-1", WATCH, "cell-a-gateway-1",
             "cell-a-gateway-2", FIRST},
    "gateway": {"cell-core-gateway-1", "cell-a-gateway-1", "cell-a-gateway-2"},
    "affairs": {FIRST}, "portal": {FIRST}, "identity": {"cell-core-identity-1"}, "query": {"cell-core-query-1"},
    "pgbouncer": {"cell-core-identity-1", "cell-core-query-1", FIRST},
    "tenants": {FIRST}, "database": {FIRST, WATCH}, "cache": {FIRST, WATCH},
    "prometheus": {WATCH}, "alertmanager": {WATCH}, "receiver": {WATCH},
}  # fmt: skip


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    bed = Bed(
        tmp_path_factory.mktemp("bed"), name="yw-test-roles-it", network="10.92.0.0/24",
        shape=copy.deepcopy(SHAPE), codes=["330000", "330100", "330106"], cores=1.0,
    )  # fmt: skip
    bed.down()
    shutil.copytree(STAND_IN, bed.folder / "source")
    try:
        bed.up()
        bed.play("site.yml")
        yield bed
    finally:
        bed.down()


def changed(output: str) -> dict[str, int]:
    return {host: int(count) for host, count in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", output, re.MULTILINE)}


def gateways(bed: Bed) -> list[str]:
    return [bed.address("cell-a-gateway-1"), bed.address("cell-a-gateway-2")]


def on(bed: Bed, host: str, *command: str) -> str:
    return podman("exec", f"{bed.name}-{host}", *command).strip()


def main_pids(bed: Bed, host: str, *units: str) -> dict[str, str]:
    return {unit: on(bed, host, "systemctl", "show", "--property", "MainPID", "--value", unit) for unit in units}


def metrics(bed: Bed, host: str, port: int) -> str:
    return bytes(ask(bed.address(host), host, "/metrics", port=port)[2]).decode()


def unseen(bed: Bed, wanted: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Jobs and hosts that Prometheus does not find up, and those that it should not know."""
    with Prometheus(f"http://{bed.address(WATCH)}:9090") as prometheus:
        up = {(target.job, target.host) for target in prometheus.targets() if target.up}
    return up ^ {(job, host) for job, hosts in wanted.items() for host in hosts}


def test_sites_reach_their_services_through_the_gateways(bed: Bed) -> None:
    for gateway in gateways(bed):
        assert ask(gateway, SITE, "/")[2]["service"] == "portal"
        assert ask(gateway, f"{SITE}:8443", "/api/affairs/items")[2]["service"] == "affairs"
    core = bed.address("cell-core-gateway-1")
    assert ask(core, "id.roles.localhost")[2]["service"] == "identity"
    assert ask(core, "query.roles.localhost")[2]["service"] == "query"


def test_each_tenants_account_reaches_its_own_database_through_pgbouncer(bed: Bed) -> None:
    answer = ask(bed.address("cell-a-application-1"), SITE, "/databases", port=8001)[2]
    assert answer == {f"t{code}": f"t{code}_app of t{code}" for code in bed.codes}


@pytest.mark.parametrize("account", ["app", "owner"])
def test_a_tenants_account_enters_no_other_database(bed: Bed, account: str) -> None:
    purpose = {"app": "database_application_password", "owner": "database_owner_password"}[account]
    password = secret(f"330106 {purpose}")
    host = bed.address("cell-a-database")
    pg8000.native.Connection(f"t330106_{account}", host=host, database="t330106", password=password).close()
    with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
        pg8000.native.Connection(f"t330106_{account}", host=host, database="t330100", password=password)


def test_an_applications_account_changes_data_and_no_schema(bed: Bed) -> None:
    password = secret("330106 database_application_password")
    connection = pg8000.native.Connection(
        "t330106_app", host=bed.address("cell-a-database"), database="t330106", password=password
    )
    connection.run("INSERT INTO affairs.notes VALUES ('x')")
    connection.run("SELECT note FROM affairs.notes")
    for forbidden in ("CREATE TABLE public.x (a int)", "CREATE SCHEMA x", "DROP TABLE affairs.notes"):
        with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
            connection.run(forbidden)
    connection.close()


def test_an_unknown_host_is_misdirected_and_a_request_keeps_its_id(bed: Bed) -> None:
    status, headers, problem = ask(gateways(bed)[0], "nobody.roles.localhost", headers={"X-Request-Id": "abcdef-0123"})
    assert (status, headers["x-request-id"], problem["status"]) == (421, "abcdef-0123", 421)
    assert headers["content-type"] == "application/problem+json"
    assert len(ask(gateways(bed)[0], SITE)[1]["x-request-id"]) == 36


def test_a_tenant_over_its_limit_is_slowed_and_its_neighbour_is_not(bed: Bed) -> None:
    statuses = {ask(gateways(bed)[0], "t330100.roles.localhost")[0] for _ in range(40)}
    assert statuses == {200, 429}
    assert ask(gateways(bed)[0], "t330000.roles.localhost")[0] == 200


def test_a_drained_gateway_fails_its_own_health_check(bed: Bed) -> None:
    gateway = gateways(bed)[0]
    order = "echo 'set server self/self state {}' | nc -U -N /run/haproxy/admin.sock"
    assert ask(gateway, "any", "/gateway-healthz")[0] == 200
    on(bed, "cell-a-gateway-1", "sh", "-c", order.format("maint"))
    assert ask(gateway, "any", "/gateway-healthz")[0] == 503
    assert ask(gateway, SITE)[0] == 200
    on(bed, "cell-a-gateway-1", "sh", "-c", order.format("ready"))
    assert ask(gateway, "any", "/gateway-healthz")[0] == 200


def test_the_public_sees_no_figures(bed: Bed) -> None:
    core = bed.address("cell-core-gateway-1")
    for path in ("/metrics", "/metrics/", "/%6detrics", "/metrics?x", "/healthz", "/readyz"):
        assert ask(gateways(bed)[0], SITE, path)[0] == 404, path
    assert ask(gateways(bed)[0], SITE, "/metrics")[2]["type"] == "urn:yiwang:problem:not-found"
    assert {ask(core, "query.roles.localhost", path)[0] for path in ("/metrics", "/healthz")} == {404}
    assert ask(core, "query.roles.localhost", "/readyz")[0] == 200
    # the twin: whoever is inside the network is answered
    assert {ask(bed.address(FIRST), SITE, path, port=8002)[0] for path in ("/metrics", "/healthz", "/readyz")} == {200}


def test_everything_that_was_deployed_is_scraped(bed: Bed) -> None:
    wait_until(lambda: not unseen(bed, SCRAPED), 60, "every target is up", every=1)
    assert f'tenant_notes{{tenant="t{bed.codes[0]}"}}' in metrics(bed, FIRST, 9128)
    assert "pgbouncer_up 1" in metrics(bed, "cell-core-identity-1", 9127)
    assert 'pg_database_size_bytes{datname="t330106"' in metrics(bed, FIRST, 9187)
    assert "redis_up 1" in metrics(bed, FIRST, 9121) and "redis_up 1" in metrics(bed, WATCH, 9121)
    assert 'mountpoint="/"' in metrics(bed, WATCH, 9100)


def monitoring_enters(bed: Bed, database: str) -> pg8000.native.Connection:
    return pg8000.native.Connection("monitoring", host=bed.address("cell-a-database"), database=database,
                                    password=secret("cell-a monitoring"))  # fmt: skip


def test_monitoring_reads_figures_and_no_tenants_data(bed: Bed) -> None:
    with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
        monitoring_enters(bed, "t330106")
    connection = monitoring_enters(bed, "postgres")
    assert connection.run("SELECT pg_database_size('t330106') > 0, rolsuper FROM pg_roles WHERE rolname = current_user")
    for forbidden in ("CREATE DATABASE x", "CREATE ROLE x", "SELECT pg_read_file('PG_VERSION')"):
        with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
            connection.run(forbidden)
    connection.close()


def test_secrets_are_for_their_service_alone(bed: Bed) -> None:
    listed = on(bed, FIRST, "stat", "--format", "%a %U %n", "/etc/yiwang/secrets/affairs.json",
                "/etc/yiwang/secrets/portal.json", "/etc/yiwang/secrets/tenants-exporter.json",
                "/etc/yiwang/secrets/database-exporter.env", "/etc/yiwang/secrets/cache-exporter.env",
                "/etc/pgbouncer/userlist.txt")  # fmt: skip
    assert listed.splitlines() == [
        "400 yiwang-affairs /etc/yiwang/secrets/affairs.json",
        "400 yiwang-portal /etc/yiwang/secrets/portal.json",
        "400 yiwang-tenants-exporter /etc/yiwang/secrets/tenants-exporter.json",
        "400 root /etc/yiwang/secrets/database-exporter.env",
        "400 root /etc/yiwang/secrets/cache-exporter.env",
        "600 postgres /etc/pgbouncer/userlist.txt",
    ]
    for host, cell in ((FIRST, "cell-a"), (WATCH, "cell-core")):
        commands = on(bed, host, "ps", "-eo", "args")
        assert "prometheus-redis-exporter" in commands and "prometheus-postgres-exporter" in commands
        assert secret(f"{cell} monitoring") not in commands and secret("monitoring cache") not in commands


def test_onboarding_one_tenant_restarts_nothing(bed: Bed) -> None:
    def running() -> list[dict[str, str]]:
        return [
            main_pids(bed, FIRST, "pgbouncer", "yiwang-affairs", "yiwang-portal", "yiwang-tenants-exporter"),
            main_pids(bed, "cell-a-gateway-1", "haproxy"),
            main_pids(bed, WATCH, "prometheus", "prometheus-alertmanager", "yiwang-receiver"),
        ]

    before = running()
    bed.codes.append("330127")
    bed.tell()
    bed.add_database(bed.outputs().cells[1], *bed.databases("cell-a")[-1])
    counts = changed(bed.play("site.yml", "--tags", "tenants", "-e", "tenant=330127").stdout)
    assert ask(gateways(bed)[1], "t330127.roles.localhost")[0] == 200
    assert ask(bed.address(FIRST), SITE, "/databases", port=8001)[2]["t330127"] == "t330127_app of t330127"
    assert 'tenant_notes{tenant="t330127"}' in metrics(bed, FIRST, 9128)
    with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
        monitoring_enters(bed, "t330127")
    assert running() == before
    assert counts["cell-core-gateway-1"] == 0


def test_run_again_nothing_changes_and_no_secret_is_printed_even_when_asked_for_everything(bed: Bed) -> None:
    output = bed.play("site.yml", "-vvv", "--diff").stdout
    counts = changed(output)
    assert len(counts) == 9 and not any(counts.values()), counts
    for purpose in ("330106 client_secret", "330106 database_application_password", "cell-a admin", "affairs cache",
                    "cell-a monitoring", "monitoring cache"):  # fmt: skip
        assert secret(purpose) not in output, purpose


def test_check_mode_tells_of_a_change_and_makes_none(bed: Bed) -> None:
    on(bed, FIRST, "sed", "-i", "s/query_wait_timeout.*/query_wait_timeout = 1/", "/etc/pgbouncer/pgbouncer.ini")
    counts = changed(bed.play("site.yml", "--check").stdout)
    assert {host for host, count in counts.items() if count} == {FIRST}, counts
    assert "query_wait_timeout = 1" in on(bed, FIRST, "cat", "/etc/pgbouncer/pgbouncer.ini")
    bed.play("site.yml", "--tags", "tenants", "--limit", FIRST)
    assert "query_wait_timeout = 5" in on(bed, FIRST, "cat", "/etc/pgbouncer/pgbouncer.ini")


def test_a_database_opened_by_hand_is_closed_again(bed: Bed) -> None:
    """The known-bad twin of the isolation: the play finds it, says so and mends it."""
    cell = bed.outputs().cells[1]
    root = bed.connect(cell)
    root.run("GRANT CONNECT ON DATABASE t330100 TO PUBLIC")
    root.run("GRANT CONNECT ON DATABASE t330106 TO monitoring")
    root.run("GRANT pg_read_all_data TO monitoring")
    root.close()
    inside = bed.connect(cell, "t330000")
    inside.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
    inside.close()
    monitoring_enters(bed, "t330106").close()
    counts = changed(bed.play("site.yml", "--tags", "tenants", "--limit", "cell-a-database").stdout)
    assert counts["cell-a-database"] == 1
    with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
        pg8000.native.Connection("t330106_app", host=cell.database.host, database="t330100",
                                 password=secret("330106 database_application_password"))  # fmt: skip
    with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
        monitoring_enters(bed, "t330106")
    watcher = monitoring_enters(bed, "postgres")
    assert watcher.run("SELECT pg_has_role('pg_read_all_data', 'MEMBER')") == [[False]]
    watcher.close()


def test_prometheus_never_sees_a_broken_rule(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of all runs before: definitions that Prometheus would refuse do not come to where it looks."""
    loaded = "prometheus_config_last_reload_success_timestamp_seconds"
    before = re.findall(f"^{loaded}.*", metrics(bed, WATCH, 9090), re.MULTILINE)
    kept = {name: on(bed, WATCH, "cat", f"/etc/prometheus/{name}") for name in ("prometheus.yml", "alertmanager.yml")}
    broken = {**kept, "rules/broken.yml": "groups: [{name: x, rules: [{record: a, expr: 'sum('}]}]"}
    (bed.folder / "broken.json").write_text(json.dumps(broken))
    monkeypatch.setenv("YIWANG_MONITORING", str(bed.folder / "broken.json"))
    done = bed.play("site.yml", "--tags", "tenants", "--limit", WATCH, check=False)
    assert done.returncode != 0 and "refused by `promtool check rules" in done.stdout
    assert "broken.yml" not in on(bed, WATCH, "ls", "/etc/prometheus/rules")
    assert re.findall(f"^{loaded}.*", metrics(bed, WATCH, 9090), re.MULTILINE) == before


def test_without_any_service_the_gateway_says_when_to_come_again(bed: Bed) -> None:
    on(bed, FIRST, "systemctl", "stop", "yiwang-portal", "yiwang-pgbouncer-exporter")
    status, headers, problem = ask(gateways(bed)[0], SITE)
    assert (status, headers["retry-after"], problem["type"]) == (503, "2", "urn:yiwang:problem:unavailable")
    wait_until(lambda: ("pgbouncer", FIRST) in unseen(bed, SCRAPED), 30, "Prometheus misses the exporter")


def test_one_run_completes_a_host_that_the_plan_added_and_mends_the_others(bed: Bed) -> None:
    added = bed.grow("cell-a", "application")
    counts = changed(bed.play("site.yml").stdout)
    assert not any(counts[host] for host in ("cell-core-gateway-1", "cell-core-identity-1", "cell-core-query-1"))
    assert ask(bed.address(added), SITE, "/databases", port=8001)[2]["t330106"] == "t330106_app of t330106"
    answered = {ask(gateway, SITE, "/x")[2]["host"] for gateway in gateways(bed) for _ in range(6)}
    assert answered == {FIRST, added}
    on_it = {job: {*SCRAPED[job], added} for job in ("host", "affairs", "portal", "pgbouncer")}
    wait_until(lambda: not unseen(bed, SCRAPED | on_it), 60, "the new host is scraped", every=1)


def running(bed: Bed) -> dict[str, str]:
    """The release of what runs on each host, exporters and receiver among it, as they say themselves."""
    ports = {FIRST: (9127, 9128), "cell-a-application-2": (9127,), "cell-core-identity-1": (9127,), WATCH: (9095,)}
    told = {f"{host}:{port}": metrics(bed, host, port) for host, ours in ports.items() for port in ours}
    services = {
        f"{host}:8001": ask(bed.address(host), SITE, "/", port=8001)[2]["tree"]
        for host in ports
        if "application" in host
    }
    exporters = {name: re.findall(r'^tree{path="([^"]+)"}', text, re.MULTILINE)[0] for name, text in told.items()}
    return {name: path.split("/")[-2] for name, path in (services | exporters).items()}


def settled(bed: Bed) -> dict[str, str]:
    """As `running`, once units that were restarted answer again."""

    def look() -> dict[str, str]:
        try:
            return running(bed)
        except (OSError, IndexError):
            return {}

    return wait_until(look, 30, "services, exporters and receiver answer", every=0.5)


def test_a_release_that_does_not_start_stops_at_the_first_host(bed: Bed) -> None:
    """The known-bad twin of the next test: the other host goes on answering, and nothing follows the release."""
    before = settled(bed)
    path = bed.folder / "source" / "services" / "affairs" / "__main__.py"
    good = path.read_text()
    path.write_text("raise SystemExit('broken')\n")
    done = bed.play("deploy.yml", "-e", "rollout_start_seconds=5", check=False)
    path.write_text(good)
    assert done.returncode != 0
    links = {on(bed, host, "readlink", "/opt/yiwang/current") for host in (FIRST, "cell-a-application-2")}
    assert len(links) == 2
    assert {ask(gateway, SITE, "/api/affairs/x")[0] for gateway in gateways(bed)} == {200}
    assert metrics(bed, FIRST, 9127) and running_release(bed, WATCH) == set(before.values())


def running_release(bed: Bed, host: str) -> set[str]:
    return {on(bed, host, "readlink", "/opt/yiwang/current").rpartition("/")[2]}


def test_services_exporters_and_receiver_follow_a_release_and_go_back(bed: Bed) -> None:
    first = running_release(bed, WATCH)
    with (bed.folder / "source" / "monitoring" / "exporters" / "__init__.py").open("a") as source:
        source.write("# another release\n")
    bed.play("deploy.yml")
    second = set(settled(bed).values())
    assert len(second) == 1 and second != first
    bed.play("rollback.yml", "-e", f"version={first.copy().pop()}")
    assert set(settled(bed).values()) == first
