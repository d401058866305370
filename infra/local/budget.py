"""What a local environment's hosts may take of the machine, and what services take of a host: the room that a plan has.

Figures are resident memory and idle CPU of an environment that nobody used, read on its hosts (`ps`), rounded up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.local.cloud.instance_types import host_type
from infra.local.cloud.settings import CloudSettings
from infra.plan import Plan

CORES = 1.5
"""Of the machine's two, for all hosts; databases, balancers, the object store and who works there have the rest."""
SERVICE_MIB = 100
SHARED_MIB = 45
"""Of a service that shares a process group, beside the first."""
HOST_MIB: Mapping[str, int] = {"application": 230, "identity": 130, "query": 130}
"""What runs on a role's hosts beside services: the system, PgBouncer, exporters."""
IDLE_CORES = 0.003
"""Of a service that nobody asks: its metrics every five seconds, its relay, its watch on files."""
MEMORY_SHARE = 0.9
"""Above it monitoring says that a host is full."""
IDLE_SHARE = 0.2
"""Of a host's CPU, that services may take while nobody asks them."""


def cores(plan: Plan, instance_types: Mapping[str, str]) -> float:
    """What all hosts of a plan together may use of the machine, by role → type."""
    settings = CloudSettings()
    return sum(
        count * host_type(instance_types[role]).limits(settings)[0]
        for cell in plan.cells.values()
        for role, count in cell.hosts.items()
    )


def faults(role: str, services: Sequence[str], instance_type: str, together: Sequence[Sequence[str]] = ()) -> list[str]:
    """Why a host of the role has no room for these services; empty where it has."""
    host_cores, host_mib = host_type(instance_type).limits(CloudSettings())
    shared = sum(len(set(group) & set(services)) - 1 for group in together if set(group) & set(services))
    memory = HOST_MIB[role] + SERVICE_MIB * (len(services) - shared) + SHARED_MIB * shared
    idle = IDLE_CORES * len(services)
    problems = []
    if memory > MEMORY_SHARE * host_mib:
        problems.append(f"{len(services)} services on {role} take {memory} MiB of {host_mib}")
    if idle > IDLE_SHARE * host_cores:
        problems.append(f"{len(services)} services on {role} take {idle:.3f} of {host_cores} cores while nobody asks")
    return problems
