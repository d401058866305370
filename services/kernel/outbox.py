"""Messages between databases: written in the sender's transaction, applied once by the receiver.

The sender's transaction adds a message to its outbox. A relay, woken at commit and by a sweep, posts the oldest
message of each key to the receiver and deletes what was applied. The receiver's inbox is unique on (sender,
sequence), so that a message delivered twice is applied once. So: delivered at least once, applied once, in
order for each key.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

import asyncpg
import structlog
from pydantic import BaseModel, Field

from services.kernel import telemetry
from services.kernel.database import Connection, Row
from services.kernel.tenancy import Doors

log = structlog.get_logger(__name__)

BATCH = 200
LARGEST_SEQUENCE = 2**63 - 1
QUICK_ATTEMPTS = 5


class OutboxMessage(BaseModel):
    sequence: int = Field(ge=1, le=LARGEST_SEQUENCE)
    kind: str = Field(max_length=32)
    key: str = Field(max_length=64)
    body: dict[str, Any]


class Envelope(BaseModel):
    """What a relay posts to a receiver's inbox."""

    sender: str = Field(pattern=r"^\d{6}$")
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


# The oldest message of each key that is due. Locked rows are another host's, which is sending them right now.
CLAIM = """
SELECT sequence, kind, key, body, attempts, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age
FROM {schema}.outbox AS message
WHERE destination = $1 AND next_attempt_at <= now() AND NOT EXISTS (
    SELECT FROM {schema}.outbox AS earlier
    WHERE earlier.destination = $1 AND earlier.key = message.key AND earlier.sequence < message.sequence)
ORDER BY sequence LIMIT $2 FOR UPDATE SKIP LOCKED"""

DELETE = "DELETE FROM {schema}.outbox WHERE destination = $1 AND sequence = ANY($2::bigint[])"

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


