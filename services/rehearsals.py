"""Remove what a rehearsal left: `python -m services.rehearsals < rehearsal.json`.

Reads on stdin `{"usernames": [...], "attempts_only": false, "databases": [{"module": "affairs" | "query" | "identity",
"host": …, "port": …, "database": …, "user": …, "password": …}]}` and writes one JSON line a database: `{"database",
"module", "removed": {table: rows}}`, or `{"database", "module", "error"}`. Ends with 1 when anything failed; run it
again then.

It works as the databases' owners, since audit tables are insert-only for the applications, and refuses whatever is not
a rehearsal: each user name must begin with `rehearsal-`; identity must know the person under that name with a name that
begins with 演练, and a tenant's case must carry such an applicant's name as well as that person's subject. Cases go
with traces, materials and waiting messages, in batches; the people go last, so that an interrupted removal finds them.

With `attempts_only` nothing is forgotten but how often these people tried to log in: a run that went to the limit
leaves many tries without an answer, which would count as guesses against the next run.

Rows of inboxes stay: they hold a sender and a sequence, nothing of a person or a case, and forgetting one could have
an old message applied again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import BaseModel, Field, SecretStr, ValidationError

USERNAME_MARK = "rehearsal-"
NAME_MARK = "演练"
BATCH = 500
ROUNDS = 5

NUMBERS = """
SELECT number FROM affairs.cases
WHERE applicant = ANY($1::text[]) AND starts_with(applicant_name, $2) ORDER BY number LIMIT $3 FOR UPDATE"""
BY_NUMBER = {
    "affairs.outbox": "DELETE FROM affairs.outbox WHERE key = ANY($1::text[])",
    "affairs.traces": "DELETE FROM affairs.traces WHERE number = ANY($1::text[])",
    "affairs.materials": "DELETE FROM affairs.materials WHERE number = ANY($1::text[])",
    "affairs.cases": "DELETE FROM affairs.cases WHERE number = ANY($1::text[])",
}
INDEX = """
DELETE FROM query.cases WHERE number IN (
    SELECT number FROM query.cases WHERE applicant = ANY($1::text[]) ORDER BY number LIMIT $2)"""
PEOPLE = """
SELECT id::text AS subject, username, starts_with(name, $2) AS marked
FROM identity.person WHERE username = ANY($1::text[])"""
ATTEMPTS = "identity.attempt"
BY_PERSON = {
    ATTEMPTS: "DELETE FROM identity.attempt WHERE split_part(key, ':', 2) = ANY($1::text[])",
    "identity.audit": "DELETE FROM identity.audit WHERE person_id = ANY($1::uuid[]) OR actor = ANY($1::text[])",
    "identity.session": "DELETE FROM identity.session WHERE person_id = ANY($1::uuid[])",
    "identity.person": "DELETE FROM identity.person WHERE id = ANY($1::uuid[]) AND starts_with(username, $2)",
}


class Refused(Exception):
    """Somebody or something named is no rehearsal; nothing was removed."""


class Database(BaseModel):
    module: Literal["affairs", "query", "identity"]
    host: str
    port: int
    database: str
    user: str
    password: SecretStr


class Removal(BaseModel):
    attempts_only: bool = False
    usernames: list[Annotated[str, Field(pattern=rf"^{USERNAME_MARK}[a-z0-9._-]+$")]] = Field(min_length=1)
    databases: list[Database]


async def connect(database: Database) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=database.host,
        port=database.port,
        database=database.database,
        user=database.user,
        password=database.password.get_secret_value(),
        timeout=10,
        command_timeout=60,
    )


async def subjects_of(database: Database, usernames: list[str]) -> list[str]:
    """The subjects of those of the people that identity still knows.

    Raises:
        Refused: one of them is not called as people of a rehearsal are.
    """
    connection = await connect(database)
    try:
        rows = await connection.fetch(PEOPLE, usernames, NAME_MARK)
    finally:
        await connection.close()
    strangers = [row["username"] for row in rows if not row["marked"] or not row["username"].startswith(USERNAME_MARK)]
    if strangers:
        raise Refused(f"{', '.join(strangers[:5])}: not a rehearsal's person by name; nothing was removed")
    return [row["subject"] for row in rows]


async def remove_cases(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    """A tenant's cases of these people, held here or followed here."""
    removed: Counter[str] = Counter()
    while True:
        async with connection.transaction():
            numbers = [row["number"] for row in await connection.fetch(NUMBERS, subjects, NAME_MARK, BATCH)]
            for table, statement in BY_NUMBER.items() if numbers else ():
                removed[table] += _rows(await connection.execute(statement, numbers))
        if not numbers:
            return removed


