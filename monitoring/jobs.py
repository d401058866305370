"""What Prometheus scrapes: each job, its port, and on which hosts of the environment it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra.outputs import CellOutputs, EnvironmentOutputs, HostOutputs
from infra.ports import ALERTMANAGER_PORT, EXPORTERS, GATEWAY_METRICS_PORT, OUTLOOK, PROMETHEUS_PORT, RECEIVER_PORT
from infra.services import SERVICES, kind_of, opens_databases, opens_tenants_databases

Where = Callable[[CellOutputs], list[HostOutputs]]


@dataclass(frozen=True)
class Job:
    name: str
    port: int
    where: Where
    interval: str | None = None
    """None: as all."""


def every_host(cell: CellOutputs) -> list[HostOutputs]:
    return cell.hosts


def hosts_of(*roles: str) -> Where:
    def where(cell: CellOutputs) -> list[HostOutputs]:
        return [host for host in cell.hosts if host.role in roles]

    return where


def outlook(cell: CellOutputs) -> list[HostOutputs]:
    """The one host that may open the cell's own database and cache to read their state."""
    return hosts_of(OUTLOOK[kind_of(cell.cell)])(cell)[:1]


def tenants_outlook(cell: CellOutputs) -> list[HostOutputs]:
    return [host for host in outlook(cell) if opens_tenants_databases(host.role)]


def pooling(cell: CellOutputs) -> list[HostOutputs]:
    return [host for host in cell.hosts if opens_databases(host.role)]


JOBS: tuple[Job, ...] = (
    Job("host", EXPORTERS["host"], every_host),
    Job("gateway", GATEWAY_METRICS_PORT, hosts_of("gateway")),
    *(Job(service.name, service.port, hosts_of(service.role)) for service in SERVICES),
    Job("pgbouncer", EXPORTERS["pgbouncer"], pooling, interval="15s"),
    Job("tenants", EXPORTERS["tenants"], tenants_outlook, interval="30s"),
    Job("database", EXPORTERS["database"], outlook, interval="15s"),
    Job("cache", EXPORTERS["cache"], outlook, interval="15s"),
    Job("prometheus", PROMETHEUS_PORT, hosts_of("monitoring")),
    Job("alertmanager", ALERTMANAGER_PORT, hosts_of("monitoring")),
    Job("receiver", RECEIVER_PORT, hosts_of("monitoring")),
)


@dataclass(frozen=True)
class Target:
    job: str
    address: str
    labels: dict[str, str]


def targets(outputs: EnvironmentOutputs) -> Iterator[Target]:
    """Every target of the environment; `instance` becomes the address that Prometheus asks."""
    for job in JOBS:
        for cell in outputs.cells:
            for host in job.where(cell):
                labels = {
                    "environment": outputs.environment,
                    "cell": cell.cell,
                    "role": host.role,
                    "host": host.name,
                }
                yield Target(job.name, f"{host.address}:{job.port}", labels)
