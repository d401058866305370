"""Outputs of an environment that exists nowhere, for what monitoring makes of them."""

from __future__ import annotations

from collections.abc import Mapping

from infra.outputs import (
    CacheOutputs,
    CellOutputs,
    DatabaseOutputs,
    EnvironmentOutputs,
    FoundationOutputs,
    GatewayOutputs,
    HostOutputs,
    TenantOutputs,
    TenantSettings,
)

SHAPE: Mapping[str, Mapping[str, int]] = {
    "cell-a": {"gateway": 2, "application": 2},
    "cell-core": {"gateway": 2, "identity": 2, "query": 2, "monitoring": 1},
}
CODES = ("330000", "330100", "330106")


def watched(
    shape: Mapping[str, Mapping[str, int]] = SHAPE, codes: tuple[str, ...] = CODES, storage_gib: int | None = 20
) -> EnvironmentOutputs:
    return EnvironmentOutputs(
        environment="test-watched",
        foundation=_foundation(),
        cells=[_cell(cell, number, shape[cell], storage_gib) for number, cell in enumerate(shape)],
        tenants=[_tenant(code) for code in codes],
    )


def _foundation() -> FoundationOutputs:
    return FoundationOutputs(
        environment="test-watched", region="cn-hangzhou", vpc_id="vpc-1", cidr="10.0.0.0/16", vswitches={},
        site_suffix="watched.localhost", site_port=8443, private_zone="watched.yiwang.internal", account_suffix="x",
        certificate_id="c-1", authority_certificate="", object_endpoint="https://oss.watched.yiwang.internal",
        name_servers=[], ssh_user="root", ssh_arguments="",
    )  # fmt: skip


def _cell(cell: str, number: int, roles: Mapping[str, int], storage_gib: int | None) -> CellOutputs:
    names = [(role, n) for role, count in roles.items() for n in range(1, count + 1)]
    hosts = [
        HostOutputs(
            name=f"{cell}-{role}-{n}", role=role, zone="cn-hangzhou-j", address=f"10.0.{number}.{position}",
            instance_type="ecs.c7.large", instance_id=f"i-{number}-{position}",
        )
        for position, (role, n) in enumerate(names, 10)
    ]  # fmt: skip
    return CellOutputs(
        environment="test-watched", cell=cell, hosts=hosts, database_instance_id=f"pgm-{number}",
        database=DatabaseOutputs(
            host=f"pgm-{number}", port=5432, instance_class="pg.n2.2c.2m", max_connections=400,
            storage_gib=storage_gib, privileged_account="yiwang_admin", databases={},
        ),
        cache=CacheOutputs(host=f"r-{number}", port=6379, accounts={}),
        gateway=GatewayOutputs(name=f"{cell}.alb", address="", port=8443, server_group_id=f"sgp-{number}"),
    )  # fmt: skip


def _tenant(code: str) -> TenantOutputs:
    return TenantOutputs(
        code=code, name=f"区划{code}", level="county", parent=None, residents=1000000, status="live", cell="cell-a",
        label=f"t{code}", site=f"t{code}.watched.localhost", url=f"https://t{code}.watched.localhost", databases=[],
        bucket="yw-test", prefix=f"{code}/",
        settings=TenantSettings(service_phone="12345", requests_per_second=200, database_connections=2,
                                acceptance_working_days=5),
    )  # fmt: skip
