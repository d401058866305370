"""What the stacks tell the later stages: the one seam between `infra/` and everything after it.

Each stack exports `contract` (one of the `…Outputs` types below, by the stack's kind) and `secrets`.
`EnvironmentOutputs` merges the contracts of all stacks of an environment and holds no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from infra.names import site_url
from infra.ports import ALERTMANAGER_PORT, PROMETHEUS_PORT, RECEIVER_PORT
from infra.services import IDENTITY, CellKind, Secret, Service, Tables, kind_of, named, services_of

SCHEMA_VERSION: Literal[1] = 1


class Output(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FoundationOutputs(Output):
    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["foundation"] = "foundation"
    environment: str
    region: str
    vpc_id: str
    cidr: str
    vswitches: dict[str, str] = Field(description="zone → vSwitch id")
    site_suffix: str = Field(description="suffix of every site's name, for example zj.example.gov.cn")
    site_port: int
    private_zone: str = Field(description="suffix of internal names, for example yiwang.internal")
    account_suffix: str
    certificate_id: str
    authority_certificate: str = Field(description="PEM of a private authority that hosts must trust, or empty")
    object_endpoint: str = Field(description="URL of the object store as hosts reach it; buckets by virtual host")
    name_servers: list[str] = Field(description="addresses that hosts ask; empty leaves the image's resolver alone")
    ssh_user: str
    ssh_arguments: str = Field(description="more ssh arguments for the way in, for example a bastion's ProxyJump")


class HostOutputs(Output):
    name: str
    role: str
    zone: str
    address: str
    instance_type: str
    instance_id: str


class DatabaseOutputs(Output):
    host: str
    port: int
    instance_class: str
    max_connections: int
    storage_gib: int | None = Field(None, description="none: the stack was last brought up before it told")
    privileged_account: str
    databases: dict[str, str] = Field(description="the cell's own databases → owner account; tenants' are elsewhere")


class CacheOutputs(Output):
    host: str
    port: int
    accounts: dict[str, str] = Field(description="service, or `monitoring`, which only reads → account name")


class GatewayOutputs(Output):
    name: str = Field(description="DNS name of the cell's balancer")
    address: str = Field(description="its private address, empty when the cloud gives none")
    port: int
    server_group_id: str


class ServiceOutputs(Output):
    """A row of `infra/services.py`, where its fields are explained."""

    name: str
    cells: CellKind
    role: str
    port: int
    label: str
    prefix: str
    tables: Tables
    secrets: list[Secret]
    tenant_secrets: list[str]
    own_secrets: list[str]
    pages: bool
    sends: bool
    process: str = Field(description="the service whose process group it shares; its own name where it has one alone")


def told(services: Iterable[Service], together: Iterable[Sequence[str]] = ()) -> list[dict[str, Any]]:
    """As `ServiceOutputs` has them, in plain containers; `together`: those that share a process group."""
    leaders = {name: group[0] for group in together for name in group}
    rows = [asdict(service) | {"process": leaders.get(service.name, service.name)} for service in services]
    return [ServiceOutputs.model_validate(row).model_dump() for row in rows]


class CellOutputs(Output):
    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["cell"] = "cell"
    environment: str
    cell: str
    hosts: list[HostOutputs]
    database: DatabaseOutputs
    cache: CacheOutputs
    gateway: GatewayOutputs
    database_instance_id: str
    services: list[ServiceOutputs] = Field(
        default_factory=list, description="what the cell runs; told by a stack that was brought up since it is"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_they_were(cls, given: Any) -> Any:
        """A stack that was last brought up before it told its services runs those of the table; a row that was told
        before rows had all their fields is the table's."""
        if not (isinstance(given, dict) and "cell" in given):
            return given
        table = {row["name"]: row for row in told(services_of(kind_of(given["cell"])))}
        rows = given.get("services") or list(table.values())
        whole = [
            table.get(row["name"], row) if row.keys() < ServiceOutputs.model_fields.keys() else row for row in rows
        ]
        return {**given, "services": whole}

    def services_on(self, role: str) -> list[ServiceOutputs]:
        return [service for service in self.services if service.role == role]


