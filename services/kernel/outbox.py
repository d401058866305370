"""Messages between databases: written in the sender's transaction, applied once by the receiver.

The sender's transaction adds a message to its outbox. A relay, woken at commit and by a sweep, posts the oldest
message of each key to the receiver and deletes what was applied. The receiver's inbox is unique on (sender,
sequence), so that a message delivered twice is applied once. So: delivered at least once, applied once, in
order for each key.

Nothing is held while something is awaited. A way (from one sender to one destination) has one relay at a time, by a
lease in the sender's database and not by a lock; a batch is as large as the receiver manages in a second; the
receiver stops in time and says how far it came, and the sender goes on from there. Who adds one message after another
has them sent together, and the first goes at once.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any

import asyncpg
import structlog
from pydantic import BaseModel, Field

from services.kernel import telemetry
from services.kernel.database import Busy, Connection, Row
from services.kernel.problems import Unavailable
from services.kernel.tenancy import Doors

log = structlog.get_logger(__name__)

INDEX = "query"
"""The destination of what the index of all tenants is to know; any other is a tenant, by its code."""
BATCH = 200
LARGEST_SEQUENCE = 2**63 - 1
QUICK_ATTEMPTS = 5
# A receiver stops well before its sender gives up, and a sender gives up before its lease ends.
TAKING_SECONDS = 2.5
LEASE_SECONDS = 8.0


class OutboxMessage(BaseModel):
    sequence: int = Field(ge=1, le=LARGEST_SEQUENCE)
    kind: str = Field(max_length=32)
    key: str = Field(max_length=64)
    body: dict[str, Any]


class Envelope(BaseModel):
    """What a relay posts to a receiver's inbox."""

    sender: str = Field(pattern=r"^[0-9]{6}$")
    messages: list[OutboxMessage] = Field(max_length=BATCH)


class Rejection(BaseModel):
    sequence: int
    reason: str


class Answer(BaseModel):
    """What became of each message: applied now or before, or rejected (it stays with the sender)."""

    applied: list[Annotated[int, Field(ge=1)]]
    rejected: list[Rejection] = Field(default_factory=list)


class Rejected(Exception):
    """A receiver cannot apply a message; its sender keeps it, blocks its key and tries again later."""


async def add_message(
    connection: Connection, schema: str, destination: str, kind: str, key: str, body: dict[str, Any]
) -> None:
    """Put a message into the outbox, within the caller's transaction."""
    await connection.execute(
        f"INSERT INTO {schema}.outbox (destination, kind, key, body) VALUES ($1, $2, $3, $4)",  # noqa: S608
        destination,
        kind,
        key,
        json.dumps(body, ensure_ascii=False),
    )


# Settles what was applied and claims what comes next: the oldest message of each key that is due, for the relay that
# holds the way, or takes it since nobody does. When nothing is due the way is given back. No part of it needs to
# outlive a crash of the database, which would have the same messages sent again.
CLAIM = """
WITH settled AS (DELETE FROM {schema}.outbox WHERE destination = $1 AND sequence = ANY($5::bigint[])),
due AS MATERIALIZED (
    SELECT sequence, kind, key, body, attempts, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age
    FROM {schema}.outbox AS message
    WHERE destination = $1 AND next_attempt_at <= now() AND sequence <> ALL($5) AND NOT EXISTS (
        SELECT FROM {schema}.outbox AS earlier
        WHERE earlier.destination = $1 AND earlier.key = message.key AND earlier.sequence < message.sequence
            AND earlier.sequence <> ALL($5))
    ORDER BY sequence LIMIT $2),
held AS (
    INSERT INTO {schema}.outbox_ways AS way (destination, holder, held_until)
    SELECT $1, $3, CASE WHEN EXISTS (SELECT FROM due) THEN clock_timestamp() + make_interval(secs => $4)
        ELSE '-infinity' END
    FROM set_config('synchronous_commit', 'off', true)
    WHERE $6 OR EXISTS (SELECT FROM due)
    ON CONFLICT (destination) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
    WHERE way.holder = excluded.holder OR way.held_until < clock_timestamp()
    RETURNING true)
SELECT due.*, EXISTS (SELECT FROM held) AS held FROM due ORDER BY sequence"""

