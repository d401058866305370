"""Remove what a rehearsal left: `python -m services.rehearsals < rehearsal.json`.

Reads on stdin `{"usernames": [...], "attempts_only": false, "databases": [{"module": "affairs", "host": …, "port": …,
"database": …, "user": …, "password": …}]}` and writes one JSON line a database: `{"database", "module", "removed":
{table: rows}}`, or `{"database", "module", "error"}`. Ends with 1 when anything failed; run it again then.

It works as the databases' owners, since audit tables are insert-only for the applications, and refuses whatever is not
a rehearsal: each user name must begin with `rehearsal-`, and identity must know the person under that name with a name
that begins with 演练. What a module knows of people it forgets itself, in its `forget.py`; the people go last, so that
an interrupted removal finds them.

With `attempts_only` nothing is forgotten but how often these people tried to log in: a run that went to the limit
leaves many tries without an answer, which would count as guesses against the next run.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import asyncpg
from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError

from services.identity.forget import NoRehearsal, forget_attempts, subjects_of
from services.kernel.forgetting import USERNAME_MARK

IDENTITY = "identity"
MODULES = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/forget.py")))
"""Those that know anything of people."""
ROUNDS = 5
OUT = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

Forget = Callable[[asyncpg.Connection, list[str]], Awaitable[Counter[str]]]


def known(module: str) -> str:
    if module not in MODULES:
        raise ValueError(f"no module that forgets; there are {', '.join(MODULES)}")
    return module


class Database(BaseModel):
    module: Annotated[str, AfterValidator(known)]
    host: str
    port: int
    database: str
    user: str
    password: SecretStr

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(
            host=self.host,
            port=self.port,
            database=self.database,
            user=self.user,
            password=self.password.get_secret_value(),
            timeout=10,
            command_timeout=60,
        )
        try:
            yield connection
        finally:
            await connection.close()

    @property
    def forget(self) -> Forget:
        module: Forget = importlib.import_module(f"services.{self.module}.forget").forget
        return module


class Removal(BaseModel):
    attempts_only: bool = False
    usernames: list[Annotated[str, Field(pattern=rf"^{USERNAME_MARK}[a-z0-9._-]+$")]] = Field(min_length=1)
    databases: list[Database]


class Remover:
    """Goes through the databases until nothing comes back, the people's own last, and counts."""

    def __init__(self, removal: Removal) -> None:
        self._removal = removal
        self._removed: dict[tuple[str, str], Counter[str]] = {}
        self._errors: dict[tuple[str, str], str] = {}

    async def remove(self) -> list[dict[str, Any]]:
        """
        Raises:
            NoRehearsal: something named is no rehearsal.
        """
        identity = [database for database in self._removal.databases if database.module == IDENTITY]
        if len(identity) != 1:
            raise NoRehearsal("one identity database must be named: it alone can tell who is a rehearsal")
        async with identity[0].connection() as connection:
            subjects = await subjects_of(connection, self._removal.usernames)
        if self._removal.attempts_only:
            await self._from(identity[0], subjects, forget_attempts)
            return self._lines()
        await self._remove_traces(subjects)
        # people stay while anything of theirs could not be removed, since only by them it can be found
        if not self._errors:
            await self._from(identity[0], subjects, identity[0].forget)
        return self._lines()

    async def _remove_traces(self, subjects: list[str]) -> None:
        """A message on its way reaches a database that was seen already: so again, until a round finds nothing."""
        others = [database for database in self._removal.databases if database.module != IDENTITY]
        for _ in range(ROUNDS):
            removed_rows = [await self._from(database, subjects, database.forget) for database in others]
            if self._errors or not any(removed_rows):
                return
        for database in others:
            self._errors[(database.module, database.database)] = "something still arrives; run it again"

    async def _from(self, database: Database, subjects: list[str], forget: Forget) -> int:
        key = (database.module, database.database)
        try:
            async with database.connection() as connection:
                removed = await forget(connection, subjects)
        except OUT as error:
            self._errors[key] = f"{type(error).__name__}: {error}"
            return 0
        self._removed.setdefault(key, Counter()).update(removed)
        return removed.total()

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
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
        print(json.dumps({"error": f"refused: {'; '.join(faults[:5])}"}, ensure_ascii=False))
        return 1
    except (NoRehearsal, *OUT) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}, ensure_ascii=False))
        return 1
    for line in lines:
        print(json.dumps(line, ensure_ascii=False), flush=True)
    return 1 if any("error" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
