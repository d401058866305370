"""What a host needs to know, computed from the outputs and the secrets: pure functions, one for each file's content.

`outputs` is the inventory's variable `yiwang`, `secrets` what the lookup `yiwang_secrets` gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from infra.name_lookup import NameLookupError, address_of
from infra.names import MEASURES, application_account, module_account
from infra.outputs import CellOutputs, EnvironmentOutputs, ServiceOutputs, TenantDatabaseOutputs, TenantOutputs
from infra.ports import OF_THE_CELL, OUTLOOK
from infra.ports import exporters_of as exporters_of_role
from infra.services import kind_of

# A cell's instance keeps a fifth of its connections for migrations, the privileged account and people.
POOLED_SHARE = 0.8
Json = dict[str, Any]


def tenants_document(outputs: Json, ca_file: str | None) -> Json:
    """`/etc/yiwang/tenants.json`: every live tenant of the environment, the same on every host."""
    network = _parse(outputs)
    return {
        "schema_version": 1,
        "environment": network.environment,
        "issuer": network.issuer,
        "query": network.service_url("query"),
        "ca_file": ca_file if network.foundation.authority_certificate else None,
        "object_endpoint": network.foundation.object_endpoint,
        "object_region": network.foundation.region,
        "tenants": [_tenant_entry(tenant) for tenant in _live(network)],
    }


def _tenant_entry(tenant: TenantOutputs) -> Json:
    copied = tenant.model_dump(include={"code", "name", "level", "parent", "residents", "cell", "site", "url",
                                        "settings", "bucket", "prefix"})  # fmt: skip
    serving = [database.name for database in tenant.databases if database.cell == tenant.cell]
    if not serving:
        raise AnsibleFilterError(f"tenant {tenant.code}: no database in {tenant.cell}, the cell that serves it")
    return {**copied, "database": serving[0]}


def service_secrets(secrets: Json, outputs: Json, cell: str, role: str) -> dict[str, Json]:
    """`/etc/yiwang/secrets/services/<service>.json` of each service on the role's hosts: what it may know, no more."""
    network = _parse(outputs)
    here = _cell(network, cell).services_on(role)
    return {service.name: _known_to(service, secrets, network, cell) for service in here}


def _known_to(service: ServiceOutputs, secrets: Json, network: EnvironmentOutputs, cell: str) -> Json:
    own = secrets["cells"][cell]
    document: Json = {"cache_password": own["cache"][service.name]}
    if service.tables == "own":
        document["database_password"] = own["databases"][service.name]["application"]
    if "signing-key" in service.secrets:
        document["signing_key"] = own["identity_signing_key"]
    if "clients" in service.secrets:
        document["clients"] = {
            **{tenant.code: _hash(_of(secrets, tenant.code)["client_secret"]) for tenant in _live(network)},
            "operator": _hash(own["operator_client_secret"]),
        }
    if service.own_secrets:
        document["own"] = {name: own["services"][service.name][name] for name in service.own_secrets}
    account = service.name if service.tables == "tenants" else ""
    if account or service.tenant_secrets:
        document["tenants"] = _tenants_secrets(secrets, network, cell, account, service.tenant_secrets)
    return document


def _tenants_secrets(
    secrets: Json, network: EnvironmentOutputs, cell: str, account: str, names: Sequence[str] = ()
) -> Json:
    """Of each live tenant of the cell: the password of this account in its database, and its secrets of these names."""

    def read(tenant: TenantOutputs) -> Json:
        kept = _of(secrets, tenant.code)
        made = kept.get("made", {})
        password = {"database_password": _password(secrets, tenant, account)} if account else {}
        return password | {name: made[name] if name in made else kept[name] for name in names}

    return {tenant.code: read(tenant) for tenant in _live(network) if tenant.cell == cell}


def tenants_exporter_secrets(secrets: Json, outputs: Json, cell: str) -> Json:
    """The secrets file of the exporter that reads what is measured of the records of the cell's tenants."""
    return {"tenants": _tenants_secrets(secrets, _parse(outputs), cell, MEASURES)}


def pgbouncer_pools(outputs: Json, cell: str, role: str, core_size: int) -> list[Json]:
    """The databases that a host of this role opens, and how many connections to each, whoever asks. Empty: it opens
    none.

    Raises:
        AnsibleFilterError: all pools of all hosts together would take more than the instance can spare.
    """
    network = _parse(outputs)
    here = _cell(network, cell)
    _check_pools(network, here, core_size)
    return _pools(network, here, role, core_size)