async def remove_index(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    removed: Counter[str] = Counter()
    while rows := _rows(await connection.execute(INDEX, subjects, BATCH)):
        removed["query.cases"] += rows
    return removed


async def remove_attempts(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    return Counter({ATTEMPTS: _rows(await connection.execute(BY_PERSON[ATTEMPTS], subjects))})


async def remove_people(connection: asyncpg.Connection, subjects: list[str]) -> Counter[str]:
    """People with sessions and grants (which go with them), counted attempts and audit."""
    removed: Counter[str] = Counter()
    for start in range(0, len(subjects), BATCH):
        batch = subjects[start : start + BATCH]
        async with connection.transaction():
            for table, statement in BY_PERSON.items():
                more = (USERNAME_MARK,) if "$2" in statement else ()
                removed[table] += _rows(await connection.execute(statement, batch, *more))
    return removed


def _rows(status: str) -> int:
    return int(status.rpartition(" ")[2])


Remove = Callable[[asyncpg.Connection, list[str]], Awaitable[Counter[str]]]
REMOVE: dict[str, Remove] = {"affairs": remove_cases, "query": remove_index, "identity": remove_people}


class Remover:
    """Goes through the databases in the order in which nothing comes back, and counts."""

    def __init__(self, removal: Removal) -> None:
        self._removal = removal
        self._removed: dict[tuple[str, str], Counter[str]] = {}
        self._errors: dict[tuple[str, str], str] = {}

    async def remove(self) -> list[dict[str, Any]]:
        """
        Raises:
            Refused: something named is no rehearsal.
        """
        identity = self._of("identity")
        if len(identity) != 1:
            raise Refused("one identity database must be named: it alone can tell who is a rehearsal")
        subjects = await subjects_of(identity[0], self._removal.usernames)
        if self._removal.attempts_only:
            await self._from(identity[0], subjects, remove_attempts)
            return self._lines()
        await self._remove_cases(subjects)
        for module in ("query", "identity"):
            # people stay while anything of theirs could not be removed, since only by them it can be found
            if not self._errors:
                for database in self._of(module):
                    await self._from(database, subjects)
        return self._lines()

    async def _remove_cases(self, subjects: list[str]) -> None:
        """A hand-over on its way reaches a tenant that was seen already: so again, until a round finds nothing."""
        for _ in range(ROUNDS):
            found = [await self._from(database, subjects) for database in self._of("affairs")]
            if self._errors or not any(found):
                return
        for database in self._of("affairs"):
            self._errors[(database.module, database.database)] = "cases still arrive; run it again"

    async def _from(self, database: Database, subjects: list[str], remove: Remove | None = None) -> int:
        key = (database.module, database.database)
        try:
            connection = await connect(database)
            try:
                removed = await (remove or REMOVE[database.module])(connection, subjects)
            finally:
                await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._errors[key] = f"{type(error).__name__}: {error}"
            return 0
        self._removed.setdefault(key, Counter()).update(removed)
        return removed.total()

    def _of(self, module: str) -> list[Database]:
        return [database for database in self._removal.databases if database.module == module]

    def _lines(self) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        for database in self._removal.databases:
            key = (database.module, database.database)
            line: dict[str, Any] = {"database": database.database, "module": database.module}
            if key in self._errors:
                line["error"] = self._errors[key]
            else:
                line["removed"] = {table: rows for table, rows in self._removed.get(key, Counter()).items() if rows}
            lines.append(line)
        return lines


def main() -> int:
    try:
        removal = Removal.model_validate_json(sys.stdin.read())
        lines = asyncio.run(Remover(removal).remove())
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)]
        print(json.dumps({"error": f"refused: {'; '.join(faults[:5])}"}, ensure_ascii=False))
        return 1
    except (Refused, OSError, TimeoutError, asyncpg.PostgresError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}, ensure_ascii=False))
        return 1
    for line in lines:
        print(json.dumps(line, ensure_ascii=False), flush=True)
    return 1 if any("error" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
