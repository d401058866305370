"""What the network runs: a row for each service. Every stage takes from here, or from the outputs of a cell, which tell
its rows, what it has to know of one.

A service is a folder of `services/` of its name, a process (or several, one a host of its role), an account of its
cell's cache, a backend of the gateways and a job of Prometheus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CORE = "cell-core"
IDENTITY = "identity"
"""The service that knows people and clients."""
CellKind = Literal["core", "tenants"]
Tables = Literal["own", "tenants", "none"]
Secret = Literal["signing-key", "clients"]
GIVEN = ("client_secret", "check_code_key", "object_access_key_id", "object_access_key_secret")
"""What each tenant has of secrets by itself; any other name in a row is a secret that is made because of it."""


@dataclass(frozen=True)
class Service:
    """`label`: of the core, the first label of its site. `prefix`: of a tenants' cell, where the paths begin that it
    answers on every tenant's site; the longest that fits wins, and `/` has what no other has.

    `tables`: it has a database of its own, tables in every tenant's database, or none; its account there is its own.
    `secrets`: what it may read of the network's beside the password of its cache account: the key that signs tokens,
    the hashes of all clients' secrets. `tenant_secrets`: names of what it may read of each tenant's. `own_secrets`:
    names of secrets of its own, each made for the cell. `sends`: it hands messages to other databases.
    """

    name: str
    cells: CellKind
    role: str
    """Of the hosts that run it; services of one role share them."""
    port: int
    label: str = ""
    prefix: str = ""
    tables: Tables = "none"
    secrets: tuple[Secret, ...] = ()
    tenant_secrets: tuple[str, ...] = ()
    own_secrets: tuple[str, ...] = ()
    pages: bool = False
    """It serves people's browsers, and so the assets of pages."""
    sends: bool = False


SERVICES = (
    Service("affairs", "tenants", "application", 8001, prefix="/api/affairs/", tables="tenants",
            tenant_secrets=GIVEN, sends=True),
    Service("portal", "tenants", "application", 8002, prefix="/", tables="tenants", tenant_secrets=("client_secret",),
            pages=True),
    Service(IDENTITY, "core", "identity", 8003, label="id", tables="own", secrets=("signing-key", "clients"),
            pages=True),
    Service("query", "core", "query", 8004, label="query", tables="own"),
)  # fmt: skip
NAMES = tuple(service.name for service in SERVICES)


def named(name: str) -> Service:
    """
    Raises:
        KeyError: there is none of this name.
    """
    return {service.name: service for service in SERVICES}[name]


def modules_with_tables() -> list[str]:
    """Those with tables in every tenant's database."""
    return [service.name for service in SERVICES if service.tables == "tenants"]


def made_for_tenants() -> list[str]:
    """Names of the secrets that each tenant has because a row names them."""
    wanted = {name for service in SERVICES for name in service.tenant_secrets}
    return sorted(wanted - set(GIVEN))


def kind_of(cell: str) -> CellKind:
    return "core" if cell == CORE else "tenants"


def services_of(kind: CellKind) -> tuple[Service, ...]:
    return tuple(service for service in SERVICES if service.cells == kind)


def roles_of(kind: CellKind) -> tuple[str, ...]:
    """The roles of hosts that run services, each once."""
    return tuple(dict.fromkeys(service.role for service in services_of(kind)))


def services_on(role: str) -> tuple[Service, ...]:
    return tuple(service for service in SERVICES if service.role == role)


def opens_databases(role: str) -> bool:
    """Whether hosts of the role run a service that has tables, and so a PgBouncer."""
    return any(service.tables != "none" for service in services_on(role))


def opens_tenants_databases(role: str) -> bool:
    return any(service.tables == "tenants" for service in services_on(role))
