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
from tests.e2e.conftest import LINAN, XIHU, Living
from tests.e2e.databases import cell_of, connected

REACH = "import socket; socket.create_connection(('{address}', {port}), 3)"


def may_connect(living: Living, code: str, database: str) -> bool:
    """Whether the application account of tenant `code` can open `database`."""
    tenant = next(one for one in living.outputs.tenants if one.code == code)
    secret = living.secrets("hangzhou")[code]["database_application_password"]
    own = tenant.databases[0]
    try:
        with connected(living, cell_of(living, own.cell), own.application, secret, database) as connection:
            return bool(connection.run("SELECT 1"))
    except pg8000.exceptions.DatabaseError as error:
        assert error.args[0]["C"] == "42501", error
        return False


def test_a_countys_account_opens_its_own_database_and_no_other(living: Living) -> None:
    assert may_connect(living, XIHU, f"t{XIHU}")
    for database in (f"t{LINAN}", "t330100", "t330000"):
        assert not may_connect(living, XIHU, database)


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
    tenant = next(one for one in living.outputs.tenants if one.code == code)
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
    found = [one for one in living.life.cloud.inventory() if one.kind == "Policy" and one.owner.stack == stack]
    policy = next(one for one in found if XIHU in one.owner.name)
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
        one
        for one in cloud.inventory()
        if one.kind == "DatabaseInstance" and one.owner.stack == living.engine.stack("cell-core")
    )
    before = database.spec
    everybody = (*before.security_ips, living.outputs.foundation.cidr)
    cloud.database_instances.update(database.id, dataclasses.replace(before, security_ips=everybody))
    try:
        assert reaches(living, "cell-a-application-1", *database_address(living, "cell-core"))
    finally:
        cloud.database_instances.update(database.id, before)
    assert not reaches(living, "cell-a-application-1", *database_address(living, "cell-core"))