def _pools(network: EnvironmentOutputs, cell: CellOutputs, role: str, core_size: int) -> list[Json]:
    services = cell.services_on(role)
    own = [{"database": service.name, "size": core_size} for service in services if service.tables == "own"]
    tenants = [
        {"database": database.name, "size": tenant.settings.database_connections}
        for tenant, database in _databases_in(network, cell)
    ]
    return own + (tenants if any(service.tables == "tenants" for service in services) else [])


def _check_pools(network: EnvironmentOutputs, cell: CellOutputs, core_size: int) -> None:
    wanted = sum(pool["size"] for host in cell.hosts for pool in _pools(network, cell, host.role, core_size))
    limit = int(cell.database.max_connections * POOLED_SHARE)
    if wanted > limit:
        raise AnsibleFilterError(
            f"{cell.cell}: the pools of all its hosts may open {wanted} connections, its instance "
            f"({cell.database.instance_class}, max_connections {cell.database.max_connections}) spares {limit}. "
            "Lower database_connections of its tenants, take a larger class, or move tenants to another cell."
        )


def pgbouncer_accounts(secrets: Json, outputs: Json, cell: str, role: str) -> dict[str, str]:
    """Account and password of whoever opens a pool of `pgbouncer_pools`."""
    network = _parse(outputs)
    here = _cell(network, cell)
    services = here.services_on(role)
    accounts = {
        application_account(service.name): secrets["cells"][cell]["databases"][service.name]["application"]
        for service in services
        if service.tables == "own"
    }
    modules = [service.name for service in services if service.tables == "tenants"]
    for tenant, database in _databases_in(network, here) if modules else ():
        accounts |= _accounts(secrets, tenant, database, [*modules, MEASURES])
        # services of the release before ask for it until they are rolled; then the instance lets it in no more
        accounts[database.application] = _of(secrets, tenant.code)["database_application_password"]
    return accounts


def _databases_in(network: EnvironmentOutputs, cell: CellOutputs) -> list[tuple[TenantOutputs, TenantDatabaseOutputs]]:
    return [
        (tenant, database) for tenant in network.tenants for database in tenant.databases if database.cell == cell.cell
    ]


def _accounts(
    secrets: Json, tenant: TenantOutputs, database: TenantDatabaseOutputs, modules: Iterable[str]
) -> dict[str, str]:
    return {module_account(database.name, module): _password(secrets, tenant, module) for module in modules}


def _password(secrets: Json, tenant: TenantOutputs, module: str) -> str:
    try:
        password: str = _of(secrets, tenant.code)["database_passwords"][module]
    except KeyError:
        raise AnsibleFilterError(
            f"no stack has a password of {module} for tenant {tenant.code}: pulumi up of its tenants stack"
        ) from None
    return password


def cell_databases(outputs: Json, secrets: Json, cell: str, core_size: int, only: str = "") -> list[Json]:
    """Every database of a cell with its accounts: the core services' own, then the tenants' (or one tenant's).

    `accounts`: account → password; `modules`: module → its account; `measures`: the account that only reads what is
    measured; `former`: accounts that releases before used.
    """
    network = _parse(outputs)
    here = _cell(network, cell)
    own = secrets["cells"][cell]["databases"]
    core = [
        {
            "name": service.name,
            "owner": here.database.databases[service.name],
            "owner_password": own[service.name]["owner"],
            "accounts": {application_account(service.name): own[service.name]["application"]},
            "modules": {service.name: application_account(service.name)},
            "measures": "",
            "former": [],
            "connections": core_size * _hosts_of(here, [service]),
        }
        for service in here.services
        if service.tables == "own"
    ]
    services = [service for service in here.services if service.tables == "tenants"]
    modules = [service.name for service in services]
    tenants = [
        {
            "name": database.name,
            "owner": database.owner,
            "owner_password": _of(secrets, tenant.code)["database_owner_password"],
            "accounts": _accounts(secrets, tenant, database, [*modules, MEASURES]),
            "modules": {module: module_account(database.name, module) for module in modules},
            "measures": module_account(database.name, MEASURES),
            "former": [database.application],
            "connections": tenant.settings.database_connections * _hosts_of(here, services),
        }
        for tenant, database in _databases_in(network, here)
        if only in ("", tenant.code)
    ]
    return tenants if only else core + tenants


def _hosts_of(cell: CellOutputs, services: Iterable[ServiceOutputs]) -> int:
    """So many hosts run any of the services; at least one, for a cell that is about to get its first."""
    roles = {service.role for service in services}
    return max(sum(host.role in roles for host in cell.hosts), 1)


def controllers_instance(outputs: Json, cell: str) -> Json:
    """A cell's instance as the controller reaches it, which need not ask the network's own name servers.

    Raises:
        AnsibleFilterError: the network's name servers do not know the instance.
    """
    network = _parse(outputs)
    database = _cell(network, cell).database
    try:
        host = address_of(database.host, network.foundation.name_servers)
    except NameLookupError as error:
        raise AnsibleFilterError(str(error)) from error
    return {**database.model_dump(), "host": host}


