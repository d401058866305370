"""The one place that tells a dependency that is out from a bug of ours.

Whatever a driver raises when its server dies, hangs, restarts or turns us away is an outage: 503, worth another try.
Everything else is a bug: 500. A driver's complaint about what we gave it is never an outage, whatever its class.
"""

from __future__ import annotations

import socket

import asyncpg
import httpx
from redis.exceptions import RedisError

DATABASE = (
    asyncpg.PostgresConnectionError,  # 08: gone, or PgBouncer's own words: no server, waited too long, shutting down
    asyncpg.InterfaceError,  # the connection was closed under a statement, or under the pool
    asyncpg.InternalClientError,  # what the driver says of an answer that a dying server cut off
    asyncpg.OperatorInterventionError,  # 57: shutting down, starting up, cancelled by its operator
    asyncpg.InsufficientResourcesError,  # 53: no connection left, no memory, no disk
    asyncpg.PostgresSystemError,  # 58: its disk fails
    asyncpg.TransactionRollbackError,  # 40: deadlock; the same again succeeds
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # the standby, for as long as a failover lasts
)
NETWORK = (ConnectionError, TimeoutError, socket.gaierror)
OUTAGES = (*DATABASE, *NETWORK, RedisError, httpx.TransportError)


def dependency_out(error: BaseException, otherwise: str = "dependency") -> str | None:
    """Which dependency is out, when that is what the error says; `otherwise` names one that the error does not tell."""
    if isinstance(error, ValueError):  # "cannot encode this argument" is an InterfaceError too
        return None
    if isinstance(error, DATABASE):
        return "database"
    if isinstance(error, RedisError):
        return "cache"
    if isinstance(error, httpx.TransportError):
        return "service"
    return otherwise if isinstance(error, NETWORK) else None
