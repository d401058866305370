"""What was declared of each resource: the plugin's memory beside the cloud's own store.

The cloud knows what it realises; the engine's classes have more inputs than that. Their full inputs lie here, whole and
encrypted, by class and id, with the URN that declared them.

Each creation is written down before it begins and stays open until the engine is seen to have it in its state. So one
that was cut off is found again by its URN, and what a state had and let go (retained, renamed, moved) is never taken
for it: a name declared anew is a creation of its own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from cryptography.fernet import Fernet

from infra.local.plugin.binding import Creation, name_of, stack_of, token_of
from infra.local.plugin.values import Values

TABLES = """
CREATE TABLE IF NOT EXISTS declared (
    token TEXT NOT NULL, id TEXT NOT NULL, urn TEXT NOT NULL, content BLOB NOT NULL, creation INTEGER,
    PRIMARY KEY (token, id)
);
CREATE INDEX IF NOT EXISTS declared_urn ON declared (urn);
CREATE TABLE IF NOT EXISTS creations (
    number INTEGER PRIMARY KEY, urn TEXT NOT NULL, token TEXT NOT NULL, stack TEXT NOT NULL, owner TEXT NOT NULL,
    open INTEGER NOT NULL, UNIQUE (token, stack, owner)
);
CREATE INDEX IF NOT EXISTS creations_urn ON creations (urn);
"""
COLUMNS = "token, id, urn, content, creation"


@dataclass(frozen=True)
class Declared:
    """One resource as its program declared it, and the number of the creation that made it."""

    token: str
    id: str
    urn: str
    inputs: Values
    computed: Values
    creation: int | None = None


@dataclass(frozen=True)
class Standing:
    """A resource that exists. An unsettled one was made by an update whose state may not know of it."""

    urn: str
    token: str
    id: str
    settled: bool


class DeclaredStore:
    """One SQLite file in the cloud's folder; safe for several engines at once and against sudden ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = folder / "declared.sqlite"
        self._key_file = folder / "declared.key"
        self._local = threading.local()
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(TABLES)
            _bring_up_to_date(connection)
        self._file.chmod(0o600)

    # --- creations

    def begin(self, urn: str) -> Creation:
        """The creation of this URN that no state has heard of yet; else a new one."""
        token, stack = token_of(urn), stack_of(urn)
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            query = "SELECT number, owner FROM creations WHERE urn = ? AND open"
            row = connection.execute(f"{query} ORDER BY number DESC", (urn,)).fetchone()
            if row:
                return Creation(row[0], urn, row[1])
            query = "SELECT owner FROM creations WHERE token = ? AND stack = ?"
            given = {owner for (owner,) in connection.execute(query, (token, stack))}
            owner = next(name for name in _names(name_of(urn)) if name not in given)
            insert = "INSERT INTO creations (urn, token, stack, owner, open) VALUES (?, ?, ?, ?, 1)"
            number = connection.execute(insert, (urn, token, stack, owner)).lastrowid
            assert number is not None
            return Creation(number, urn, owner)

    def made_by(self, creation: Creation) -> Declared | None:
        """What the creation has made already."""
        query = f"SELECT {COLUMNS} FROM declared WHERE creation = ?"  # noqa: S608
        with self._connection() as connection:
            row = connection.execute(query, (creation.number,)).fetchone()
        return self._read(row) if row else None

    def settle(self, token: str, id: str, urn: str) -> None:
        """The engine has it in its state, under this URN: a program may have renamed it, a person moved it."""
        query = "SELECT d.urn, c.open FROM declared d LEFT JOIN creations c ON number = creation"
        with self._connection() as connection:
            row = connection.execute(f"{query} WHERE d.token = ? AND d.id = ?", (token, id)).fetchone()
            if row and row[0] != urn:
                connection.execute("UPDATE declared SET urn = ? WHERE token = ? AND id = ?", (urn, token, id))
            if row and row[1]:
                _set_open(connection, token, id, False)

    def gone(self, token: str, id: str) -> None:
        """The cloud has it no more, and the engine takes note: declared again, it is the same creation once more."""
        with self._connection() as connection:
            _set_open(connection, token, id, True)
            query = "DELETE FROM declared WHERE token = ? AND id = ? AND creation IS NULL"
            connection.execute(query, (token, id))

    def settle_creations(self, numbers: Iterable[int]) -> None:
        """The engine heard of these and came to its end in order."""
        with self._connection() as connection:
            rows = [(number,) for number in numbers]
            connection.executemany("UPDATE creations SET open = 0 WHERE number = ?", rows)

    # --- what is declared

    def get(self, token: str, id: str) -> Declared | None:
        with self._connection() as connection:
            query = f"SELECT {COLUMNS} FROM declared WHERE token = ? AND id = ?"  # noqa: S608
            row = connection.execute(query, (token, id)).fetchone()
        return self._read(row) if row else None

    def of_class(self, token: str) -> list[Declared]:
        with self._connection() as connection:
            query = f"SELECT {COLUMNS} FROM declared WHERE token = ? ORDER BY rowid"  # noqa: S608
            rows = connection.execute(query, (token,)).fetchall()
        return [self._read(row) for row in rows]

    def everything(self) -> list[Declared]:
        with self._connection() as connection:
            rows = connection.execute(f"SELECT {COLUMNS} FROM declared").fetchall()  # noqa: S608
        return [self._read(row) for row in rows]

    def inventory(self) -> list[Standing]:
        """Everything, without its inputs."""
        query = "SELECT d.urn, d.token, d.id, c.open FROM declared d LEFT JOIN creations c ON number = creation"
        with self._connection() as connection:
            rows = connection.execute(f"{query} ORDER BY d.urn, d.id").fetchall()
        return [Standing(urn, token, id, settled=not is_open) for urn, token, id, is_open in rows]

    def put(self, declared: Declared) -> None:
        """What exists by now. Without a number of its creation, the one that is known stays."""
        row = (declared.token, declared.id, declared.urn, self._seal(declared), declared.creation)
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO declared (token, id, urn, content, creation) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (token, id) DO UPDATE SET urn = excluded.urn, content = excluded.content,"
                " creation = coalesce(excluded.creation, creation)",
                row,
            )

    def remove(self, token: str, id: str) -> None:
        with self._connection() as connection:
            _set_open(connection, token, id, False)
            connection.execute("DELETE FROM declared WHERE token = ? AND id = ?", (token, id))

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, in a transaction of its own."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite3.connect(self._file, timeout=60)
        with connection:
            yield connection

    def _seal(self, declared: Declared) -> bytes:
        content = {"inputs": declared.inputs, "computed": declared.computed}
        return self._cipher.encrypt(json.dumps(content).encode())

    def _read(self, row: tuple[str, str, str, bytes, int | None]) -> Declared:
        token, id, urn, content, creation = row
        opened = json.loads(self._cipher.decrypt(content))
        return Declared(token, id, urn, opened["inputs"], opened["computed"], creation)

    @cached_property
    def _cipher(self) -> Fernet:
        if not self._key_file.exists():
            fresh = self._key_file.with_name(f".{self._key_file.name}.{os.getpid()}.{threading.get_ident()}")
            fresh.touch(mode=0o600)
            fresh.write_bytes(Fernet.generate_key())
            try:
                os.link(fresh, self._key_file)  # whoever comes first decides; linking never overwrites
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return Fernet(self._key_file.read_bytes())


def _names(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}~{number}" for number in count(2))


def _set_open(connection: sqlite3.Connection, token: str, id: str, open: bool) -> None:
    made = "SELECT creation FROM declared WHERE token = ? AND id = ?"
    connection.execute(f"UPDATE creations SET open = ? WHERE number = ({made})", (open, token, id))  # noqa: S608


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """A store from before creations were written down: all that it has was in a state, under the owner's name then."""
    connection.execute("BEGIN IMMEDIATE")
    columns = {row[1] for row in connection.execute("PRAGMA table_info(declared)")}
    if "creation" in columns:
        return
    connection.execute("ALTER TABLE declared ADD COLUMN creation INTEGER")
    for urn, token, id, replaces in connection.execute("SELECT urn, token, id, replaces FROM declared").fetchall():
        owner = f"{name_of(urn)}~{replaces}" if replaces else name_of(urn)
        row = (urn, token, stack_of(urn), owner)
        insert = "INSERT OR IGNORE INTO creations (urn, token, stack, owner, open) VALUES (?, ?, ?, ?, 0)"
        number = connection.execute(insert, row).lastrowid
        connection.execute("UPDATE declared SET creation = ? WHERE token = ? AND id = ?", (number, token, id))
