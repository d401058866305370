"""What has expired is thrown away, now and then. Any host may do it, and several at once do no harm."""

from __future__ import annotations

import asyncio
import random

import structlog

from services.kernel.tenancy import Doors

log = structlog.get_logger(__name__)

EVERY_SECONDS = 600.0
STATEMENTS = (
    "DELETE FROM identity.attempt WHERE window_ends_at < now() - interval '1 hour'",
    "DELETE FROM identity.authorization_code WHERE expires_at < now() - interval '1 day'",
    "DELETE FROM identity.session WHERE expires_at < now() - interval '30 days'",
    "DELETE FROM identity.device WHERE seen_at < now() - interval '180 days'",
    "DELETE FROM identity.invitation WHERE expires_at < now() - interval '30 days'",
)


async def keep_house(doors: Doors) -> None:
    while True:
        # a start at random, so that hosts that were started together do not sweep together
        await asyncio.sleep(EVERY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311
        try:
            await sweep(doors)
        except Exception as error:  # the database may be out; the next round will do
            log.warning("housekeeping.failed", error=repr(error))


async def sweep(doors: Doors) -> None:
    async with doors.own_connection() as connection:
        for statement in STATEMENTS:
            await connection.execute(statement)
