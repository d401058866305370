"""Where the cloud remembers: one SQLite file an environment, secrets encrypted, several processes at once."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from pydantic import TypeAdapter
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from infra.local.cloud.errors import CloudError, Missing
from infra.local.cloud.records import Owner, Record, secret_fields

# Attributes that are encrypted like the secret fields of specs.
SECRET_ATTRIBUTES = frozenset({"secret_access_key"})

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS resources (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, stack TEXT NOT NULL, name TEXT NOT NULL, physical TEXT,
    ready INTEGER NOT NULL, spec TEXT NOT NULL, attributes TEXT NOT NULL, sealed BLOB NOT NULL,
    created_at REAL NOT NULL, UNIQUE (kind, stack, name), UNIQUE (kind, physical));
CREATE TABLE IF NOT EXISTS links (source TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (source, target));
CREATE INDEX IF NOT EXISTS links_by_target ON links (target);
CREATE TABLE IF NOT EXISTS addresses (
    address TEXT NOT NULL PRIMARY KEY, switch TEXT NOT NULL, holder TEXT NOT NULL, label TEXT NOT NULL,
    UNIQUE (holder, label));
"""


class Store:
    """Records of every kind. Thread-safe: a connection a thread; process-safe: WAL and immediate transactions."""

    def __init__(self, root: Path, specs: Mapping[str, type[Any]]) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = root / "cloud.sqlite"
        self._locks = root / "locks"
        self._locks.mkdir(exist_ok=True)
        self._specs = specs
        self._adapters: dict[str, TypeAdapter[Any]] = {}
        self._fernet = Fernet(_key(root / "cloud.key"))
        self._threads = threading.local()
        with self.lock("schema"):
            self._connection().executescript(_SCHEMA)

    @property
    def number(self) -> int:
        """Of its file, by the file system: no other's for as long as somebody has it open."""
        return self._path.stat().st_ino

    # --- transactions and locks

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = self._threads.connection = self._open()
            self._path.chmod(0o600)
        return connection

    @retry(
        retry=retry_if_exception_type(sqlite3.OperationalError),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(30),
        reraise=True,
    )
    def _open(self) -> sqlite3.Connection:
        """While the last of others closes its log, the file is locked, and SQLite itself does not wait for that."""
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Held across processes and threads; waits. A dead holder's lock is free."""
        with (self._locks / f"{name}.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def try_lock(self, name: str) -> Iterator[bool]:
        """Like `lock`, but yields False at once where somebody holds it."""
        with (self._locks / f"{name}.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    # --- facts of the environment itself

    def fact(self, name: str) -> str | None:
        row = self._connection().execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row["value"]) if row else None

    def set_fact(self, name: str, value: str) -> None:
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def sealed_fact(self, name: str, make: Any) -> str:
        """A secret of the cloud's own; made by `make()` at the first asking, encrypted at rest."""
        with self.lock(f"fact-{name}"):
            sealed = self.fact(name)
            if sealed is None:
                sealed = self._fernet.encrypt(str(make()).encode()).decode()
                self.set_fact(name, sealed)
        return self._fernet.decrypt(sealed.encode()).decode()

    # --- records

    def get(self, identity: str) -> Record[Any] | None:
        row = self._connection().execute("SELECT * FROM resources WHERE id = ?", (identity,)).fetchone()
        return self._record(row) if row else None

    def by_physical(self, kind: str, physical: str) -> Record[Any] | None:
        query = "SELECT * FROM resources WHERE kind = ? AND physical = ?"
        row = self._connection().execute(query, (kind, physical)).fetchone()
        return self._record(row) if row else None

    def of_kind(self, *kinds: str) -> list[Record[Any]]:
        marks = ",".join("?" * len(kinds))
        query = f"SELECT * FROM resources WHERE kind IN ({marks}) ORDER BY created_at, id"  # noqa: S608
        return [self._record(row) for row in self._connection().execute(query, kinds)]

    def all(self) -> list[Record[Any]]:
        rows = self._connection().execute("SELECT * FROM resources ORDER BY created_at, id")
        return [self._record(row) for row in rows]

    def count(self, kind: str) -> int:
        query = "SELECT count(*) FROM resources WHERE kind = ?"
        return int(self._connection().execute(query, (kind,)).fetchone()[0])

    def put(self, record: Record[Any], physical: str | None, targets: Sequence[str]) -> None:
        """Insert or replace a record with the links to what it refers to."""
        spec, attributes, sealed = self._split(record)
        with self._transaction() as connection:
            self._refuse_missing(connection, record, targets)
            try:
                connection.execute(
                    "INSERT INTO resources VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                    " physical = excluded.physical, ready = excluded.ready, spec = excluded.spec,"
                    " attributes = excluded.attributes, sealed = excluded.sealed",
                    (
                        *(record.id, record.kind, record.owner.stack, record.owner.name, physical),
                        *(record.ready, spec, attributes, sealed, time.time()),
                    ),
                )
            except sqlite3.IntegrityError as error:
                query = "SELECT id, stack, name FROM resources WHERE kind = ? AND physical = ?"
                first = connection.execute(query, (record.kind, physical)).fetchone()
                has_it = f", {first['id']}, made as {first['name']!r} of {first['stack']}" if first else ""
                message = f"{record.kind} {physical!r} exists already{has_it}"
                raise CloudError(f"EntityAlreadyExist.{record.kind}", message) from error
            connection.execute("DELETE FROM links WHERE source = ?", (record.id,))
            links = [(record.id, target) for target in set(targets)]
            connection.executemany("INSERT INTO links VALUES (?, ?)", links)

    def remove(self, identity: str, refuse_dependants: bool = True) -> None:
        """Forget a record, its links and addresses, unless something living refers to it."""
        with self._transaction() as connection:
            if refuse_dependants:
                self._refuse_dependants(connection, identity)
            connection.execute("DELETE FROM resources WHERE id = ?", (identity,))
            connection.execute("DELETE FROM links WHERE source = ?", (identity,))
            connection.execute("DELETE FROM addresses WHERE holder = ?", (identity,))

    def refuse_dependants(self, identity: str) -> None:
        self._refuse_dependants(self._connection(), identity)

    def dependants(self, identity: str) -> list[Record[Any]]:
        query = "SELECT resources.* FROM links JOIN resources ON source = id WHERE target = ?"
        return [self._record(row) for row in self._connection().execute(query, (identity,))]

    @staticmethod
    def _refuse_missing(connection: sqlite3.Connection, record: Record[Any], targets: Sequence[str]) -> None:
        for target in targets:
            if not connection.execute("SELECT 1 FROM resources WHERE id = ?", (target,)).fetchone():
                message = f"{record.kind} {record.owner.name}: {target} does not exist"
                raise Missing("InvalidResource.NotFound", message)

    @staticmethod
    def _refuse_dependants(connection: sqlite3.Connection, identity: str) -> None:
        query = "SELECT kind, stack, name FROM links JOIN resources ON source = id WHERE target = ? LIMIT 5"
        users = [f"{row['kind']} {row['name']} ({row['stack']})" for row in connection.execute(query, (identity,))]
        if users:
            raise CloudError("DependencyViolation", f"{identity} is in use by {', '.join(users)}")

    # --- addresses

    def allocate(self, switch: str, candidates: Iterator[ipaddress.IPv4Address], holder: str, label: str = "") -> str:
        """The holder's address in the switch: the one it has, or the first free candidate."""
        with self._transaction() as connection:
            query = "SELECT address FROM addresses WHERE holder = ? AND label = ?"
            row = connection.execute(query, (holder, label)).fetchone()
            if row:
                return str(row["address"])
            taken = {row["address"] for row in connection.execute("SELECT address FROM addresses")}
            chosen = next((str(address) for address in candidates if str(address) not in taken), None)
            if chosen is None:
                raise CloudError("InvalidVSwitchId.IpNotEnough", f"vSwitch {switch} has no free address")
            connection.execute("INSERT INTO addresses VALUES (?, ?, ?, ?)", (chosen, switch, holder, label))
            return chosen

    def addresses_in(self, switch: str) -> int:
        query = "SELECT count(*) FROM addresses WHERE switch = ?"
        return int(self._connection().execute(query, (switch,)).fetchone()[0])

    # --- rows

    def _adapter(self, kind: str) -> TypeAdapter[Any]:
        if kind not in self._adapters:
            self._adapters[kind] = TypeAdapter(self._specs[kind])
        return self._adapters[kind]

    def _split(self, record: Record[Any]) -> tuple[str, str, bytes]:
        spec = self._adapter(record.kind).dump_python(record.spec, mode="json")
        attributes = dict(record.attributes)
        hidden = {name: spec.pop(name) for name in secret_fields(self._specs[record.kind])}
        hidden_attributes = {name: attributes.pop(name) for name in list(attributes) if name in SECRET_ATTRIBUTES}
        sealed = self._fernet.encrypt(json.dumps({"spec": hidden, "attributes": hidden_attributes}).encode())
        return json.dumps(spec, ensure_ascii=False), json.dumps(attributes, ensure_ascii=False), sealed

    def _record(self, row: sqlite3.Row) -> Record[Any]:
        hidden = json.loads(self._fernet.decrypt(row["sealed"]))
        spec = self._adapter(row["kind"]).validate_python(json.loads(row["spec"]) | hidden["spec"])
        attributes = json.loads(row["attributes"]) | hidden["attributes"]
        return Record(row["id"], row["kind"], Owner(row["stack"], row["name"]), spec, attributes, bool(row["ready"]))


def _key(path: Path) -> bytes:
    """The key file, made once with mode 0600; two makers agree on one."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(Fernet.generate_key())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
