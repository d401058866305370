"""What a service on a tenants' cell requires to be ready."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.kernel.runtime import Kernel

ASKED = 3


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
