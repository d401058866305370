"""What was declared of each resource: the plugin's memory beside the cloud's own store.

The cloud knows what it realises; the engine's classes have more inputs than that. Their full inputs lie here, whole and
encrypted, by class and id, with the URN that declared them, so that a create whose answer never arrived is found again.
A class that nothing realises (an audit trail, a resource group) lives here alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.fernet import Fernet

from infra.local.plugin.values import Values

TABLE = """
CREATE TABLE IF NOT EXISTS declared (
    token TEXT NOT NULL, id TEXT NOT NULL, urn TEXT NOT NULL, replaces TEXT, content BLOB NOT NULL,
    PRIMARY KEY (token, id)
);
CREATE INDEX IF NOT EXISTS declared_urn ON declared (urn);
"""


@dataclass(frozen=True)
class Declared:
    """One resource as its program declared it; `replaces` is the id that it was made to take the place of."""

    token: str
    id: str
    urn: str
    inputs: Values
    computed: Values
    replaces: str | None = None


class DeclaredStore:
    """One SQLite file in the cloud's folder; safe for several engines at once and against sudden ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = folder / "declared.sqlite"
        self._key_file = folder / "declared.key"
        self._local = threading.local()
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(TABLE)
        self._file.chmod(0o600)

    def get(self, token: str, id: str) -> Declared | None:
        with self._connection() as connection:
            row = connection.execute(
                "SELECT token, id, urn, replaces, content FROM declared WHERE token = ? AND id = ?", (token, id)
            ).fetchone()
        return self._read(row) if row else None

    def of_urn(self, urn: str) -> list[Declared]:
        """All that this URN declared and that still exists, oldest first."""
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT token, id, urn, replaces, content FROM declared WHERE urn = ? ORDER BY rowid", (urn,)
            ).fetchall()
        return [self._read(row) for row in rows]

    def of_class(self, token: str) -> list[Declared]:
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT token, id, urn, replaces, content FROM declared WHERE token = ? ORDER BY rowid", (token,)
            ).fetchall()
        return [self._read(row) for row in rows]

    def everything(self) -> list[Declared]:
        with self._connection() as connection:
            rows = connection.execute("SELECT token, id, urn, replaces, content FROM declared").fetchall()
        return [self._read(row) for row in rows]

    def inventory(self) -> list[tuple[str, str, str]]:
        """(URN, class, id) of everything."""
        with self._connection() as connection:
            return list(connection.execute("SELECT urn, token, id FROM declared ORDER BY urn, id"))

    def add(self, declared: Declared) -> Declared | None:
        """Put it there unless its class and id are taken; then the one that has them."""
        content = self._seal(declared)
        row = (declared.token, declared.id, declared.urn, declared.replaces, content)
        with self._connection() as connection:
            added = connection.execute("INSERT OR IGNORE INTO declared VALUES (?, ?, ?, ?, ?)", row).rowcount
        return None if added else self.get(declared.token, declared.id)

    def put(self, declared: Declared) -> None:
        row = (declared.token, declared.id, declared.urn, declared.replaces, self._seal(declared))
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO declared VALUES (?, ?, ?, ?, ?) ON CONFLICT (token, id) DO UPDATE"
                " SET urn = excluded.urn, replaces = excluded.replaces, content = excluded.content",
                row,
            )

    def claim(self, token: str, id: str, urn: str) -> None:
        """Note the URN that has it now: a program may rename a resource by an alias."""
        with self._connection() as connection:
            row = connection.execute("SELECT urn FROM declared WHERE token = ? AND id = ?", (token, id)).fetchone()
            if row and row[0] != urn:
                connection.execute("UPDATE declared SET urn = ? WHERE token = ? AND id = ?", (urn, token, id))

    def remove(self, token: str, id: str) -> None:
        with self._connection() as connection:
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

    def _read(self, row: tuple[str, str, str, str | None, bytes]) -> Declared:
        token, id, urn, replaces, content = row
        opened = json.loads(self._cipher.decrypt(content))
        return Declared(token, id, urn, opened["inputs"], opened["computed"], replaces)

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
