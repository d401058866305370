"""What has expired is thrown away, now and then. Any host may do it, and several at once do no harm."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import structlog

from services.kernel.tenancy import Doors

log = structlog.get_logger(__name__)


async def keep_house(doors: Doors, statements: Sequence[str], every_seconds: float) -> None:
    """Run the statements of a module's `store` on its own database, again and again while the service runs."""
    while True:
        # a start at random, so that hosts that were started together do not sweep together
        await asyncio.sleep(every_seconds * random.uniform(0.5, 1.5))  # noqa: S311
        try:
            async with doors.own_connection() as connection:
                for statement in statements:
                    await connection.execute(statement)
        except Exception as error:  # the database may be out; the next round will do
            log.warning("housekeeping.failed", error=repr(error))
