from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from services.kernel.housekeeping import keep_house
from services.kernel.problems import Unavailable
from services.kernel.tenancy import Doors


class OutAtFirst:
    """Doors to a database that is out when it is asked first."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.swept = asyncio.Event()
        self._asked = 0

    @asynccontextmanager
    async def own_connection(self) -> AsyncIterator[Any]:
        self._asked += 1
        if self._asked == 1:
            raise Unavailable("database")
        yield self
        self.swept.set()

    async def execute(self, statement: str) -> None:
        self.ran.append(statement)


async def test_a_database_that_is_out_ends_no_housekeeping() -> None:
    doors = OutAtFirst()
    house = asyncio.create_task(keep_house(cast(Doors, doors), ["DELETE a", "DELETE b"], 0.001))
    await asyncio.wait_for(doors.swept.wait(), 5)
    house.cancel()
    assert doors.ran[:2] == ["DELETE a", "DELETE b"]
