"""No tenant, cell or host reaches what is not its own. Real clients; each check beside a twin that it catches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import boto3
import pg8000.exceptions
import pytest
from botocore.client import Config
from botocore.exceptions import ClientError

from infra.name_lookup import address_of
from tests.e2e.databases import cell_of, connected
from tests.e2e.leaks import leaked
from tests.support.living import CITY, LINAN, PROVINCE, XIHU, Living

NO_RIGHT = "42501"
REACH = "import socket; socket.create_connection(('{address}', {port}), 1)"


def enters(living: Living, account: str, password: str, database: str) -> bool:
    """Whether an account of the tenants' cell can open `database`; no other reason than its rights may refuse it."""
    try:
        with connected(living, cell_of(living, "cell-a"), account, password, database) as connection:
            return bool(connection.run("SELECT 1"))
    except pg8000.exceptions.DatabaseError as error:
        assert error.args[0]["C"] == NO_RIGHT, error
        return False


def password_of(living: Living, code: str, account: str) -> str:
    """Of a module's account in the county's database, of `measures`, or of the `owner`."""
    kept = living.secrets("hangzhou")[code]
    password: str = kept["database_owner_password"] if account == "owner" else kept["database_passwords"][account]
    return password


def may_connect(living: Living, code: str, database: str, account: str = "affairs") -> bool:
    """Whether an account of the county `code` can open `database`."""
    return enters(living, f"t{code}_{account}", password_of(living, code, account), database)


@pytest.mark.parametrize("account", ["affairs", "portal", "measures", "owner"])
def test_a_countys_account_opens_its_own_database_and_no_other(living: Living, account: str) -> None:
    assert may_connect(living, XIHU, f"t{XIHU}", account)
    for database in (f"t{LINAN}", "t330100", "t330000"):
        assert not may_connect(living, XIHU, database, account)


def test_the_check_catches_a_database_that_is_open_to_everybody(living: Living) -> None:
    cell = cell_of(living, "cell-a")
    password = living.secrets("hangzhou")[LINAN]["database_owner_password"]
    with connected(living, cell, f"t{LINAN}_owner", password, f"t{LINAN}") as owner:
        owner.run(f"GRANT CONNECT ON DATABASE t{LINAN} TO PUBLIC")
        try:
            assert may_connect(living, XIHU, f"t{LINAN}")
        finally:
            owner.run(f"REVOKE CONNECT ON DATABASE t{LINAN} FROM PUBLIC")
    assert not may_connect(living, XIHU, f"t{LINAN}")


def allowed(connection: pg8000.native.Connection, statements: tuple[str, ...]) -> list[str]:
    """Those of the statements that the connection's account has the right to run; none of them stays done."""
    able = []
    for statement in statements:
        connection.run("BEGIN")
        try:
            connection.run(statement)
            able.append(statement)
        except pg8000.exceptions.DatabaseError as error:
            assert error.args[0]["C"] == NO_RIGHT, error
        finally:
            connection.run("ROLLBACK")
    return able


def test_a_modules_account_changes_its_own_data_and_no_schema(living: Living) -> None:
    cell = cell_of(living, "cell-a")
    data = ("SELECT number FROM affairs.cases LIMIT 1", "UPDATE affairs.cases SET number = number WHERE false")
    schema = ("CREATE TABLE public.x (a int)", "CREATE SCHEMA x", "DROP TABLE affairs.cases CASCADE")
    others = ("SELECT id FROM portal.session LIMIT 1",)
    with connected(living, cell, f"t{XIHU}_affairs", password_of(living, XIHU, "affairs"), f"t{XIHU}") as affairs:
        assert allowed(affairs, data + schema + others) == list(data)
    with connected(living, cell, f"t{XIHU}_portal", password_of(living, XIHU, "portal"), f"t{XIHU}") as portal:
        assert allowed(portal, data + schema + others) == list(others)
    with connected(living, cell, f"t{XIHU}_owner", password_of(living, XIHU, "owner"), f"t{XIHU}") as owner:
        assert allowed(owner, schema) == list(schema), "the twin: migrations may"


