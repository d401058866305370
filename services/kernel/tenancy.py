"""Who is on the network, and the only doors to a tenant's database.

`Directory` reads the tenants file and the service's secrets and follows their changes without a restart.
`Doors` opens databases: a tenant's under this service's account there, and a core service's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import asyncpg
import structlog
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from services.kernel.database import Connection, ConnectionLost, Share, TypesOnce
from services.kernel.outages import dependency_out
from services.kernel.problems import Unavailable
from services.kernel.settings import ServiceSettings

log = structlog.get_logger(__name__)

Level = Literal["province", "city", "county"]


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TenantSettings(Entry):
    """What is said of the tenant, by the names of the network's registry, which has checked it; each has one reader."""

    model_config = ConfigDict(frozen=True, extra="allow")

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Tenant(Entry):
    """A division on the network. `code` is its GB/T 2260 code."""

    code: str
    name: str
    level: Level
    parent: str | None
    residents: int
    cell: str
    site: str
    url: str
    settings: TenantSettings
    database: str
    bucket: str
    prefix: str


class TenantsFile(Entry):
    schema_version: Literal[1]
    environment: str
    issuer: str
    query: str
    ca_file: str | None = None
    object_endpoint: str
    object_region: str
    tenants: list[Tenant]


class ServiceSecrets(Entry):
    """One service's secrets file. What is there, and of a tenant's secrets, depends on the service."""

    tenants: dict[str, dict[str, SecretStr]] = Field(default_factory=dict, description="code → name → secret")
    database_password: SecretStr | None = None
    cache_password: SecretStr | None = None
    signing_key: SecretStr | None = None
    previous_signing_key: SecretStr | None = None
    clients: dict[str, str] = Field(default_factory=dict)
    own: dict[str, SecretStr] = Field(default_factory=dict, description="secrets of this service alone, by name")


Content = TypeVar("Content", bound=BaseModel)


class Directory:
    """The tenants of the environment and this service's secrets, read again when their files change."""

    def __init__(self, tenants_file: Path, secrets_file: Path, cell: str) -> None:
        self._tenants_file = tenants_file
        self._secrets_file = secrets_file
        self._cell = cell
        self._stamps: dict[Path, tuple[int, int, int]] = {}
        self.network: TenantsFile
        self.secrets: ServiceSecrets
        self.changed: list[Callable[[], None]] = []
        self.reload()

    @property
    def environment(self) -> str:
        return self.network.environment

    @property
    def issuer(self) -> str:
        return self.network.issuer

    def tenants(self) -> list[Tenant]:
        """Every live tenant of the environment, whatever its cell."""
        return self.network.tenants

    def own_cell(self) -> list[Tenant]:
        """The tenants that this host serves."""
        return self._own

    def by_code(self, code: str) -> Tenant | None:
        return self._by_code.get(code)

    def by_host(self, host: str) -> Tenant | None:
        """The tenant of this cell whose site the `Host` header names, with or without a port."""
        return self._by_host.get(host) or self._by_host.get(host.partition(":")[0].lower())

    def secret(self, code: str, name: str) -> str:
        """One of a tenant's secrets, as long as it is this service's to know.

        Raises:
            KeyError: it is not, or the tenant is not of this cell.
        """
        return self.secrets.tenants[code][name].get_secret_value()

    def own_secret(self, name: str) -> str:
        """
        Raises:
            KeyError: the service has none of this name.
        """
        return self.secrets.own[name].get_secret_value()

    def reload(self) -> None:
        """Read both files; on a broken file this raises and what was known before stays."""
        stamps = {path: _stamp(path) for path in (self._tenants_file, self._secrets_file)}
        network = _read(self._tenants_file, TenantsFile)
        secrets = _read(self._secrets_file, ServiceSecrets)
        self.network, self.secrets, self._stamps = network, secrets, stamps
        self._own = [tenant for tenant in network.tenants if tenant.cell == self._cell]
        self._by_code = {tenant.code: tenant for tenant in network.tenants}
        self._by_host = {tenant.site.lower(): tenant for tenant in self._own}
        for notify in self.changed:
            notify()

    def reload_if_changed(self) -> bool:
        """True when a file had changed and was read. A file half written is tried again at the next call."""
        try:
            if all(_stamp(path) == stamp for path, stamp in self._stamps.items()):
                return False
            self.reload()
        except (OSError, ValueError) as error:
            log.error("directory.reload_failed", error=str(error))
            return False
        log.info("directory.reloaded", tenants=len(self.network.tenants))
        return True

    async def watch(self, every: float = 1.0) -> None:
        while True:
            await asyncio.sleep(every)
            self.reload_if_changed()


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(path: Path, content: type[Content]) -> Content:
    try:
        return content.model_validate(json.loads(path.read_bytes()))
    except ValueError as error:
        # pydantic's message would quote the value, and this file may hold secrets
        raise ValueError(f"{path}: {type(error).__name__}, not a valid {content.__name__}") from None