class TenantSettings(Output):
    """What may be said of a tenant: declared here alone, with its bounds and its one reader. The registry's files may
    override each (`SettingOverrides` is made of this), and services get what is resolved."""

    service_phone: str = Field(
        pattern=r"^(0[0-9]{2,3}-)?[0-9]{5,8}$", description="reader: services/portal, the page footer"
    )
    requests_per_second: int = Field(
        ge=1, le=10_000, description="reader: roles/gateway, the tenant's rate limit on each gateway host"
    )
    database_connections: int = Field(
        ge=1, le=100, description="reader: roles/pgbouncer, pool size on each application host"
    )
    acceptance_working_days: int = Field(
        ge=1, le=60, description="reader: services/affairs, time limit from filing to acceptance"
    )


class TenantDatabaseOutputs(Output):
    """Beside the owner each module of the cell has an account there, `names.module_account`."""

    cell: str
    name: str
    owner: str
    application: str = Field(description="the one account of all modules, before each had its own; may not log in")


class TenantOutputs(Output):
    code: str
    name: str
    level: Literal["province", "city", "county"]
    parent: str | None
    residents: int
    status: Literal["live", "suspended"]
    cell: str = Field(description="the cell that serves the tenant")
    label: str
    site: str
    url: str
    databases: list[TenantDatabaseOutputs] = Field(description="one for each cell that the plan names")
    bucket: str
    prefix: str
    settings: TenantSettings


class TenantsOutputs(Output):
    schema_version: Literal[1] = SCHEMA_VERSION
    kind: Literal["tenants"] = "tenants"
    environment: str
    scope: str
    bucket: str
    tenants: dict[str, TenantOutputs] = Field(description="by code, so that one that joins shifts no other")


class EnvironmentOutputs(Output):
    """Everything that playbooks, monitoring and load tests may know of an environment."""

    schema_version: Literal[1] = SCHEMA_VERSION
    environment: str
    foundation: FoundationOutputs
    cells: list[CellOutputs]
    tenants: list[TenantOutputs]

    @property
    def prometheus(self) -> str | None:
        return self._on_monitoring_host(PROMETHEUS_PORT)

    @property
    def alertmanager(self) -> str | None:
        return self._on_monitoring_host(ALERTMANAGER_PORT)

    @property
    def receiver(self) -> str | None:
        return self._on_monitoring_host(RECEIVER_PORT)

    def _on_monitoring_host(self, port: int) -> str | None:
        """URL inside the network, for the management range; none before an environment has such a host."""
        hosts = (host for cell in self.cells for host in cell.hosts if host.role == "monitoring")
        return next((f"http://{host.address}:{port}" for host in hosts), None)

    @property
    def issuer(self) -> str:
        return self.service_url(IDENTITY)

    def service_url(self, service: str) -> str:
        """URL of a core service's site."""
        return site_url(named(service).label, self.foundation.site_suffix, self.foundation.site_port)


StackOutputs = Annotated[FoundationOutputs | CellOutputs | TenantsOutputs, Field(discriminator="kind")]


def merge(environment: str, contracts: Iterable[dict[str, Any]]) -> EnvironmentOutputs:
    """One environment's outputs from the `contract` output of each of its stacks.

    Raises:
        ValueError: a contract is not of a known version and kind, or the foundation is missing.
    """
    adapter: TypeAdapter[StackOutputs] = TypeAdapter(StackOutputs)
    stacks = [adapter.validate_python(contract) for contract in contracts]
    foundation = next((stack for stack in stacks if isinstance(stack, FoundationOutputs)), None)
    if foundation is None:
        raise ValueError(f"environment {environment} has no foundation: pulumi up -s {environment}.foundation")
    cells = [stack for stack in stacks if isinstance(stack, CellOutputs)]
    tenants = [tenant for stack in stacks if isinstance(stack, TenantsOutputs) for tenant in stack.tenants.values()]
    return EnvironmentOutputs(
        environment=environment,
        foundation=foundation,
        cells=sorted(cells, key=lambda cell: cell.cell),
        tenants=sorted(tenants, key=lambda tenant: tenant.code),
    )
