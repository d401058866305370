"""A server that is out is 503 and worth another try; a bug is 500, a text that cannot be kept 422."""

from __future__ import annotations

import socket

import asyncpg
import httpx
import pytest
import redis.exceptions

from services.kernel.http import as_problem
from services.kernel.problems import Unavailable

OUT: tuple[tuple[str, Exception], ...] = (
    ("database", asyncpg.InternalClientError("got result for unknown protocol state 3")),
    ("database", asyncpg.InterfaceError("cannot call Connection.fetch(): connection is closed")),
    ("database", asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")),
    ("database", asyncpg.ConnectionFailureError("unexpected connection_lost() call")),
    ("database", asyncpg.ProtocolViolationError("server closed the connection unexpectedly")),  # PgBouncer's words
    ("database", asyncpg.CannotConnectNowError("the database system is starting up")),
    ("database", asyncpg.AdminShutdownError("terminating connection due to administrator command")),
    ("database", asyncpg.CrashShutdownError("terminating connection because of crash of another server process")),
    ("database", asyncpg.QueryCanceledError("canceling statement due to user request")),
    ("database", asyncpg.TooManyConnectionsError("sorry, too many clients already")),
    ("database", asyncpg.DiskFullError("could not extend file")),
    ("database", asyncpg.PostgresIOError("could not read block")),
    ("database", asyncpg.DeadlockDetectedError("deadlock detected")),
    ("database", asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction")),
    ("cache", redis.exceptions.ConnectionError("Error 111")),
    ("cache", redis.exceptions.TimeoutError("Timeout reading from socket")),
    ("cache", redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory")),
    ("service", httpx.ConnectError("All connection attempts failed")),
    ("service", httpx.ReadTimeout("")),
    ("dependency", TimeoutError()),
    ("dependency", ConnectionResetError(104, "Connection reset by peer")),
    ("dependency", socket.gaierror(-3, "Temporary failure in name resolution")),
)

BUGS: tuple[tuple[int, Exception], ...] = (
    (422, asyncpg.DataError("invalid input for query argument $1")),
    (422, asyncpg.UntranslatableCharacterError("unsupported Unicode escape sequence")),
    (500, asyncpg.UndefinedTableError('relation "affairs.nothing" does not exist')),
    (500, asyncpg.InsufficientPrivilegeError("permission denied for table cases")),
    (500, asyncpg.PostgresSyntaxError("syntax error")),
    (500, FileNotFoundError(2, "No such file or directory")),
    (500, KeyError("330199")),
)


@pytest.mark.parametrize(("dependency", "error"), OUT, ids=lambda value: type(value).__name__)
def test_a_dependency_that_is_out_is_503(dependency: str, error: Exception) -> None:
    problem = as_problem(error)
    assert isinstance(problem, Unavailable) and problem.kind == f"{dependency}-unavailable"
    assert problem.status == 503 and problem.headers["Retry-After"]


@pytest.mark.parametrize(("status", "error"), BUGS, ids=lambda value: type(value).__name__)
def test_a_bug_is_not_taken_for_an_outage(status: int, error: Exception) -> None:
    assert as_problem(error).status == status
