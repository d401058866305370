"""Bring the schemas of databases up to date: `python -m services.migrate [--check] < databases.json`.

Reads a JSON list on stdin, `[{"module": "affairs", "host": …, "port": …, "database": …, "user": …, "password": …,
"application_role": …, "measures_role": …, "former_roles": […]}]`, and writes one JSON line a database: `{"database",
"module", "from", "to", "granted", "changed"}`, or `{"database", "module", "error"}`. Ends with 1 when any failed; the
others are done all the same.

A module's revisions live in `services/<module>/migrations/versions`; its schema has the module's name and holds the
version table. A revision only expands: the release before it must go on working. Revisions run as the owner, in one
transaction a database, under an advisory lock. With `--check` nothing is written.

What the module's account may do with its tables is told whole in `services/<module>/migrations/rights.py`, as `RIGHTS`;
what the account that measures may read of them, if anything, as `MEASURED`. Both are settled, in the same transaction,
after a revision and wherever others stand, whoever has given or taken them: the schema's comment holds a digest of what
is wanted and of all rights that there were then.
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
COMMENT = "SELECT obj_description(to_regnamespace(:schema), 'pg_namespace')"
RIGHTS_NOW = """
SELECT md5(coalesce(string_agg(line, chr(10) ORDER BY line), '')) FROM (
    SELECT 'schema ' || coalesce(nspacl::text, '') AS line FROM pg_namespace WHERE nspname = :schema
    UNION ALL SELECT concat_ws(' ', relname, relacl::text) FROM pg_class WHERE relnamespace = to_regnamespace(:schema)
    UNION ALL SELECT concat_ws(' ', attrelid::regclass::text, attname, attacl::text) FROM pg_attribute
        JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = to_regnamespace(:schema) AND attacl IS NOT NULL
    UNION ALL SELECT concat_ws(' ', proname, proacl::text) FROM pg_proc WHERE pronamespace = to_regnamespace(:schema)
) AS lines"""
GRANTEES = """
SELECT DISTINCT coalesce(rolname, 'PUBLIC') FROM (
    SELECT (aclexplode(nspacl)).grantee FROM pg_namespace WHERE nspname = :schema
    UNION SELECT (aclexplode(relacl)).grantee FROM pg_class WHERE relnamespace = to_regnamespace(:schema)
    UNION SELECT (aclexplode(proacl)).grantee FROM pg_proc WHERE pronamespace = to_regnamespace(:schema)
    UNION SELECT (aclexplode(attacl)).grantee FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = to_regnamespace(:schema)
) AS held LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE grantee = 0 OR (rolname <> current_user AND rolname <> ALL(:former))"""
LOCK_SECONDS = 60
"""How long another migration may hold a database, or somebody a table that a revision changes."""
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
    former_roles: list[str] = []
    """They keep what they have."""


@dataclass(frozen=True)
class Rights:
    """What two accounts may do in a module's schema, and nobody else there but its owner, and accounts of before."""

    schema: str
    by_role: dict[str, tuple[str, ...]]
    former: list[str]

    @classmethod
    def of(cls, target: Target) -> Rights:
        module = importlib.import_module(f"services.{target.module}.migrations.rights")
        told = {target.application_role: module.RIGHTS}
        if target.measures_role:
            told[target.measures_role] = getattr(module, "MEASURED", ())
        return cls(target.module, told, target.former_roles)

    @property
    def grants(self) -> list[str]:
        lines = []
        for role, statements in self.by_role.items():
            if statements:
                lines.append(f"GRANT USAGE ON SCHEMA {self.schema} TO {_quoted(role)}")
            lines += [statement.format(schema=self.schema, role=_quoted(role)) for statement in statements]
        return lines

    def mark(self, connection: Connection) -> str:
        """Of what is wanted, and of all rights that there really are in the schema: whoever changes one is seen."""
        wanted = hashlib.sha256("\n".join(self.grants).encode()).hexdigest()[:16]
        really = connection.execute(text(RIGHTS_NOW), {"schema": self.schema}).scalar()
        return f"rights {wanted} {really}"

    def stand(self, connection: Connection) -> bool:
        comment = connection.execute(text(COMMENT), {"schema": self.schema}).scalar()
        return bool(comment == self.mark(connection))

    def settle(self, connection: Connection) -> None:
        """Takes everything from everybody first, whoever has given it; but functions from named roles alone: what
        everybody may call, only who enters the schema can."""
        held = connection.execute(text(GRANTEES), {"schema": self.schema, "former": self.former}).scalars()
        for grantee in [*held, *self.by_role]:
            whom = grantee if grantee == "PUBLIC" else _quoted(grantee)
            for things in ("ALL TABLES IN SCHEMA", "ALL SEQUENCES IN SCHEMA", "SCHEMA"):
                connection.exec_driver_sql(f"REVOKE ALL ON {things} {self.schema} FROM {whom}")
            if whom != "PUBLIC":
                connection.exec_driver_sql(f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {self.schema} FROM {whom}")
        for statement in self.grants:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"COMMENT ON SCHEMA {self.schema} IS '{self.mark(connection)}'")


def _quoted(role: str) -> str:
    return '"' + role.replace('"', '""') + '"'


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
    connection.execute(text("SET LOCAL search_path = pg_catalog, pg_temp"))
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
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