def test_who_measures_reads_limits_and_no_person(living: Living) -> None:
    measured = ("SELECT status, due FROM affairs.cases LIMIT 1", "SELECT created_at FROM affairs.outbox LIMIT 1")
    more = (
        "SELECT applicant_name FROM affairs.cases LIMIT 1",
        "SELECT body FROM affairs.outbox LIMIT 1",
        "UPDATE affairs.cases SET due = due WHERE false",
        "SELECT id FROM portal.session LIMIT 1",
    )
    cell, password = cell_of(living, "cell-a"), password_of(living, XIHU, "measures")
    with connected(living, cell, f"t{XIHU}_measures", password, f"t{XIHU}") as connection:
        assert allowed(connection, measured + more) == list(measured)


def test_monitorings_account_reads_figures_and_no_tenants_data(living: Living) -> None:
    cell, password = cell_of(living, "cell-a"), living.secrets("cell-a")["monitoring_database_password"]
    assert not any(enters(living, "monitoring", password, f"t{code}") for code in (XIHU, LINAN, CITY, PROVINCE))
    figures = (f"SELECT pg_database_size('t{XIHU}')", "SELECT query FROM pg_stat_activity")
    more = ("CREATE ROLE x", "SELECT pg_read_file('PG_VERSION')", f"ALTER ROLE t{XIHU}_affairs PASSWORD 'x'")
    with connected(living, cell, "monitoring", password, "postgres") as connection:
        assert allowed(connection, figures + more) == list(figures)
        with pytest.raises(pg8000.exceptions.DatabaseError, match=NO_RIGHT):
            connection.run("CREATE DATABASE x")


SECRET_FILES = """400 root /etc/yiwang/secrets/cache-exporter.env
400 root /etc/yiwang/secrets/database-exporter.env
400 yiwang-tenants-exporter /etc/yiwang/secrets/tenants-exporter.json
400 yiwang-affairs /etc/yiwang/secrets/services/affairs.json
400 yiwang-portal /etc/yiwang/secrets/services/portal.json
600 postgres /etc/pgbouncer/userlist.txt
"""


def test_secrets_are_for_their_service_alone(living: Living) -> None:
    """In files that no other account reads, and not among the arguments that every account can list."""
    files = (
        "stat --format '%a %U %n' /etc/yiwang/secrets/*.* /etc/yiwang/secrets/services/* /etc/pgbouncer/userlist.txt"
    )
    assert living.on_host("cell-a-application-1", files).stdout == SECRET_FILES
    for host in ("cell-a-application-1", "cell-core-identity-1", "cell-core-monitoring-1"):
        arguments = living.on_host(host, "ps -eo args").stdout
        assert "python3 -m" in arguments
        assert leaked(living, arguments) == set(), host


@contextmanager
def resolving(living: Living) -> Iterator[None]:
    """Inside, this process finds the network's names, as a host there does."""
    import socket

    system = socket.getaddrinfo
    foundation = living.outputs.foundation

    def look_up(host: str, *more: object, **named: object) -> object:
        inside = isinstance(host, str) and host.endswith(foundation.private_zone)
        name = address_of(host, foundation.name_servers) if inside else host
        return system(name, *more, **named)  # type: ignore[arg-type]

    socket.getaddrinfo = look_up  # type: ignore[assignment]
    try:
        yield
    finally:
        socket.getaddrinfo = system


