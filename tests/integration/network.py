"""A small province: three levels of tenants in two cells, their databases, and the services on them.

Each site has a loopback address of its own as its name, so that `Host` tells tenants apart without a resolver.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from services.kernel.settings import ServiceSettings
from tests.integration.backends import Pooler, Postgres, Redis, free_port, listening, start, stop
from tests.integration.issuer import Issuer
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    code: str
    name: str
    level: str
    parent: str | None
    cell: str
    address: str


PROVINCE = Place("330000", "浙江省", "province", None, "cell-b", "127.0.33.1")
CITY = Place("330100", "杭州市", "city", "330000", "cell-b", "127.0.33.2")
COUNTY = Place("330106", "西湖区", "county", "330100", "cell-a", "127.0.33.3")
NEIGHBOUR = Place("330112", "临安区", "county", "330100", "cell-a", "127.0.33.4")
PLACES = (PROVINCE, CITY, COUNTY, NEIGHBOUR)
CORE_ADDRESS = "127.0.33.10"


@dataclass
class Running:
    """A service process of ours."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def kill(self) -> None:
        stop(self.process, signal.SIGKILL)

    def stop(self) -> None:
        stop(self.process)


def account_of(database: str, module: str = "affairs") -> str:
    """Under which the module opens a tenant's database, and query its own."""
    return f"{database}_{module}" if database.startswith("t") else f"{database}_app"


