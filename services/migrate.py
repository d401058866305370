"""Bring the schemas of databases up to date: `python -m services.migrate [--check] < databases.json`.

Reads a JSON list on stdin, `[{"module": "affairs", "host": …, "port": …, "database": …, "user": …, "password": …,
"application_role": …, "measures_role": …}]`, and writes one JSON line a database: `{"database", "module", "from", "to",
"granted", "changed"}`, or `{"database", "module", "error"}`. Ends with 1 when any failed; the others are done all the
same.

A module's revisions live in `services/<module>/migrations/versions`; its schema has the module's name and holds the
version table. A revision only expands: the release before it must go on working. Revisions run as the owner, in one
transaction a database, under an advisory lock. With `--check` nothing is written.

What the module's account may do with its tables is told whole in `services/<module>/migrations/rights.py`, as `RIGHTS`;
what the account that measures may read of them, if anything, as `MEASURED`. Both are settled, in the same transaction,
after a revision and wherever others stand: the schema's comment holds a digest of those that do.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from pydantic import BaseModel, SecretStr, TypeAdapter
from sqlalchemy import URL, Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

MODULES = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/migrations")))
STANDING = """
SELECT obj_description(oid, 'pg_namespace') AS comment,
    (SELECT count(*) FROM pg_roles WHERE rolname = ANY(:holders)
        AND has_schema_privilege(pg_roles.oid, pg_namespace.oid, 'USAGE')) AS enter
FROM pg_namespace WHERE nspname = :schema
UNION ALL SELECT NULL, 0 LIMIT 1"""
LOCK = 0x7969_7761_6E67  # "yiwang"


class Target(BaseModel):
    module: str
    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    application_role: str
    measures_role: str | None = None


@dataclass(frozen=True)
class Rights:
    """What two accounts may do in a module's schema, and nothing else there."""

    schema: str
    by_role: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, target: Target) -> Rights:
        module = importlib.import_module(f"services.{target.module}.migrations.rights")
        told = {target.application_role: module.RIGHTS}
        if target.measures_role:
            told[target.measures_role] = getattr(module, "MEASURED", ())
        return cls(target.module, told)

    @property
    def statements(self) -> list[str]:
        """All that somebody else has given them there is taken first."""
        lines = []
        for role, grants in self.by_role.items():
            quoted = '"' + role.replace('"', '""') + '"'
            lines += [f"REVOKE ALL ON ALL {things} IN SCHEMA {self.schema} FROM {quoted}"
                      for things in ("TABLES", "SEQUENCES", "FUNCTIONS")]  # fmt: skip
            lines.append(f"{'GRANT USAGE' if grants else 'REVOKE ALL'} ON SCHEMA {self.schema} "
                         f"{'TO' if grants else 'FROM'} {quoted}")  # fmt: skip
            lines += [grant.format(schema=self.schema, role=quoted) for grant in grants]
        return lines

    @property
    def mark(self) -> str:
        return "rights " + hashlib.sha256("\n".join(self.statements).encode()).hexdigest()[:32]

    def stand(self, connection: Connection) -> bool:
        """Whether they were settled so, and no role of them was made anew since."""
        holders = [role for role, grants in self.by_role.items() if grants]
        told = connection.execute(text(STANDING), {"schema": self.schema, "holders": holders}).one()
        return bool(told.comment == self.mark and told.enter == len(holders))

    def settle(self, connection: Connection) -> None:
        for statement in [*self.statements, f"COMMENT ON SCHEMA {self.schema} IS '{self.mark}'"]:
            connection.exec_driver_sql(statement)


def revisions(module: str) -> ScriptDirectory:
    """The revisions of a module.

    Raises:
        ValueError: no such module.
    """
    if module not in MODULES:
        raise ValueError(f"no module {module!r}; there are {', '.join(MODULES)}")
    return ScriptDirectory(str(Path(__file__).parent / module / "migrations"))


def upgrade(connection: Connection, target: Target, check: bool) -> dict[str, Any]:
    """Bring one database to the module's newest revision, or with `check` only tell what would be done."""
    script = revisions(target.module)
    newest = script.get_current_head()
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    current, rights = _current(connection, target.module), Rights.of(target)
    expands = current != newest
    grants = expands or not rights.stand(connection)
    if expands and not check:
        _run(connection, script, target.module)
    if grants and not check:
        rights.settle(connection)
    return {
        "database": target.database,
        "module": target.module,
        "from": current,
        "to": newest,
        "granted": grants,
        "changed": grants,
    }


def _current(connection: Connection, module: str) -> str | None:
    if connection.execute(text("SELECT to_regclass(:table)"), {"table": f"{module}.alembic_version"}).scalar() is None:
        return None
    return MigrationContext.configure(connection, opts={"version_table_schema": module}).get_current_revision()


def _run(connection: Connection, script: ScriptDirectory, module: str) -> None:
    """Run the missing revisions in the connection's transaction."""
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{module}"'))
    environment = EnvironmentContext(
        Config(), script, fn=lambda revision, _: script._upgrade_revs("head", revision), destination_rev="head"
    )
    with environment:
        environment.configure(connection=connection, version_table_schema=module)
        environment.run_migrations()


async def migrate(target: Target, check: bool = False) -> dict[str, Any]:
    url = URL.create(
        "postgresql+asyncpg",
        username=target.user,
        password=target.password.get_secret_value(),
        host=target.host,
        port=target.port,
        database=target.database,
    )
    engine = create_async_engine(url, poolclass=NullPool, connect_args={"timeout": 10})
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(upgrade, target, check)
    except Exception as error:  # one database's trouble must not keep the others from their schema
        return {"database": target.database, "module": target.module, "error": f"{type(error).__name__}: {error}"}
    finally:
        await engine.dispose()


def results(targets: list[Target], check: bool) -> Iterator[dict[str, Any]]:
    with asyncio.Runner() as runner:
        for target in targets:
            yield runner.run(migrate(target, check))


def main() -> int:
    targets = TypeAdapter(list[Target]).validate_json(sys.stdin.read())
    failed = False
    for result in results(targets, check="--check" in sys.argv[1:]):
        print(json.dumps(result, ensure_ascii=False), flush=True)
        failed |= "error" in result
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