class Doors:
    """Connections to databases, through the host's PgBouncer in transaction mode.

    So there is no prepared statement, no `SET` and no session lock. Pools are per database and account and start
    empty. What was opened stays open, to PgBouncer on this host: who comes after a quiet night waits for no log-in.
    PgBouncer closes what is idle towards the instance, all but one. A pool goes with its tenant.

    Messages between databases come and go through doors of their own, which open half of the connections at most:
    however many are sent and received, people find the other half.
    """

    CONNECTIONS = 4
    ACQUIRE_SECONDS = 5.0

    def __init__(self, settings: ServiceSettings, directory: Directory) -> None:
        self._settings = settings
        self._directory = directory
        self._pools: dict[str, asyncpg.Pool] = {}
        self._shares: dict[tuple[str, int], Share] = {}
        self._opening = asyncio.Lock()
        directory.changed.append(self._leave)

    @asynccontextmanager
    async def connection(self, code: str) -> AsyncIterator[Connection]:
        """A connection to the database of the tenant `code` of this cell, under the service's account there.

        Raises:
            KeyError: no such tenant in this cell.
            Unavailable: the database did not answer in time, or went away.
        """
        tenant = self._tenant(code)
        async with self._acquire(
            tenant.database,
            f"{tenant.database}_{self._settings.database_account or self._settings.service}",
            lambda: self._directory.secret(code, "database_password"),
        ) as connection:
            yield connection

    @asynccontextmanager
    async def own_connection(self) -> AsyncIterator[Connection]:
        """A connection to the service's own database (identity, query). Raises Unavailable like `connection`."""
        name = self._settings.service
        async with self._acquire(name, f"{name}_app", self._own_password) as connection:
            yield connection

    @asynccontextmanager
    async def message_connection(self, code: str) -> AsyncIterator[Connection]:
        """`connection` for messages between databases. Raises also Busy, when as many as may are at it."""
        connections = min(self._tenant(code).settings.database_connections, self.CONNECTIONS)
        async with self._share(code, connections).part(), self.connection(code) as connection:
            yield connection

    @asynccontextmanager
    async def own_message_connection(self) -> AsyncIterator[Connection]:
        """`own_connection` for messages between databases. Raises also Busy, when as many as may are at it."""
        async with self._share("", self.CONNECTIONS).part(), self.own_connection() as connection:
            yield connection

    def _tenant(self, code: str) -> Tenant:
        tenant = self._directory.by_code(code)
        if tenant is None or tenant.cell != self._settings.cell:
            raise KeyError(code)
        return tenant

    def _share(self, code: str, connections: int) -> Share:
        if (code, connections) not in self._shares:
            self._shares[code, connections] = Share(max(1, connections // 2))
        return self._shares[code, connections]

    def _own_password(self) -> str:
        password = self._directory.secrets.database_password
        return password.get_secret_value() if password else ""

    @asynccontextmanager
    async def _acquire(self, database: str, user: str, password: Callable[[], str]) -> AsyncIterator[Connection]:
        pool = self._pools.get(database) or await self._open(database, user, password)
        try:
            connection = await pool.acquire(timeout=self.ACQUIRE_SECONDS)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            raise Unavailable("database") from error
        try:
            yield connection
        except (Exception, asyncio.CancelledError) as error:
            out = dependency_out(error, "database") == "database"
            if out or isinstance(error, asyncio.CancelledError):
                # a statement may still run on it, or its transaction be open: whoever borrowed it next would pay
                with suppress(asyncpg.InterfaceError):  # it is gone already, and of no pool any more
                    connection.terminate()
            if out:
                raise (Unavailable("database") if isinstance(error, TimeoutError) else ConnectionLost()) from error
            raise
        finally:
            await pool.release(connection)

    async def _open(self, database: str, user: str, password: Callable[[], str]) -> asyncpg.Pool:
        async with self._opening:
            if database not in self._pools:
                self._pools[database] = await asyncpg.create_pool(
                    host=self._settings.database_host,
                    port=self._settings.database_port,
                    database=database,
                    user=user,
                    password=password,
                    ssl=False,
                    connection_class=TypesOnce,
                    min_size=0,
                    max_size=self.CONNECTIONS,
                    max_inactive_connection_lifetime=0,
                    statement_cache_size=0,
                    timeout=3.0,
                    command_timeout=10.0,
                    reset=_keep,
                )
            return self._pools[database]

    def _leave(self) -> None:
        """Closes what is open to tenants that are here no more."""
        here = {tenant.database for tenant in self._directory.own_cell()} | {self._settings.service}
        for database in self._pools.keys() - here:
            self._pools.pop(database).terminate()

    async def close(self) -> None:
        for pool in self._pools.values():
            pool.terminate()
        self._pools.clear()


async def _keep(connection: asyncpg.Connection) -> None:
    """No reset between borrowers: there is no session state to reset, and asyncpg's own costs a quarter."""
