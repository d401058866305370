"""Outputs of a province that exists nowhere: what its stacks would tell, and nothing that was provisioned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from infra import names
from infra.outputs import (
    CacheOutputs,
    CellOutputs,
    DatabaseOutputs,
    EnvironmentOutputs,
    FoundationOutputs,
    GatewayOutputs,
    HostOutputs,
    TenantDatabaseOutputs,
    TenantOutputs,
    TenantSettings,
)
from infra.services import kind_of, services_of


@dataclass(frozen=True)
class Province:
    """`shape`: cell → role → hosts; addresses are `network`.<cell's place>.<host's>, from 10 on. All tenants are of
    `cell-a`; without `databases` they have none yet."""

    name: str
    shape: Mapping[str, Mapping[str, int]]
    codes: Sequence[str]
    network: str
    authority_certificate: str = ""
    storage_gib: int | None = None
    databases: bool = True

    @property
    def suffix(self) -> str:
        return f"{self.name}.localhost"

    @property
    def environment(self) -> str:
        return f"test-{self.name}"

    def outputs(self) -> EnvironmentOutputs:
        """What `yiwang outputs` would tell of it."""
        return EnvironmentOutputs(
            environment=self.environment,
            foundation=self._foundation(),
            cells=[self._cell(cell, number) for number, cell in enumerate(self.shape)],
            tenants=[self._tenant(code) for code in self.codes],
        )

    def _foundation(self) -> FoundationOutputs:
        return FoundationOutputs(
            environment=self.environment, region="cn-hangzhou", vpc_id="vpc-1", cidr=f"{self.network}.0.0/16",
            vswitches={}, site_suffix=self.suffix, site_port=8443, private_zone=f"{self.name}.yiwang.internal",
            account_suffix="x", certificate_id="c-1", authority_certificate=self.authority_certificate,
            object_endpoint=f"https://oss.{self.name}.yiwang.internal", name_servers=[], ssh_user="root",
            ssh_arguments="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        )  # fmt: skip

    def _cell(self, cell: str, number: int) -> CellOutputs:
        numbered = [(role, n) for role, count in self.shape[cell].items() for n in range(1, count + 1)]
        hosts = [
            HostOutputs(
                name=f"{cell}-{role}-{n}", role=role, zone="cn-hangzhou-j", instance_id=f"i-{cell}-{role}-{n}",
                address=f"{self.network}.{number}.{place}", instance_type="ecs.c7.large",
            )
            for place, (role, n) in enumerate(numbered, 10)
        ]  # fmt: skip
        services = services_of(kind_of(cell))
        own = [service.name for service in services if service.tables == "own"]
        accounts = {name: name for name in (*(service.name for service in services), "monitoring")}
        return CellOutputs(
            environment=self.environment, cell=cell, hosts=hosts, database_instance_id=f"pgm-{number}",
            database=DatabaseOutputs(
                host=f"{self.network}.{number}.2", port=5432, instance_class="pg.n2.2c.2m", max_connections=400,
                storage_gib=self.storage_gib, privileged_account="yiwang_admin",
                databases={name: names.owner_account(name) for name in own},
            ),
            cache=CacheOutputs(host=f"{self.network}.{number}.3", port=6379, accounts=accounts),
            gateway=GatewayOutputs(name=f"{cell}.alb", address="", port=8443, server_group_id=f"sgp-{number}"),
        )  # fmt: skip

    def _tenant(self, code: str) -> TenantOutputs:
        level = "province" if code.endswith("0000") else "city" if code.endswith("00") else "county"
        parent = {"province": None, "city": f"{code[:2]}0000", "county": f"{code[:4]}00"}[level]
        site, database = f"t{code}.{self.suffix}", names.tenant_database(code)
        placed = TenantDatabaseOutputs(
            cell="cell-a",
            name=database,
            owner=names.owner_account(database),
            application=names.application_account(database),
        )
        return TenantOutputs(
            code=code, name=f"区划{code}", level=level, parent=parent, residents=1000000, status="live",
            cell="cell-a", label=f"t{code}", site=site, url=f"https://{site}:8443", bucket="yw-test",
            prefix=names.tenant_prefix(code), databases=[placed] if self.databases else [],
            settings=TenantSettings(service_phone="12345", database_connections=2, requests_per_second=200,
                                    acceptance_working_days=5),
        )  # fmt: skip