@dataclass
class Network:
    folder: Path
    postgres: Postgres
    redis: Redis
    issuer: Issuer
    places: tuple[Place, ...] = PLACES
    ports: dict[str, int] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    object_endpoint: str = "http://127.0.0.1:9"
    module: str = "affairs"
    """Whose tables the tenants' databases have, and which runs on both cells."""
    tenant_secrets: tuple[str, ...] = (
        "client_secret",
        "check_code_key",
        "object_access_key_id",
        "object_access_key_secret",
    )
    far: Postgres | None = None
    """Where the databases of cell-b lie, when they have a cluster of their own."""
    pooler: Pooler = field(init=False)
    running: dict[str, Running] = field(default_factory=dict)

    def create(self) -> None:
        """Databases, roles as the deployment makes them, schemas, files."""
        for name in (f"{self.module}-cell-a", f"{self.module}-cell-b", "query-cell-core"):
            self.ports[name] = free_port()
        databases = {f"t{place.code}": self.module for place in self.places} | {"query": "query"}
        for database in databases:
            self._create_database(database)
        self._migrate(databases)
        users = {user: password for user, password in self.passwords.items() if not user.endswith("_owner")}
        elsewhere = {name: self.postgres_of(name).port for name in databases if self.far}
        self.pooler = Pooler(self.folder, self.postgres.port, users, elsewhere)
        self.pooler.start()
        self.write_files()

    def postgres_of(self, database: str) -> Postgres:
        far = self.far and database in {f"t{place.code}" for place in self.places if place.cell == "cell-b"}
        return self.far if self.far and far else self.postgres

    def _create_database(self, database: str) -> None:
        postgres = self.postgres_of(database)
        owner, application = f"{database}_owner", account_of(database, self.module)
        for role in (owner, application):
            self.passwords[role] = secrets.token_hex(12)
            postgres.run(f"CREATE ROLE {role} LOGIN PASSWORD '{self.passwords[role]}'")
        postgres.run(f"CREATE DATABASE {database} OWNER {owner}")
        postgres.run(
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {application}"
        )

    def _migrate(self, databases: dict[str, str]) -> None:
        targets = [
            {
                "module": module,
                "host": "127.0.0.1",
                "port": self.postgres_of(database).port,
                "database": database,
                "user": f"{database}_owner",
                "password": self.passwords[f"{database}_owner"],
                "application_role": account_of(database, self.module),
            }
            for database, module in databases.items()
        ]
        done = migrate(targets)
        assert done.returncode == 0, done.stdout + done.stderr

    def write_files(self) -> None:
        """The files that the playbooks put on a host."""
        tenants = [self._entry(place) for place in self.places]
        network = {
            "schema_version": 1,
            "environment": "test",
            "issuer": self.issuer.url,
            "query": f"http://{CORE_ADDRESS}:{self.ports['query-cell-core']}",
            "ca_file": None,
            "object_endpoint": self.object_endpoint,
            "object_region": "local",
            "tenants": tenants,
        }
        (self.folder / "tenants.json").write_text(json.dumps(network))
        self.issuer.clients = {place.code: f"client_secret-{place.code}" for place in self.places}
        for cell in ("cell-a", "cell-b"):
            codes = [place.code for place in self.places if place.cell == cell]
            secret = {"tenants": {code: self._secrets(code) for code in codes}, "cache_password": None}
            (self.folder / f"{self.module}-{cell}.json").write_text(json.dumps(secret))
        (self.folder / "query-cell-core.json").write_text(
            json.dumps({"database_password": self.passwords["query_app"]})
        )

    def _entry(self, place: Place) -> dict[str, Any]:
        return {
            "code": place.code,
            "name": place.name,
            "level": place.level,
            "parent": place.parent,
            "residents": 1000,
            "cell": place.cell,
            "site": place.address,
            "url": self.url(place),
            "settings": {
                "service_phone": "0571-12345",
                "requests_per_second": 100,
                "database_connections": 4,
                "acceptance_working_days": 5,
            },
            "database": f"t{place.code}",
            "bucket": "cases",
            "prefix": f"{place.code}/",
        }

    def _secrets(self, code: str) -> dict[str, str]:
        return {
            "database_password": self.passwords[account_of(f"t{code}", self.module)],
            **{name: f"{name}-{code}" for name in self.tenant_secrets},
        }

    def url(self, place: Place) -> str:
        return f"http://{place.address}:{self.ports[f'{self.module}-{place.cell}']}"

    @property
    def query_url(self) -> str:
        return f"http://{CORE_ADDRESS}:{self.ports['query-cell-core']}"

    def environment(self, service: str, cell: str, port: int) -> dict[str, str]:
        return {
            "YIWANG_SERVICE": service,
            "YIWANG_CELL": cell,
            "YIWANG_PORT": str(port),
            "YIWANG_TENANTS_FILE": str(self.folder / "tenants.json"),
            "YIWANG_SECRETS_FILE": str(self.folder / f"{service}-{cell}.json"),
            "YIWANG_DATABASE_HOST": "127.0.0.1",
            "YIWANG_DATABASE_PORT": str(self.pooler.port),
            "YIWANG_CACHE_URL": self.redis.url,
            "PYTHONPATH": str(REPOSITORY),
        }

    def settings(self, service: str, cell: str) -> ServiceSettings:
        """For parts of a service that a test runs by itself."""
        return ServiceSettings(
            service=service,
            cell=cell,
            port=0,
            tenants_file=self.folder / "tenants.json",
            secrets_file=self.folder / f"{service}-{cell}.json",
            database_host="127.0.0.1",
            database_port=self.pooler.port,
            cache_url=self.redis.url,
        )

    def start(
        self, service: str, cell: str, port: int | None = None, name: str = "", module: str = "", **more: str
    ) -> Running:
        """Start a service process; a second one of the same kind takes a name and a port of its own.

        Another `module` than the service's own serves it otherwise, for a test.
        """
        name = name or f"{service}-{cell}"
        port = port or self.ports[name]
        log = self.folder / f"{name}.log"
        command = [sys.executable, "-m", module or f"services.{service}"]
        process = start(command, log, **(self.environment(service, cell, port) | more))
        wait_until(lambda: listening(port) or process.poll() is not None, 20, f"{name} listens")
        assert process.poll() is None, log.read_text()[-3000:]
        self.running[name] = Running(name, process, port, log)
        return self.running[name]

    def start_all(self) -> None:
        self.start("query", "cell-core")
        self.start(self.module, "cell-b")
        self.start(self.module, "cell-a")

    def stop_all(self) -> None:
        for running in self.running.values():
            running.stop()
        self.pooler.stop()

    def client(self, place: Place, token: str | None = None) -> httpx.Client:
        return client(f"{self.url(place)}/api/{self.module}", token)

    def query(self, token: str | None = None) -> httpx.Client:
        return client(f"{self.query_url}/api/query", token)

    def rows(self, place: Place, sql: str) -> Any:
        """The rows of a query on a tenant's database, as the superuser, each a dictionary."""
        as_json = f"SELECT coalesce(json_agg(r), '[]') FROM ({sql}) AS r"
        database = f"t{place.code}"
        return json.loads(self.postgres_of(database).run(as_json, database))


def client(base_url: str, token: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    # plain HTTP: without verify=False each client would read every authority's certificate first
    return httpx.Client(base_url=base_url, headers=headers, timeout=20, trust_env=False, verify=False)  # noqa: S501


def migrate(targets: list[dict[str, Any]], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.migrate", *arguments],
        input=json.dumps(targets),
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