# A second, doubling to an hour: news that overtook other news is welcome soon after, else a person is needed.
POSTPONE = """
UPDATE {schema}.outbox SET attempts = attempts + 1, last_error = left($3, 500),
    next_attempt_at = now() + least(interval '1 s' * power(2, least(attempts, 12)), interval '1 h')
WHERE destination = $1 AND sequence = $2"""

DESTINATIONS = """
WITH RECURSIVE found AS (
    (SELECT min(destination) AS destination FROM {schema}.outbox)
    UNION ALL
    SELECT (SELECT min(destination) FROM {schema}.outbox AS o WHERE o.destination > found.destination)
    FROM found WHERE found.destination IS NOT NULL)
SELECT destination FROM found WHERE destination IS NOT NULL"""

Post = Callable[[str, str, Envelope], Awaitable[Answer]]


class Postponed(Exception):
    """The receiver is well and has too much to do; nothing was taken."""


class HeldElsewhere(Exception):
    """Another relay sends on this way."""


@dataclass
class Way:
    """From a sender to a destination: what this relay knows of it, and how many messages it sends at once.

    As many as the receiver managed in a second last time, at most double as many as before; after a failure one,
    which costs little while the receiver still is out. A busy receiver is asked later, and with as many.
    """

    SECONDS = 1.0
    FIRST = 16

    sender: str
    destination: str
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    size: int = FIRST
    failures: int = 0
    held: bool = False
    applied: list[int] = field(default_factory=list)
    ended: float = -math.inf
    """When nothing was left to send, by the monotonic clock."""

    def managed(self, messages: int, seconds: float) -> None:
        in_time = int(messages * self.SECONDS / max(seconds, 0.001))
        self.size = max(1, min(in_time, 2 * self.size, BATCH))
        self.failures = 0

    def failed(self, *, busy: bool) -> None:
        self.failures += 1
        if not busy:
            self.size = 1