class Relay:
    """Sends the outboxes of this cell's tenants. Any number of hosts may run one: locked messages are skipped.

    `post(sender, destination, envelope)` hands messages over. When it fails the destination is left alone for a
    second, doubling to a minute, by this host; the messages stay where they are.
    """

    SWEEP_SECONDS = 30.0
    LONGEST_REST = 60.0
    # Rows stay locked, and a connection busy, while a receiver answers. So a receiver that hangs holds up others'
    # messages to itself alone, and a tenant's other connections stay free for its people.
    AT_ONCE_BY_DESTINATION = 8
    AT_ONCE_BY_SENDER = 2

    def __init__(self, schema: str, doors: Doors, senders: Callable[[], Iterable[str]], post: Post) -> None:
        self._claim, self._delete, self._postpone, self._destinations = (
            statement.format(schema=schema) for statement in (CLAIM, DELETE, POSTPONE, DESTINATIONS)
        )
        self._doors = doors
        self._senders = senders
        self._post = post
        self._wanted: dict[tuple[str, str], asyncio.Event] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._failures: dict[tuple[str, str], int] = defaultdict(int)
        self._by_destination = defaultdict[str, asyncio.Semaphore](
            lambda: asyncio.Semaphore(self.AT_ONCE_BY_DESTINATION)
        )
        self._by_sender = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(self.AT_ONCE_BY_SENDER))
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._sweeping = asyncio.create_task(self._sweep_forever())

    async def close(self) -> None:
        """Stop between messages. One cut off in the middle is sent again by whoever comes next."""
        tasks = [*self._tasks.values(), *([self._sweeping] if self._sweeping else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self, sender: str, destination: str) -> None:
        """Call after the commit that added a message for this destination."""
        way = sender, destination
        task = self._tasks.get(way)
        if task is None:
            self._wanted[way] = asyncio.Event()
            self._tasks[way] = asyncio.create_task(self._send_all(way))
        self._wanted[way].set()

    def _wake_later(self, sender: str, destination: str, attempts: int) -> None:
        """Come back when the first of the rejected messages is due; later ones find the sweep."""
        if attempts < QUICK_ATTEMPTS:
            asyncio.get_running_loop().call_later(2.0**attempts + 0.05, self.wake, sender, destination)

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
        async with self._doors.connection(sender) as connection:
            destinations = [row["destination"] for row in await connection.fetch(self._destinations)]
        for destination in destinations:
            self.wake(sender, destination)
        telemetry.OUTBOX_WAYS.labels(sender).set(len(destinations))

    async def _send_all(self, way: tuple[str, str]) -> None:
        """Send until nothing is due, then end; the next wake starts again."""
        try:
            while self._wanted[way].is_set():
                self._wanted[way].clear()
                try:
                    async with self._by_destination[way[1]], self._by_sender[way[0]]:
                        # a receiver that was out is asked with one message, which costs little while it still is
                        while await self.send_some(*way, 1 if way in self._failures else BATCH):
                            self._failures.pop(way, None)
                    self._failures.pop(way, None)
                except Exception as error:
                    await self._rest(way, error)
        finally:
            del self._tasks[way], self._wanted[way]

    async def _rest(self, way: tuple[str, str], error: Exception) -> None:
        self._failures[way] += 1
        seconds = min(2.0 ** (self._failures[way] - 1), self.LONGEST_REST)
        telemetry.OUTBOX_SENT.labels(way[0], "failed").inc()
        log.warning("relay.failed", tenant=way[0], destination=way[1], rest_seconds=seconds, error=repr(error))
        await rest(seconds)
        self._wanted[way].set()

    async def send_some(self, sender: str, destination: str, most: int = BATCH) -> int:
        """Send the oldest message of each key, at most so many; how many were applied.

        The rows stay locked until the receiver has answered: a process killed here frees them at once.
        """
        async with self._doors.connection(sender) as connection, connection.transaction():
            rows = await connection.fetch(self._claim, destination, most)
            if not rows:
                return 0
            answer = await self._post(sender, destination, _envelope(sender, rows))
            await connection.execute(self._delete, destination, answer.applied)
            for rejection in answer.rejected:
                await connection.execute(self._postpone, destination, rejection.sequence, rejection.reason)
                log.error("relay.rejected", tenant=sender, destination=destination, **rejection.model_dump())
        if answer.rejected:
            self._wake_later(sender, destination, min(row["attempts"] for row in rows))
        _count(sender, rows, answer)
        return len(answer.applied)


async def rest(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _envelope(sender: str, rows: list[Row]) -> Envelope:
    messages = [
        OutboxMessage.model_construct(
            sequence=row["sequence"], kind=row["kind"], key=row["key"], body=json.loads(row["body"])
        )
        for row in rows
    ]
    return Envelope.model_construct(sender=sender, messages=messages)


def _count(sender: str, rows: list[Row], answer: Answer) -> None:
    telemetry.OUTBOX_SENT.labels(sender, "applied").inc(len(answer.applied))
    telemetry.OUTBOX_SENT.labels(sender, "rejected").inc(len(answer.rejected))
    rejected = {one.sequence for one in answer.rejected}
    for row in rows:
        if row["sequence"] not in rejected:
            telemetry.OUTBOX_LAG.observe(row["age"])


Apply = Callable[[Connection, str, OutboxMessage], Awaitable[None]]

RECEIVE = """
INSERT INTO {schema}.inbox (sender, sequence) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"""


async def receive(connection: Connection, schema: str, envelope: Envelope, apply: Apply) -> Answer:
    """Apply each message once, in its own transaction together with its inbox row.

    `apply` raises `Rejected` for a message that cannot be applied; later ones of the same key are then left too.
    """
    answer = Answer(applied=[], rejected=[])
    blocked: set[str] = set()
    for message in envelope.messages:
        if message.key in blocked:
            continue
        try:
            async with connection.transaction():
                new = await connection.fetchval(RECEIVE.format(schema=schema), envelope.sender, message.sequence)
                if new:
                    await apply(connection, envelope.sender, message)
        except (Rejected, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            blocked.add(message.key)
            answer.rejected.append(Rejection(sequence=message.sequence, reason=str(error)))
            telemetry.INBOX_MESSAGES.labels("rejected").inc()
        else:
            answer.applied.append(message.sequence)
            telemetry.INBOX_MESSAGES.labels("applied" if new else "known").inc()
    return answer
