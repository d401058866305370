"""Databases and caches: real rights, refusals, and what somebody did by hand."""

from __future__ import annotations

from typing import Any

import pg8000.native
import pytest
import redis

from infra.local.cloud.errors import CloudError
from infra.local.cloud.records import Record
from infra.local.cloud.specs.caches import CacheAccountSpec
from infra.local.cloud.specs.databases import DatabaseAccountSpec, DatabaseSpec, GrantSpec
from tests.integration.cloud.site import PASSWORD, Site, owner


@pytest.fixture(scope="module")
def tenants(site: Site, database: Record[Any]) -> tuple[str, str]:
    site.account(database.id, "yw_admin", "Super")
    for code in ("t330106", "t330112"):
        site.tenant_database(database.id, code)
    return "t330106", "t330112"


def can_connect(site: Site, instance: Record[Any], account: str, database: str) -> bool:
    try:
        site.connect(instance, account, database).close()
    except pg8000.native.DatabaseError as error:
        assert "permission denied" in str(error)
        return False
    return True


def test_the_grant_alone_does_not_isolate_and_a_revoke_does(
    site: Site, database: Record[Any], tenants: tuple[str, str]
) -> None:
    mine, others = tenants
    # The twin: as the cloud makes it, another tenant's account gets in.
    assert can_connect(site, database, f"{others}_owner", mine)
    privileged = site.connect(database, "yw_admin", mine)
    privileged.run(f"REVOKE CONNECT ON DATABASE {mine} FROM PUBLIC")
    privileged.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    privileged.run(f"CREATE ROLE {mine}_app LOGIN PASSWORD '{PASSWORD}'")
    privileged.run(f"GRANT CONNECT ON DATABASE {mine} TO {mine}_app")
    privileged.close()
    assert not can_connect(site, database, f"{others}_owner", mine)
    assert can_connect(site, database, f"{mine}_owner", mine)
    assert can_connect(site, database, f"{mine}_app", mine)


def test_rights_are_those_of_the_cloud(site: Site, database: Record[Any], tenants: tuple[str, str]) -> None:
    _, plain = tenants
    account = site.connect(database, f"{tenants[0]}_owner", plain)
    account.run("CREATE TABLE public.anybody (id int)")  # PUBLIC may create in public
    account.run("DROP TABLE public.anybody")
    for statement in (
        "CREATE ROLE more",
        "CREATE DATABASE more",
        "SET ROLE yw_cloud",
        "SELECT pg_read_file('/etc/passwd')",
    ):
        with pytest.raises(pg8000.native.DatabaseError):
            account.run(statement)
    account.close()
    privileged = site.connect(database, "yw_admin", "postgres")
    with pytest.raises(pg8000.native.DatabaseError):
        privileged.run("ALTER ROLE yw_admin SUPERUSER")
    settings = {name: privileged.run(f"SHOW {name}")[0][0] for name in ("fsync", "max_connections", "server_version")}
    assert settings["fsync"] == "on"
    assert settings["max_connections"] == "400"
    assert settings["server_version"].startswith("15.")
    privileged.close()


def test_a_role_for_monitoring_sees_figures_and_no_data(
    site: Site, database: Record[Any], tenants: tuple[str, str]
) -> None:
    site.tenant_database(database.id, "t330109")
    privileged = site.connect(database, "yw_admin", "t330109")
    privileged.run("REVOKE CONNECT ON DATABASE t330109 FROM PUBLIC")
    privileged.run(f"CREATE ROLE monitoring LOGIN PASSWORD '{PASSWORD}'")
    size = "SELECT pg_database_size('t330109')"
    observer = site.connect(database, "monitoring", "postgres")
    # The twin: what it is to see is hidden from any other account.
    with pytest.raises(pg8000.native.DatabaseError, match="permission denied"):
        observer.run(size)
    privileged.run("GRANT pg_monitor TO monitoring")
    assert observer.run(size)[0][0] > 0
    assert observer.run("SELECT query FROM pg_stat_activity WHERE usename = 'yw_admin'")[0][0].startswith("GRANT")
    observer.close()
    assert not can_connect(site, database, "monitoring", "t330109")
    privileged.close()


