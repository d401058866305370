"""Batches: calls that arrive while a commit is in flight share the next one.

A commit costs the same for one row as for sixty. So the first call goes at once, those that come meanwhile
wait for it, and then go together: no timer, no added wait on an idle system.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, NamedTuple, Protocol

import asyncpg

from services.kernel.problems import Problem, Unavailable
from services.kernel.telemetry import BATCH_SIZE

Row = Mapping[str, Any]


class Connection(Protocol):
    """What of asyncpg's connection our stores use. Every call that waits takes `$1`-style arguments."""

    async def fetch(self, query: str, *arguments: Any) -> list[Row]: ...
    async def fetchrow(self, query: str, *arguments: Any) -> Row | None: ...
    async def fetchval(self, query: str, *arguments: Any) -> Any: ...
    async def execute(self, query: str, *arguments: Any) -> str: ...
    def transaction(self) -> AbstractAsyncContextManager[Any]: ...


class _Named(NamedTuple):
    name: str


class TypesOnce(asyncpg.Connection):  # type: ignore[misc] # asyncpg has no types
    """A connection that asks for no type that another one of this process has been told of.

    asyncpg asks each new connection for the array types that its statements use: a recursive walk through the catalogue
    that PostgreSQL plans anew each time, and may even compile (JIT), for tens of milliseconds. What PostgreSQL itself
    brings has the same numbers in every database (below `FIRST_OWN`, src/include/access/transam.h), so once is enough.
    """

    FIRST_OWN = 16384
    _known: ClassVar[dict[int, Any]] = {}

    async def _introspect_types(self, typeoids: Iterable[int], *others: Any) -> tuple[list[Any], Any]:
        asked = set(typeoids)
        if asked <= self._known.keys():
            return list(self._known.values()), _Named("none was needed")
        types, statement = await super()._introspect_types(asked, *others)
        self._known.update((type_row["oid"], type_row) for type_row in types if type_row["oid"] < self.FIRST_OWN)
        return types, statement


class ConnectionLost(Unavailable):
    """The database went away under a statement: whether that was done is not known."""

    def __init__(self) -> None:
        super().__init__("database")


class Busy(Problem):
    """The part of a tenant's connections that messages may use is taken, by others before this one."""

    def __init__(self) -> None:
        super().__init__(503, "messages-busy", "Busy, please try again soon.", headers={"Retry-After": "1"})


class Share:
    """A part of a database's connections, so that the rest is always for people.

    Who comes when all of it is taken waits here, holding nothing, and not for long.
    """

    WAIT_SECONDS = 1.0
    MOST_WAITING = 16

    def __init__(self, connections: int) -> None:
        self._free = asyncio.Semaphore(connections)
        self._waiting = 0

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """One connection's worth. Raises Busy when it is not to be had soon."""
        if self._free.locked():
            await self._wait()
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self) -> None:
        if self._waiting >= self.MOST_WAITING:
            raise Busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self.WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Busy() from None
        finally:
            self._waiting -= 1


_Call = tuple[tuple[Any, ...], asyncio.Future[Row]]


class CommitSlots:
    """How many batches of several databases commit at once: fewer and larger ones do the same work with less.

    A batch waits for a slot at most a twentieth of a second and then goes all the same, so that one database that
    hangs holds up no other.
    """

    PATIENCE_SECONDS = 0.05

    def __init__(self, slots: int) -> None:
        self._free = asyncio.Semaphore(slots)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        taken = True
        try:
            async with asyncio.timeout(self.PATIENCE_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            taken = False
        try:
            yield
        finally:
            if taken:
                self._free.release()


class Batches:
    """Calls of one statement on one database, committed together.

    The statement takes the members' arguments as parallel arrays, and gives a row for each member with its
    1-based place in them as `place`. It runs as one transaction by itself, which is safe through a pooler
    in transaction mode. It must be idempotent: a batch whose connection was lost is tried once more.
    Batches of several databases may share `commits`.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], AbstractAsyncContextManager[Connection]],
        statement: str,
        most: int = 64,
        commits: CommitSlots | None = None,
    ) -> None:
        self._connect = connect
        self._statement = statement
        self._most = most
        self._commits = commits or CommitSlots(1)
        self._size = BATCH_SIZE.labels(name)
        self._waiting: list[_Call] = []
        self._running: asyncio.Task[None] | None = None

    async def call(self, *arguments: Any) -> Row:
        """The row for these arguments, once it is committed. The first arguments should be the unique key."""
        answer: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, answer))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                async with self._commits.slot():
                    batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                    # one order for everybody: two hosts that commit the same keys then cannot deadlock
                    batch.sort(key=lambda member: member[0][:2])
                    self._size.observe(len(batch))
                    await self._commit(batch)
        finally:
            self._running = None

    async def _commit(self, batch: list[_Call]) -> None:
        try:
            rows = await self._execute(batch)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, Unavailable):
                await self._commit_singly(batch)
            else:
                _fail(batch, error)
        else:
            for row in rows:
                answer = batch[row["place"] - 1][1]
                if not answer.done():  # its caller may have gone away; the row is committed all the same
                    answer.set_result(row)

    async def _commit_singly(self, batch: list[_Call]) -> None:
        """One member cannot be kept; the others must not suffer for it."""
        for member in batch:
            try:
                rows = await self._execute([member])
            except Exception as error:
                _fail([member], error)
            else:
                if not member[1].done():
                    member[1].set_result(rows[0])

    async def _execute(self, batch: list[_Call]) -> list[Row]:
        columns = [list(column) for column in zip(*(arguments for arguments, _ in batch), strict=True)]
        try:
            async with self._connect() as connection:
                return await connection.fetch(self._statement, *columns)
        except ConnectionLost:
            pass
        async with self._connect() as connection:
            return await connection.fetch(self._statement, *columns)


def _fail(batch: list[_Call], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