def may_read_and_list(living: Living, code: str, prefix: str) -> list[str]:
    """What the object-store key of tenant `code` can do below `prefix` of its bucket: of put, get, list."""
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == code)
    secret = living.secrets("hangzhou")[code]
    store = boto3.client(
        "s3",
        endpoint_url=living.outputs.foundation.object_endpoint,
        region_name=living.outputs.foundation.region,
        aws_access_key_id=secret["object_access_key_id"],
        aws_secret_access_key=secret["object_access_key_secret"],
        verify=str(living.life.folder.authority / "authority.pem"),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "virtual"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    attempts: dict[str, Callable[[], object]] = {
        "put": lambda: store.put_object(Bucket=tenant.bucket, Key=f"{prefix}probe", Body=b"probe"),
        "get": lambda: store.get_object(Bucket=tenant.bucket, Key=f"{prefix}probe"),
        "list": lambda: store.list_objects_v2(Bucket=tenant.bucket, Prefix=prefix),
    }
    able = []
    with resolving(living):
        for name, attempt in attempts.items():
            try:
                attempt()
                able.append(name)
            except ClientError as error:
                assert error.response["Error"]["Code"] == "AccessDenied", error
    return able


def test_a_key_works_below_its_own_prefix_and_nowhere_else(living: Living) -> None:
    assert may_read_and_list(living, XIHU, f"{XIHU}/") == ["put", "get", "list"]
    assert may_read_and_list(living, LINAN, f"{LINAN}/") == ["put", "get", "list"], "so that there is something to read"
    assert may_read_and_list(living, XIHU, f"{LINAN}/") == []
    assert may_read_and_list(living, XIHU, "") == []


def test_the_check_catches_a_policy_without_a_prefix(living: Living) -> None:
    policies = living.life.cloud.policies
    stack = living.engine.stack("hangzhou")
    records = [
        record for record in living.life.cloud.inventory() if record.kind == "Policy" and record.owner.stack == stack
    ]
    policy = next(record for record in records if XIHU in record.owner.name)
    loose = dataclasses.replace(policy.spec, document=policy.spec.document.replace(f"/{XIHU}/*", "/*"))
    assert loose != policy.spec
    policies.update(policy.id, loose)
    try:
        assert "get" in may_read_and_list(living, XIHU, f"{LINAN}/")
    finally:
        policies.update(policy.id, policy.spec)
    assert may_read_and_list(living, XIHU, f"{LINAN}/") == []


def reaches(living: Living, host: str, address: str, port: int) -> bool:
    """Whether `host` can open a connection to `address`, tried on the host itself."""
    answer = living.on_host(host, f'python3 -c "{REACH.format(address=address, port=port)}"')
    return answer.returncode == 0


def database_address(living: Living, cell: str) -> tuple[str, int]:
    database = cell_of(living, cell).database
    return address_of(database.host, living.outputs.foundation.name_servers), database.port


@pytest.mark.parametrize(
    ("host", "cell", "expected"),
    [
        ("cell-a-application-1", "cell-a", True),
        ("cell-core-identity-1", "cell-core", True),
        ("cell-a-application-1", "cell-core", False),
        ("cell-core-identity-1", "cell-a", False),
        ("cell-a-gateway-1", "cell-a", False),
    ],
)
def test_a_host_reaches_the_database_of_its_own_cell_and_role_alone(
    living: Living, host: str, cell: str, expected: bool
) -> None:
    assert reaches(living, host, *database_address(living, cell)) is expected


def test_a_host_outside_the_group_cannot_reach_a_service_port(living: Living) -> None:
    address = next(host.address for host in cell_of(living, "cell-a").hosts if host.role == "application")
    assert reaches(living, "cell-a-gateway-1", address, 8001), "the gateway of the cell is in the group"
    assert not reaches(living, "cell-core-query-1", address, 8001)
    assert not reaches(living, "cell-core-query-1", address, 22)


def test_the_check_catches_a_group_that_lets_everybody_in(living: Living) -> None:
    cloud = living.life.cloud
    database = next(
        record
        for record in cloud.inventory()
        if record.kind == "DatabaseInstance" and record.owner.stack == living.engine.stack("cell-core")
    )
    before = database.spec
    everybody = (*before.security_ips, living.outputs.foundation.cidr)
    cloud.database_instances.update(database.id, dataclasses.replace(before, security_ips=everybody))
    try:
        assert reaches(living, "cell-a-application-1", *database_address(living, "cell-core"))
    finally:
        cloud.database_instances.update(database.id, before)
    assert not reaches(living, "cell-a-application-1", *database_address(living, "cell-core"))