def exporters_of(outputs: Json, cell: str, host: str) -> list[str]:
    """The exporters of a host. The first that may open a cell's database, cache and tenants' records tells of them."""
    hosts = _cell(_parse(outputs), cell).hosts
    role = next(cell_host.role for cell_host in hosts if cell_host.name == host)
    outlook = next((cell_host.name for cell_host in hosts if cell_host.role == OUTLOOK[kind_of(cell)]), None)
    return [exporter for exporter in exporters_of_role(role) if exporter not in OF_THE_CELL or host == outlook]


def gateway_backends(outputs: Json, cell: str) -> list[Json]:
    """The services of a cell with the hosts that run them, the longest prefix first. `pages`: where the service itself
    is out, people on tenants' sites get a page."""
    here = _cell(_parse(outputs), cell)
    return [
        {
            "name": service.name,
            "port": service.port,
            "prefix": service.prefix,
            "pages": service.pages and bool(service.prefix),
            "servers": [
                {"name": host.name, "address": host.address} for host in here.hosts if host.role == service.role
            ],
        }
        for service in sorted(here.services, key=lambda service: (-len(service.prefix), service.name))
        if any(host.role == service.role for host in here.hosts)
    ]


def gateway_sites(outputs: Json, cell: str) -> str:
    """Map file: site → `tenant`, or the core service that answers there."""
    network = _parse(outputs)
    here = _cell(network, cell)
    roles = {host.role for host in here.hosts}
    suffix = network.foundation.site_suffix
    sites = [service for service in here.services if service.label and service.role in roles]
    core = [f"{service.label}.{suffix} {service.name}" for service in sites]
    tenants = [f"{tenant.site} tenant" for tenant in _live(network) if tenant.cell == cell]
    return _lines(core + tenants)


def gateway_limits(outputs: Json, cell: str) -> str:
    """Map file: site → requests a second that its tenant may send through each gateway host."""
    here = [tenant for tenant in _live(_parse(outputs)) if tenant.cell == cell]
    return _lines(f"{tenant.site} {tenant.settings.requests_per_second}" for tenant in here)


def rolling_order(hosts: Sequence[str], groups: Mapping[str, Sequence[str]], idle: Sequence[str]) -> list[list[str]]:
    """Hosts in batches: first all that serve nobody, then the n-th of every role of every cell at a time.

    Roles fail and scale by themselves, so one host of each may be out at once, never two of one. Hosts of one role
    of one cell are those that are in the same groups.
    """
    alike: dict[frozenset[str], list[str]] = {}
    for host in sorted(set(hosts) - set(idle), key=_natural):
        memberships = frozenset(
            name for name, members in groups.items() if host in members and not name.startswith("rollout_")
        )
        alike.setdefault(memberships, []).append(host)
    longest = max((len(group) for group in alike.values()), default=0)
    batches = [[group[n] for group in alike.values() if n < len(group)] for n in range(longest)]
    first = sorted(set(hosts) & set(idle), key=_natural)
    return [first, *batches] if first else batches


def _natural(name: str) -> tuple[str, int]:
    stem, _, number = name.rpartition("-")
    return (stem, int(number)) if number.isdigit() else (name, 0)


def _parse(outputs: Json) -> EnvironmentOutputs:
    return EnvironmentOutputs.model_validate(_plain(outputs))


def _plain(value: Any) -> Any:
    """Ansible's containers resolve their members when these are iterated in Python, which pydantic does not do."""
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    return [_plain(member) for member in value] if isinstance(value, list) else value


def _cell(network: EnvironmentOutputs, name: str) -> CellOutputs:
    return next(cell for cell in network.cells if cell.cell == name)


def _live(network: EnvironmentOutputs) -> list[TenantOutputs]:
    return [tenant for tenant in network.tenants if tenant.status == "live"]


def _of(secrets: Json, code: str) -> dict[str, str]:
    try:
        tenant_secrets: dict[str, str] = secrets["tenants"][code]
    except KeyError:
        raise AnsibleFilterError(f"no stack has secrets of tenant {code}: pulumi up of its tenants stack") from None
    return tenant_secrets


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        functions = (tenants_document, service_secrets, tenants_exporter_secrets, pgbouncer_pools, pgbouncer_accounts,
                     cell_databases, controllers_instance, exporters_of, gateway_backends, gateway_sites,
                     gateway_limits, rolling_order)  # fmt: skip
        return {function.__name__: function for function in functions}