class Relay:
    """Sends the outboxes of this cell's tenants. Any number of hosts may run one, under names of their own.

    `post(sender, destination, envelope)` hands messages over. When it fails this relay leaves the way alone for a
    second, doubling to six, and a random part more; the messages stay where they are. A relay killed in the middle is
    followed by another when its lease ends, and by itself, under its name, at once.
    """

    POST_SECONDS = 5.0
    SWEEP_SECONDS = 30.0
    LONGEST_REST = 6.0
    HELD_SECONDS = 0.5
    GATHERING_SECONDS = 0.6
    CLOSING_SECONDS = 2.0
    # A receiver that hangs holds up others' messages to itself alone.
    AT_ONCE_BY_DESTINATION = 8

    def __init__(self, schema: str, doors: Doors, senders: Callable[[], Iterable[str]], post: Post, name: str) -> None:
        self._claim, self._postpone, self._destinations = (
            statement.format(schema=schema) for statement in (CLAIM, POSTPONE, DESTINATIONS)
        )
        self._doors = doors
        self._senders = senders
        self._post = post
        self._name = name
        self._ways: dict[tuple[str, str], Way] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._by_destination = defaultdict[str, asyncio.Semaphore](
            lambda: asyncio.Semaphore(self.AT_ONCE_BY_DESTINATION)
        )
        self._sweeping: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        self._sweeping = asyncio.create_task(self._sweep_forever())

    async def close(self) -> None:
        """Stop between messages, and give the ways back. What was cut off is sent again by whoever comes next."""
        self._closed = True
        tasks = [*self._tasks.values(), *([self._sweeping] if self._sweeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        held = [asyncio.create_task(self._give_back(way)) for way in self._ways.values() if way.held]
        if held:
            await asyncio.wait(held, timeout=self.CLOSING_SECONDS)

    async def _give_back(self, way: Way) -> None:
        """Settle what was applied and claim nothing more."""
        way.size = 0
        try:
            await self._claim_next(way)
        except Exception as error:  # its lease ends by itself
            log.info("relay.way_not_given_back", tenant=way.sender, destination=way.destination, error=repr(error))

    def wake(self, sender: str, destination: str) -> None:
        """Call after the commit that added a message for this destination."""
        if self._closed:  # by who meant to come back later; a way that was given back is not taken again
            return
        key = sender, destination
        way = self._way(sender, destination)
        way.wanted.set()
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._send_all(way))

    def _way(self, sender: str, destination: str) -> Way:
        if (sender, destination) not in self._ways:
            self._ways[sender, destination] = Way(sender, destination)
        return self._ways[sender, destination]

    def _wake_later(self, way: Way, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.wake, way.sender, way.destination)

    async def _sweep_forever(self) -> None:
        while True:
            for sender in list(self._senders()):
                try:
                    await self._sweep(sender)
                except Exception as error:
                    log.warning("relay.sweep_failed", tenant=sender, error=repr(error))
            await asyncio.sleep(self.SWEEP_SECONDS)

    async def _sweep(self, sender: str) -> None:
        """Wake the ways on which something waits: left by a killed process, added by another host, rejected before."""
        async with self._doors.message_connection(sender) as connection:
            destinations = [row["destination"] for row in await connection.fetch(self._destinations)]
        for destination in destinations:
            self.wake(sender, destination)
        telemetry.OUTBOX_WAYS.labels(sender).set(len(destinations))

    async def _send_all(self, way: Way) -> None:
        """Send until nothing is due, then end; the next wake starts again."""
        try:
            while way.wanted.is_set():
                await gather(way.ended + self.GATHERING_SECONDS - time.monotonic())
                way.wanted.clear()
                try:
                    while await self.send_some(way.sender, way.destination):
                        pass
                    way.ended = time.monotonic()
                except HeldElsewhere:  # its holder sends what is here; look again, should it have just missed it
                    self._wake_later(way, _more(self.HELD_SECONDS))
                except Exception as error:
                    await self._rest(way, error)
        finally:
            del self._tasks[way.sender, way.destination]

    async def _rest(self, way: Way, error: Exception) -> None:
        busy = isinstance(error, (Busy, Postponed))
        way.failed(busy=busy)
        seconds = _more(min(2.0 ** (way.failures - 1), self.LONGEST_REST))
        if not busy:
            telemetry.OUTBOX_SENT.labels(way.sender, "failed").inc()
            log.warning(
                "relay.failed",
                tenant=way.sender,
                destination=way.destination,
                rest_seconds=round(seconds, 1),
                error=repr(error),
            )
        await rest(seconds)
        way.wanted.set()

    async def send_some(self, sender: str, destination: str) -> int:
        """Send the oldest message of each key, as many as the receiver manages; how many it took or rejected.

        Raises:
            HeldElsewhere: another relay is at it.
        """
        way = self._way(sender, destination)
        async with self._by_destination[destination]:
            rows = await self._claim_next(way)
            if not rows:
                return 0
            started = time.monotonic()
            answer = await self._post(sender, destination, _envelope(sender, rows))
            done = len(answer.applied) + len(answer.rejected)
            if not done:
                raise Postponed()
            seconds = time.monotonic() - started
            way.managed(done, seconds)
            way.applied = answer.applied
        if answer.rejected:
            await self._put_off(way, answer.rejected, min(row["attempts"] for row in rows))
        _count(sender, rows, answer, seconds)
        return done

    async def _claim_next(self, way: Way) -> list[Row]:
        arguments = way.destination, way.size, self._name, LEASE_SECONDS, way.applied, way.held
        async with self._doors.message_connection(way.sender) as connection:
            rows = await connection.fetch(self._claim, *arguments)
        way.applied, way.held = [], bool(rows) and rows[0]["held"]
        if rows and not way.held:
            raise HeldElsewhere()
        return rows

    async def _put_off(self, way: Way, rejections: list[Rejection], attempts: int) -> None:
        async with self._doors.message_connection(way.sender) as connection:
            for rejection in rejections:
                await connection.execute(self._postpone, way.destination, rejection.sequence, rejection.reason)
                log.error("relay.rejected", tenant=way.sender, destination=way.destination, **rejection.model_dump())
        if attempts < QUICK_ATTEMPTS:  # come back when the first of them is due; later ones find the sweep
            self._wake_later(way, 2.0**attempts + 0.05)


def _more(seconds: float) -> float:
    """Up to a half more, so that those who failed together do not come back together."""
    return seconds * (1 + random.random() / 2)  # noqa: S311


async def rest(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def gather(seconds: float) -> None:
    """Each sending costs two statements here and a post, whether it is of one message or of twenty."""
    if seconds > 0:
        await asyncio.sleep(seconds)


def _envelope(sender: str, rows: list[Row]) -> Envelope:
    messages = [
        OutboxMessage.model_construct(
            sequence=row["sequence"], kind=row["kind"], key=row["key"], body=json.loads(row["body"])
        )
        for row in rows
    ]
    return Envelope.model_construct(sender=sender, messages=messages)


def _count(sender: str, rows: list[Row], answer: Answer, seconds: float) -> None:
    telemetry.OUTBOX_SENT.labels(sender, "applied").inc(len(answer.applied))
    telemetry.OUTBOX_SENT.labels(sender, "rejected").inc(len(answer.rejected))
    applied = set(answer.applied)
    for row in rows:
        if row["sequence"] in applied:
            telemetry.OUTBOX_LAG.observe(row["age"] + seconds)


Connect = Callable[[], AbstractAsyncContextManager[Connection]]
Prepare = Callable[[OutboxMessage], Awaitable[None]]
Apply = Callable[[Connection, str, OutboxMessage], Awaitable[None]]

RECEIVE = """
INSERT INTO {schema}.inbox (sender, sequence) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"""

KNOWN = "SELECT sequence FROM {schema}.inbox WHERE sender = $1 AND sequence = ANY($2::bigint[])"


async def in_time(sender: str, answer: Answer, taking: Awaitable[None]) -> None:
    """Take messages into the answer until all are taken, the time is over, or something is out.

    Raises:
        Unavailable, Busy: not one was taken.
    """
    try:
        async with asyncio.timeout(TAKING_SECONDS):
            await taking
    except (TimeoutError, Unavailable, Busy) as error:
        if not answer.applied and not answer.rejected:
            raise (Unavailable("receiver") if isinstance(error, TimeoutError) else error) from error
        log.info("inbox.not_all_taken", sender=sender, taken=len(answer.applied), error=repr(error))


def _reason(error: Exception) -> str:
    """What the sender keeps and logs: in a database's own words may stand the row that it refuses."""
    return str(error) if isinstance(error, Rejected) else f"the database refuses it: {type(error).__name__}"


class Receiver:
    """Applies each message once, in its own transaction together with its inbox row, for as long as it has time.

    A connection is held for a message at a time. `prepare` does beforehand, without one, what a message needs that
    takes long; `apply` must only write. Either raises `Rejected` for a message that cannot be applied.
    """

    def __init__(self, schema: str, connect: Connect, apply: Apply, prepare: Prepare | None = None) -> None:
        self._receive, self._known = (statement.format(schema=schema) for statement in (RECEIVE, KNOWN))
        self._connect = connect
        self._apply = apply
        self._prepare = prepare

    async def receive(self, envelope: Envelope) -> Answer:
        """What became of the messages; of those not reached, nothing.

        Raises:
            Unavailable, Busy: not one was reached.
        """
        answer = Answer(applied=[], rejected=[])
        await in_time(envelope.sender, answer, self._take_all(envelope, answer))
        return answer

    async def _take_all(self, envelope: Envelope, answer: Answer) -> None:
        """Fill the answer, one message after the other; after a rejected one, later ones of its key are left."""
        taken_before = await self._taken_before(envelope)
        blocked: set[str] = set()
        for message in envelope.messages:
            if message.key in blocked:
                continue
            try:
                new = message.sequence not in taken_before and await self._take(envelope.sender, message)
            except (Rejected, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
                blocked.add(message.key)
                answer.rejected.append(Rejection(sequence=message.sequence, reason=_reason(error)))
                telemetry.INBOX_MESSAGES.labels("rejected").inc()
            else:
                answer.applied.append(message.sequence)
                telemetry.INBOX_MESSAGES.labels("applied" if new else "known").inc()

    async def _taken_before(self, envelope: Envelope) -> set[int]:
        """So that a batch sent again costs one statement. A single message finds out by itself."""
        if len(envelope.messages) < 2:
            return set()
        sequences = [message.sequence for message in envelope.messages]
        async with self._connect() as connection:
            return {row["sequence"] for row in await connection.fetch(self._known, envelope.sender, sequences)}

    async def _take(self, sender: str, message: OutboxMessage) -> bool:
        """Apply a message, unless it was before."""
        if self._prepare:
            await self._prepare(message)
        async with self._connect() as connection, connection.transaction():
            new = bool(await connection.fetchval(self._receive, sender, message.sequence))
            if new:
                await self._apply(connection, sender, message)
        return new
