"""The playbooks on real hosts: systemd, HAProxy, PgBouncer, PostgreSQL, with stand-ins for the services.

Tests run in the order of an environment's life, on one bed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pg8000.native
import pytest

from tests.integration.roles.bed import STAND_IN, Bed, podman, secret
from tests.integration.roles.load import Load, ask

pytestmark = pytest.mark.timeout(900)

SITE = "t330106.roles.localhost"
SHAPE = {"cell-core": {"gateway": 1, "identity": 1, "query": 1}, "cell-a": {"gateway": 2, "application": 2}}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    bed = Bed(
        tmp_path_factory.mktemp("bed"), name="yw-test-roles-it", network="10.92.0.0/24", shape=SHAPE,
        codes=["330000", "330100", "330106"], cores=0.4,
    )  # fmt: skip
    bed.down()
    shutil.copytree(STAND_IN, bed.folder / "services")
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


def main_pid(bed: Bed, host: str, unit: str) -> str:
    return on(bed, host, "systemctl", "show", "--property", "MainPID", "--value", unit)


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


def test_run_again_nothing_changes_and_check_mode_says_so_too(bed: Bed) -> None:
    for arguments in ([], ["--check"]):
        counts = changed(bed.play("site.yml", *arguments).stdout)
        assert len(counts) == 9 and not any(counts.values()), counts


def test_check_mode_tells_of_a_change_and_makes_none(bed: Bed) -> None:
    on(bed, "cell-a-application-1", "sed", "-i", "s/query_wait_timeout.*/query_wait_timeout = 1/",
       "/etc/pgbouncer/pgbouncer.ini")  # fmt: skip
    counts = changed(bed.play("site.yml", "--check", "--limit", "cell-a-application-1").stdout)
    assert counts["cell-a-application-1"] > 0
    assert "query_wait_timeout = 1" in on(bed, "cell-a-application-1", "cat", "/etc/pgbouncer/pgbouncer.ini")
    bed.play("site.yml", "--limit", "cell-a-application-1")
    assert "query_wait_timeout = 5" in on(bed, "cell-a-application-1", "cat", "/etc/pgbouncer/pgbouncer.ini")


def test_a_database_opened_by_hand_is_closed_again(bed: Bed) -> None:
    """The known-bad twin of the isolation: the play finds it, says so and mends it."""
    cell = bed.outputs().cells[1]
    root = bed.connect(cell)
    root.run("GRANT CONNECT ON DATABASE t330100 TO PUBLIC")
    root.close()
    inside = bed.connect(cell, "t330000")
    inside.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
    inside.close()
    counts = changed(bed.play("site.yml", "--tags", "tenants", "--limit", "cell-a-database").stdout)
    assert counts["cell-a-database"] == 1
    with pytest.raises(pg8000.exceptions.DatabaseError, match="42501"):
        pg8000.native.Connection("t330106_app", host=cell.database.host, database="t330100",
                                 password=secret("330106 database_application_password"))  # fmt: skip


def test_secrets_are_for_their_service_alone(bed: Bed) -> None:
    listed = on(bed, "cell-a-application-1", "stat", "--format", "%a %U %n", "/etc/yiwang/secrets/affairs.json",
                "/etc/yiwang/secrets/portal.json", "/etc/pgbouncer/userlist.txt")  # fmt: skip
    assert listed.splitlines() == [
        "400 yiwang-affairs /etc/yiwang/secrets/affairs.json",
        "400 yiwang-portal /etc/yiwang/secrets/portal.json",
        "600 postgres /etc/pgbouncer/userlist.txt",
    ]


def test_no_secret_is_printed_even_when_asked_for_everything(bed: Bed) -> None:
    output = bed.play("site.yml", "-vvv", "--diff").stdout
    for purpose in ("330106 client_secret", "330106 database_application_password", "cell-a admin", "affairs cache"):
        assert secret(purpose) not in output, purpose


def test_an_unknown_host_is_misdirected_and_a_request_keeps_its_id(bed: Bed) -> None:
    status, headers, problem = ask(gateways(bed)[0], "nobody.roles.localhost", headers={"X-Request-Id": "abcdef-0123"})
    assert (status, headers["x-request-id"], problem["status"]) == (421, "abcdef-0123", 421)
    assert headers["content-type"] == "application/problem+json"
    assert len(ask(gateways(bed)[0], SITE)[1]["x-request-id"]) == 36


def test_a_tenant_over_its_limit_is_slowed_and_its_neighbour_is_not(bed: Bed) -> None:
    statuses = {ask(gateways(bed)[0], "t330100.roles.localhost")[0] for _ in range(40)}
    assert statuses == {200, 429}
    assert ask(gateways(bed)[0], "t330000.roles.localhost")[0] == 200


def test_onboarding_one_tenant_restarts_nothing(bed: Bed) -> None:
    before = [main_pid(bed, "cell-a-application-1", unit) for unit in ("pgbouncer", "yiwang-affairs", "yiwang-portal")]
    before.append(main_pid(bed, "cell-a-gateway-1", "haproxy"))
    bed.codes.append("330127")
    bed.tell()
    bed.add_database(bed.outputs().cells[1], *bed.databases("cell-a")[-1])
    done = bed.play("site.yml", "--tags", "tenants", "-e", "tenant=330127")
    assert ask(gateways(bed)[1], "t330127.roles.localhost")[0] == 200
    answer = ask(bed.address("cell-a-application-2"), SITE, "/databases", port=8001)[2]
    assert answer["t330127"] == "t330127_app of t330127"
    after = [main_pid(bed, "cell-a-application-1", unit) for unit in ("pgbouncer", "yiwang-affairs", "yiwang-portal")]
    after.append(main_pid(bed, "cell-a-gateway-1", "haproxy"))
    assert after == before
    assert changed(done.stdout)["cell-core-gateway-1"] == 0
    assert not any(changed(bed.play("site.yml").stdout).values())


def test_a_drained_gateway_fails_its_own_health_check(bed: Bed) -> None:
    gateway = gateways(bed)[0]
    order = "echo 'set server self/self state {}' | nc -U -N /run/haproxy/admin.sock"
    assert ask(gateway, "any", "/gateway-healthz")[0] == 200
    on(bed, "cell-a-gateway-1", "sh", "-c", order.format("maint"))
    assert ask(gateway, "any", "/gateway-healthz")[0] == 503
    assert ask(gateway, SITE)[0] == 200
    on(bed, "cell-a-gateway-1", "sh", "-c", order.format("ready"))
    assert ask(gateway, "any", "/gateway-healthz")[0] == 200


def current(bed: Bed) -> set[str]:
    hosts = ("cell-a-application-1", "cell-a-application-2", "cell-core-identity-1", "cell-core-query-1")
    return {on(bed, host, "readlink", "/opt/yiwang/current") for host in hosts}


def test_a_release_is_rolled_under_load_without_a_failed_request_and_rolled_back(bed: Bed) -> None:
    first = current(bed)
    with (bed.folder / "services" / "answer.py").open("a") as source:
        source.write("# another release\n")
    for playbook in ("deploy.yml", "rollback.yml"):
        load = Load(gateways(bed), SITE, "/api/affairs/cases?seconds=0.3")
        try:
            bed.play(playbook)
        finally:
            load.end()
        assert set(load.answers) == {"200"}, load.answers
        assert len(load.trees) == 2, load.trees
        assert len(current(bed)) == 1
    assert current(bed) == first


def test_a_release_that_does_not_start_stops_at_the_first_host(bed: Bed) -> None:
    """The known-bad twin of the rolling: the other host goes on answering, and the next run mends it."""
    path = bed.folder / "services" / "affairs" / "__main__.py"
    good = path.read_text()
    path.write_text("raise SystemExit('broken')\n")
    done = bed.play("deploy.yml", "-e", "rollout_start_seconds=5", check=False)
    assert done.returncode != 0
    assert len(current(bed)) == 2
    assert {ask(gateway, SITE, "/api/affairs/x")[0] for gateway in gateways(bed)} == {200}
    path.write_text(good)
    bed.play("deploy.yml")
    assert len(current(bed)) == 1
    assert all(host_serves(bed, n) for n in (1, 2))


def host_serves(bed: Bed, number: int) -> bool:
    return ask(bed.address(f"cell-a-application-{number}"), SITE, "/", port=8001)[0] == 200


def test_without_any_service_the_gateway_says_when_to_come_again(bed: Bed) -> None:
    for number in (1, 2):
        on(bed, f"cell-a-application-{number}", "systemctl", "stop", "yiwang-portal")
    status, headers, problem = ask(gateways(bed)[0], SITE)
    assert (status, headers["retry-after"], problem["type"]) == (503, "2", "urn:yiwang:problem:unavailable")
    counts: dict[str, Any] = changed(bed.play("site.yml").stdout)
    assert counts["cell-a-application-1"] > 0
    assert ask(gateways(bed)[0], SITE)[0] == 200
