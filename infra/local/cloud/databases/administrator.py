"""The cloud's own way into an instance: one account that comes from the machine alone."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any

from pg8000 import dbapi
from pg8000.native import Connection
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_delay, stop_any, wait_fixed
from tenacity.stop import stop_base

from infra.local.cloud.context import Context
from infra.local.cloud.specs.accounts import ADMINISTRATOR

PORT = 5432
ENDED_SECONDS = 1.0
"""How often one that is waited for is looked at, whether it has ended: to ask Podman takes a tenth of it."""
NO_ANSWER = (dbapi.InterfaceError, dbapi.DatabaseError, OSError)
"""Whatever comes of asking one that does not answer, or not so."""


class Administrator:
    """A connection of the cloud's own account to one instance, kept open and renewed when it broke."""

    def __init__(self, address: str, password: str) -> None:
        self._address = address
        self._password = password
        self._connection: Connection | None = None

    def connect(self, database: str = "postgres") -> Connection:
        return Connection(
            ADMINISTRATOR, host=self._address, port=PORT, password=self._password, database=database, timeout=30
        )

    def run(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement; a broken connection is opened anew once."""
        if self._connection is not None:
            try:
                return self._connection.run(statement, **values) or []
            except (dbapi.InterfaceError, OSError):
                self.close()
        self._connection = self.connect()
        return self._connection.run(statement, **values) or []

    def run_in(self, database: str, *statements: str) -> None:
        connection = self.connect(database)
        try:
            for statement in statements:
                connection.run(statement)
        finally:
            connection.close()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    def wait(self, seconds: float, ended: Callable[[], bool]) -> None:
        """Returns once it answers. One that has `ended` is not waited for: whoever runs it tries again sooner."""
        stop = stop_any(stop_after_delay(seconds), _StopWhen(ended))
        again = retry(stop=stop, wait=wait_fixed(0.1), retry=retry_if_exception_type(NO_ANSWER))
        again(self.run)("SELECT 1")


class _StopWhen(stop_base):
    """Ends a retry when this holds, asked now and then."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        self._holds, self._asked = holds, time.monotonic()

    def __call__(self, retry_state: RetryCallState) -> bool:
        if time.monotonic() < self._asked + ENDED_SECONDS:
            return False
        self._asked = time.monotonic()
        return self._holds()


def administrator(context: Context, instance: str, address: str = "") -> Administrator:
    """The calling thread's administrator of an instance."""
    held: dict[tuple[str, str], Administrator] = context.per_thread("administrators", dict)
    if not address:
        record = context.store.get(instance)
        address = record.attributes.get("address", "") if record else ""
    key = (instance, address)
    if key not in held:
        held[key] = Administrator(address, administrators_password(context))
    return held[key]


def quoted(name: str) -> str:
    """An identifier; names were checked, so only hyphens need the quotes."""
    return '"' + name.replace('"', '""') + '"'


def administrators_password(context: Context) -> str:
    """One for all instances of the environment."""
    return context.store.sealed_fact("database-administrator", lambda: secrets.token_urlsafe(32))