@pytest.mark.parametrize("role", ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"])
def test_the_server_beneath_an_instance_is_nobodys(
    site: Site, database: Record[Any], tenants: tuple[str, str], role: str
) -> None:
    privileged = site.connect(database, "yw_admin", "postgres")
    with pytest.raises(pg8000.native.DatabaseError, match="must be superuser"):
        privileged.run(f"GRANT {role} TO yw_admin")
    privileged.close()


def test_the_instance_is_reached_from_its_groups_only(
    site: Site, database: Record[Any], redis_cache: Record[Any], application: Record[Any], stranger: Record[Any]
) -> None:
    for thing in (database, redis_cache):
        address, port = thing.attributes["address"], thing.attributes["port"]
        assert site.reaches("application", address, port)
        assert not site.reaches("stranger", address, port)
    name = database.attributes["connection_string"]
    assert site.resolves("application", name) == database.attributes["address"]


def test_one_operation_at_a_time(site: Site, database: Record[Any]) -> None:
    with site.cloud.databases.store.lock(f"operation-{database.id}"), pytest.raises(CloudError) as refusal:
        site.cloud.databases.create(owner("busy"), DatabaseSpec(database.id, "busy"))
    assert refusal.value.code == "OperationDenied.DBInstanceStatus"
    made = site.cloud.databases.create(owner("busy"), DatabaseSpec(database.id, "busy", "UTF8,C,en_US.utf8"))
    site.cloud.databases.delete(made.id)
    assert site.cloud.databases.read(made.id) is None


def test_what_somebody_dropped_is_gone_and_comes_back(
    site: Site, database: Record[Any], tenants: tuple[str, str]
) -> None:
    made = site.cloud.databases.create(owner("dropped"), DatabaseSpec(database.id, "dropped"))
    grant = GrantSpec(database.id, "t330106_owner", database_names=("t330106",))
    granted = site.cloud.grants.create(owner("t330106-grant"), grant)
    privileged = site.connect(database, "yw_admin", "postgres")
    privileged.run("ALTER DATABASE t330106 OWNER TO yw_admin")
    privileged.close()
    by_hand = site.cloud.databases.admin(database.id)
    by_hand.run("DROP DATABASE dropped")
    assert site.cloud.databases.read(made.id) is None
    assert site.cloud.grants.read(granted.id) is None
    assert site.cloud.databases.create(made.owner, made.spec).id == made.id
    assert site.cloud.databases.read(made.id) is not None
    site.cloud.grants.create(granted.owner, granted.spec)
    assert site.cloud.grants.read(granted.id) == granted
    site.cloud.databases.delete(made.id)


@pytest.mark.parametrize(
    ("name", "password", "code"),
    [
        ("postgres", PASSWORD, "InvalidAccountName.Format"),
        ("1abc", PASSWORD, "InvalidAccountName.Format"),
        ("fine", "simple", "InvalidAccountPassword.Format"),
        ("t330106_owner", PASSWORD, "InvalidAccountName.Duplicate"),
    ],
)
def test_bad_accounts_are_refused(
    site: Site, database: Record[Any], tenants: tuple[str, str], name: str, password: str, code: str
) -> None:
    with pytest.raises(CloudError) as refusal:
        spec = DatabaseAccountSpec(database.id, name, "Normal", password)
        site.cloud.database_accounts.create(owner("bad account"), spec)
    assert refusal.value.code == code
    assert password not in str(refusal.value)


def test_an_account_that_owns_a_database_stays(site: Site, database: Record[Any], tenants: tuple[str, str]) -> None:
    account = site.known("DatabaseAccount", f"{database.id}:t330112_owner")
    with pytest.raises(CloudError) as refusal:
        site.cloud.database_accounts.delete(account.id)
    assert refusal.value.code == "DependencyViolation"  # its grant still names it
    site.cloud.grants.delete(site.known("Grant", f"{database.id}:t330112_owner:DBOwner").id)
    with pytest.raises(CloudError) as refusal:
        site.cloud.database_accounts.delete(account.id)
    assert refusal.value.code == "AccountActionForbidden"


def test_cache_accounts_need_their_password_and_may_use_every_key(site: Site, redis_cache: Record[Any]) -> None:
    for name in ("affairs", "portal"):
        site.cloud.cache_accounts.create(owner(f"cache-{name}"), CacheAccountSpec(redis_cache.id, name, PASSWORD))
    address = redis_cache.attributes["address"]

    def client(name: str, password: str) -> redis.Redis:
        return redis.Redis(host=address, username=name, password=password, decode_responses=True)

    client("affairs", PASSWORD).set("affairs:x", "1")
    assert client("portal", PASSWORD).get("affairs:x") == "1"
    for name, password in (("affairs", "wrong"), ("default", ""), ("nobody", PASSWORD)):
        with pytest.raises(redis.RedisError):
            client(name, password).ping()
    with pytest.raises(redis.RedisError):
        client("affairs", PASSWORD).acl_list()
    account = site.known("CacheAccount", f"{redis_cache.id}:portal")
    site.cloud.cache_accounts.delete(account.id)
    with pytest.raises(redis.RedisError):
        client("portal", PASSWORD).ping()


def test_an_account_that_only_reads_sees_the_caches_figures_and_changes_nothing(
    site: Site, redis_cache: Record[Any]
) -> None:
    address = redis_cache.attributes["address"]
    for name, privilege in (("monitoring", "RoleReadOnly"), ("writer", "RoleReadWrite")):
        spec = CacheAccountSpec(redis_cache.id, name, PASSWORD, privilege)
        site.cloud.cache_accounts.create(owner(f"cache-{name}"), spec)
    reader, writer = (
        redis.Redis(host=address, username=name, password=PASSWORD, decode_responses=True)
        for name in ("monitoring", "writer")
    )
    figures = reader.info("all")
    assert {"used_memory", "connected_clients", "total_commands_processed"} <= set(figures)
    with pytest.raises(redis.exceptions.NoPermissionError):
        reader.set("x", "1")
    for administer in (reader.config_get, reader.client_list):
        with pytest.raises(redis.exceptions.NoPermissionError):
            administer()
    # The twin: it is the privilege that forbids it.
    assert writer.set("x", "1")
