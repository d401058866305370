"""What a service requires of its databases to be ready."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.kernel.runtime import Kernel

ASKED = 3


def own_database(kernel: Kernel) -> Callable[[], Awaitable[bool]]:
    """Ready when the service's own database answers."""

    async def check() -> bool:
        async with kernel.doors.own_connection() as connection:
            return bool(await connection.fetchval("SELECT true"))

    return check


def tenant_databases(kernel: Kernel) -> Callable[[], Awaitable[bool]]:
    """Ready when the first of this cell's databases that is asked answers, or when there is none to ask yet.

    One tenant's trouble must not take the host from all others, so a few are asked before the host is unready.
    """

    async def check() -> bool:
        failure: Exception | None = None
        for tenant in kernel.directory.own_cell()[:ASKED]:
            try:
                async with kernel.doors.connection(tenant.code) as connection:
                    return bool(await connection.fetchval("SELECT true"))
            except Exception as error:
                failure = error
        if failure:
            raise failure
        return True

    return check
