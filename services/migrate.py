"""Bring the schemas of databases up to date: `python -m services.migrate [--check] < databases.json`.

Reads a JSON list on stdin, `[{"module": "affairs", "host": …, "port": …, "database": …, "user": …, "password": …,
"application_role": …}]`, and writes one JSON line a database: `{"database", "module", "from", "to", "changed"}`, or
`{"database", "module", "error"}`. Ends with 1 when any failed; the others are done all the same.

A module's revisions live in `services/<module>/migrations/versions`; its schema has the module's name and holds the
version table. A revision only expands: the release before it must go on working. Revisions run as the owner, in one
transaction a database, under an advisory lock, and grant `context.config.attributes["application_role"]` its rights.
With `--check` nothing is written.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
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
LOCK = 0x7969_7761_6E67  # "yiwang"


class Target(BaseModel):
    module: str
    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    application_role: str


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
    current = _current(connection, target.module)
    if current != newest and not check:
        _run(connection, script, target)
    return {
        "database": target.database,
        "module": target.module,
        "from": current,
        "to": newest,
        "changed": current != newest,
    }


def _current(connection: Connection, module: str) -> str | None:
    if connection.execute(text("SELECT to_regclass(:table)"), {"table": f"{module}.alembic_version"}).scalar() is None:
        return None
    return MigrationContext.configure(connection, opts={"version_table_schema": module}).get_current_revision()


def _run(connection: Connection, script: ScriptDirectory, target: Target) -> None:
    """Run the missing revisions in the connection's transaction."""
    config = Config()
    config.attributes["application_role"] = target.application_role
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{target.module}"'))
    environment = EnvironmentContext(
        config, script, fn=lambda revision, _: script._upgrade_revs("head", revision), destination_rev="head"
    )
    with environment:
        environment.configure(connection=connection, version_table_schema=target.module)
        environment.run_migrations()
    connection.execute(text(f'GRANT USAGE ON SCHEMA "{target.module}" TO "{target.application_role}"'))


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
