"""A cell's tenants as their exporters see them: databases with their schema and a PgBouncer, without any service."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from services.kernel.settings import ServiceSettings
from services.kernel.tenancy import Directory, Doors
from tests.integration.backends import Pooler, Postgres
from tests.integration.network import migrate

CELL = "cell-watched"
FIRST, SECOND = "339901", "339902"

CASE = """
INSERT INTO affairs.cases (number, version, status, holder, path, item, item_name, item_version, basis,
    promised_working_days, applicant, applicant_name, applicant_phone, form, filed_at, accept_by, due, changed_at,
    steps, check_code_hash)
SELECT '{code}' || lpad(({first} + place)::text, 16, '0'), 1, '{status}', '{holder}', ARRAY['{code}'], 'i', 'item', 1,
    'basis', 5, 'person', 'name', '13800000000', '{{}}', now() - interval '{age}', {accept_by}, {due}, now(), '[]', ''
FROM generate_series(1, {count}) AS place"""


@dataclass
class WatchedCell:
    folder: Path
    postgres: Postgres
    passwords: dict[str, str] = field(default_factory=dict)
    pooler: Pooler = field(init=False)
    filed: int = 0

    def create(self, *codes: str) -> None:
        self.folder.mkdir()
        for code in codes:
            self._create_database(code)
        (self.folder / "secrets.json").write_text(
            json.dumps({"tenants": {code: self._secrets(code) for code in codes}})
        )
        self.live(*codes)

    def _create_database(self, code: str) -> None:
        database = f"t{code}"
        for role in (f"{database}_owner", f"{database}_affairs", f"{database}_measures"):
            self.passwords[role] = secrets.token_hex(12)
            self.postgres.run(f"CREATE ROLE {role} LOGIN PASSWORD '{self.passwords[role]}'")
        self.postgres.run(f"CREATE DATABASE {database} OWNER {database}_owner")
        done = migrate(
            [
                {
                    "module": "affairs",
                    "host": "127.0.0.1",
                    "port": self.postgres.port,
                    "database": database,
                    "user": f"{database}_owner",
                    "password": self.passwords[f"{database}_owner"],
                    "application_role": f"{database}_affairs",
                    "measures_role": f"{database}_measures",
                }
            ]
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _secrets(self, code: str) -> dict[str, str]:
        return {"database_password": self.passwords[f"t{code}_measures"]}

    def live(self, *codes: str) -> None:
        """Write the tenants file: these are on the network."""
        network = {
            "schema_version": 1,
            "environment": "test",
            "issuer": "http://127.0.0.1:9",
            "query": "http://127.0.0.1:9",
            "object_endpoint": "http://127.0.0.1:9",
            "object_region": "local",
            "tenants": [self._entry(code) for code in codes],
        }
        (self.folder / "tenants.json").write_text(json.dumps(network))

    def _entry(self, code: str) -> dict[str, Any]:
        return {
            "code": code,
            "name": code,
            "level": "county",
            "parent": None,
            "residents": 1,
            "cell": CELL,
            "site": f"{code}.example",
            "url": f"https://{code}.example",
            "settings": {
                "service_phone": "",
                "requests_per_second": 1,
                "database_connections": 2,
                "acceptance_working_days": 5,
            },
            "database": f"t{code}",
            "bucket": "b",
            "prefix": f"{code}/",
        }

    def pool(self, **settings: str) -> Pooler:
        """Start PgBouncer with these settings, in place of the one before."""
        folder = self.folder / "pooler"
        if folder.exists():
            self.pooler.stop()
            shutil.rmtree(folder)
        folder.mkdir()
        self.folder.chmod(0o755)
        self.pooler = Pooler(folder, self.postgres.port, self.passwords, pool_size=1, settings=settings)
        self.pooler.start()
        return self.pooler

    def settings(self) -> ServiceSettings:
        return ServiceSettings(
            service="tenants-exporter",
            database_account="measures",
            cell=CELL,
            port=0,
            tenants_file=self.folder / "tenants.json",
            secrets_file=self.folder / "secrets.json",
            database_host="127.0.0.1",
            database_port=self.pooler.port,
        )

    def directory(self) -> Directory:
        settings = self.settings()
        return Directory(settings.tenants_file, settings.secrets_file, settings.cell)

    def doors(self, directory: Directory) -> Doors:
        return Doors(self.settings(), directory)

    def file(
        self,
        code: str,
        status: str = "filed",
        *,
        count: int = 1,
        holder: str = "",
        age: str = "0",
        accept_by: str = "current_date + 9",
        due: str = "NULL",
    ) -> None:
        """Put cases into a tenant's database, as the superuser; those of another tenant by `holder` are copies."""
        self.postgres.run(
            CASE.format(
                code=code,
                first=self.filed,
                status=status,
                holder=holder or code,
                age=age,
                accept_by=accept_by,
                due=due,
                count=count,
            ),
            f"t{code}",
        )
        self.filed += count

    def server_connections(self, what: str = "count(*)") -> str:
        """A query for how many connections of the tenants' accounts the instance has, or for something of each."""
        return f"SELECT {what} FROM pg_stat_activity WHERE usename LIKE 't3399%_measures'"

    def stop(self) -> None:
        self.pooler.stop()
        for code in (role[1:7] for role in self.passwords if role.endswith("_owner")):
            self.postgres.run(f"DROP DATABASE t{code} WITH (FORCE)")


def scraped(port: int) -> dict[str, float]:
    """The series that a process tells on this port; nothing while it does not answer."""
    try:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5, trust_env=False).text
    except httpx.HTTPError:
        return {}
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
    }
