"""Messages between databases: sent at least once, applied once, in order for each key."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest

from services.affairs.schema import Snapshot
from services.kernel import outbox
from services.kernel.database import Busy, Connection, Share
from services.kernel.outbox import Answer, Apply, Envelope, OutboxMessage, Post, Rejection, Relay, add_message
from services.kernel.problems import Unavailable
from services.kernel.tenancy import Directory, Doors
from tests.integration.filings import accepted_case, act, holders, status_at
from tests.integration.network import CITY, COUNTY, Network, account_of
from tests.support.waiting import wait_until

KILLS = 4

SCRATCH = """
DROP SCHEMA IF EXISTS scratch CASCADE;
CREATE SCHEMA scratch;
CREATE TABLE scratch.inbox (sender text, sequence bigint, PRIMARY KEY (sender, sequence));
CREATE TABLE scratch.outbox (LIKE affairs.outbox INCLUDING ALL);
CREATE TABLE scratch.outbox_ways (LIKE affairs.outbox_ways INCLUDING ALL);
CREATE TABLE scratch.applied (sender text, sequence bigint);
GRANT USAGE ON SCHEMA scratch TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA scratch TO PUBLIC;
"""


@pytest.fixture
def scratch(network: Network) -> Network:
    """Outbox and inbox of no module, in a county's database."""
    network.postgres.run(SCRATCH, f"t{COUNTY.code}")
    return network


@pytest.fixture
async def doors(scratch: Network) -> AsyncIterator[Doors]:
    settings = scratch.settings("affairs", COUNTY.cell)
    opened = Doors(settings, Directory(settings.tenants_file, settings.secrets_file, settings.cell))
    yield opened
    await opened.close()


async def note(connection: Connection, sender: str, message: OutboxMessage) -> None:
    await connection.execute("INSERT INTO scratch.applied VALUES ($1, $2)", sender, message.sequence)


def receiver(doors: Doors, apply: Apply = note) -> outbox.Receiver:
    return outbox.Receiver("scratch", lambda: doors.message_connection(COUNTY.code), apply)


def envelope_of(sequences: Iterable[int]) -> Envelope:
    messages = [OutboxMessage(sequence=number, kind="k", key=f"key-{number}", body={}) for number in sequences]
    return Envelope(sender=CITY.code, messages=messages)


async def times_applied(doors: Doors, deliveries: int) -> int:
    """Deliver one message many times at once; how often it was applied."""

    async def deliver() -> None:
        assert (await receiver(doors).receive(envelope_of([7]))).applied == [7]

    await asyncio.gather(*(deliver() for _ in range(deliveries)))
    async with doors.connection(COUNTY.code) as connection:
        applied: int = await connection.fetchval("SELECT count(*) FROM scratch.applied")
        return applied


async def test_a_message_delivered_ten_times_at_once_is_applied_once(doors: Doors) -> None:
    assert await times_applied(doors, 10) == 1


async def test_without_the_inboxs_unique_key_the_same_check_sees_it_applied_again(
    scratch: Network, doors: Doors
) -> None:
    scratch.postgres.run("ALTER TABLE scratch.inbox DROP CONSTRAINT inbox_pkey", f"t{COUNTY.code}")
    assert await times_applied(doors, 10) > 1


class Receiver:
    """Takes messages and now and then fails: before it looks, after it applied, or by rejecting one."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.taken: dict[str, list[int]] = defaultdict(list)

    async def post(self, sender: str, destination: str, envelope: Envelope) -> Answer:
        await asyncio.sleep(self.random.random() * 0.01)
        answer = Answer(applied=[], rejected=[])
        if self.random.random() < 0.1:
            raise OSError("no connection")
        for message in envelope.messages:
            if self.random.random() < 0.05:
                answer.rejected.append(Rejection(sequence=message.sequence, reason="not now"))
                continue
            if message.sequence not in self.taken[message.key]:
                self.taken[message.key].append(message.sequence)
            answer.applied.append(message.sequence)
        if self.random.random() < 0.1:
            raise OSError("answer lost")
        return answer


def relay_of(doors: Doors, post: Post, name: str = "one") -> Relay:
    return Relay("scratch", doors, lambda: [], post, name)


async def add_messages(doors: Doors, number: int, keys: int) -> None:
    async with doors.connection(COUNTY.code) as connection, connection.transaction():
        for place in range(number):
            await add_message(connection, "scratch", "there", "k", f"key-{place % keys}", {"place": place})


async def waiting(doors: Doors) -> int:
    async with doors.connection(COUNTY.code) as connection:
        left: int = await connection.fetchval("SELECT count(*) FROM scratch.outbox")
        return left


async def disordered_keys(doors: Doors, seed: int) -> int:
    """Send 200 messages of 20 keys by two relays at once; how many keys arrived out of order."""
    await add_messages(doors, 200, 20)
    receiver = Receiver(seed)
    relays = [relay_of(doors, receiver.post, name) for name in ("one", "other")]

    async def drain(relay: Relay) -> None:
        left = True
        while left:
            with contextlib.suppress(OSError, outbox.HeldElsewhere):
                await relay.send_some(COUNTY.code, "there")
            left = await waiting(doors) > 0

    await asyncio.gather(*(drain(relay) for relay in relays))
    assert sum(map(len, receiver.taken.values())) == 200
    return sum(sequences != sorted(sequences) for sequences in receiver.taken.values())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rejected message is due again at once."""
    monkeypatch.setattr(outbox, "POSTPONE", outbox.POSTPONE.replace("interval '1 s'", "interval '0 s'"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_two_hosts_that_share_an_outbox_keep_each_keys_order(doors: Doors, seed: int) -> None:
    assert await disordered_keys(doors, seed) == 0


@pytest.mark.usefixtures("impatient")
async def test_a_claim_that_ignores_earlier_messages_is_caught_out_of_order(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "CLAIM", outbox.CLAIM.replace("earlier.sequence < message.sequence", "false"))
    assert await disordered_keys(doors, 1) > 0


async def test_a_destination_that_fails_is_left_alone_longer_each_time(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    rests: list[float] = []

    async def refuse(*_: Any) -> Answer:
        tries.append(asyncio.get_running_loop().time())
        raise OSError("no connection")

    await add_messages(doors, 1, 1)
    relay = relay_of(doors, refuse)
    done = asyncio.Event()

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 8:
            done.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(outbox, "rest", rest)
    relay.wake(COUNTY.code, "there")
    await asyncio.wait_for(done.wait(), 10)
    await relay.close()
    least = [1, 2, 4, 6, 6, 6, 6, 6]
    assert len(tries) == 8 and len(set(rests)) == 8, "those who failed together do not come back together"
    assert all(low <= seconds <= 1.5 * low for low, seconds in zip(least, rests, strict=True))


def test_hand_overs_survive_kills_of_the_senders_host(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-kills")
    numbers = [accepted_case(catalogue, COUNTY, citizen)["number"] for _ in range(KILLS)]
    for number in numbers:
        assert act(catalogue, COUNTY, number, "hand-over", {"to": CITY.code, "reason": "按权限"}).status_code == 200
        catalogue.running["affairs-cell-a"].kill()
        catalogue.start("affairs", "cell-a")
    for number in numbers:
        wait_until(
            lambda number=number: status_at(catalogue, COUNTY, number) == ("accepted", CITY.code),  # type: ignore[misc]
            40,
            "the hand-over is done",
        )
        assert holders(catalogue, number) == [CITY.code]
        steps = catalogue.rows(CITY, f"SELECT steps FROM affairs.cases WHERE number = '{number}'")[0]["steps"]
        assert [step["status"] for step in steps] == ["filed", "accepted", "in_transit", "accepted"]
    kept = f"SELECT sequence FROM affairs.outbox WHERE key IN ({', '.join(map(repr, numbers))})"
    wait_until(lambda: catalogue.rows(COUNTY, kept) == [], 40, "the sender knows it")


def inbox(network: Network, sender: str, message: dict[str, Any]) -> httpx.Response:
    with network.client(COUNTY, network.issuer.relay(sender)) as relay:
        return relay.post("/inbox", json={"sender": sender, "messages": [message]})


def test_a_tenant_cannot_speak_for_another_or_take_what_it_does_not_hold(catalogue: Network) -> None:
    number = accepted_case(catalogue, COUNTY, catalogue.issuer.citizen("citizen-forged"))["number"]
    record = catalogue.rows(COUNTY, f"SELECT * FROM affairs.cases WHERE number = '{number}'")[0]
    record["check_code_hash"] = "0" * 64
    news = Snapshot(**record).model_dump(mode="json") | {"version": 99, "status": "granted", "holder": CITY.code}
    message = {"sequence": 900_001, "kind": "progress", "key": number, "body": news}
    answer = inbox(catalogue, CITY.code, message)
    assert answer.json()["applied"] == [] and answer.json()["rejected"][0]["sequence"] == 900_001
    forged = record | {"version": 99, "holder": CITY.code, "in_transit_to": COUNTY.code, "status": "in_transit"}
    other = f"{COUNTY.code}{number[6:20]}99"
    assert inbox(catalogue, CITY.code, message | {"kind": "hand-over", "body": forged | {"number": other}}).json()[
        "rejected"
    ]
    assert inbox(catalogue, CITY.code, message | {"kind": "publication", "body": {}}).json()["rejected"]
    assert status_at(catalogue, COUNTY, number) == ("accepted", COUNTY.code)
    with catalogue.client(COUNTY, catalogue.issuer.relay(CITY.code)) as relay:
        assert relay.post("/inbox", json={"sender": "330000", "messages": [message]}).status_code == 403
    with catalogue.client(COUNTY, catalogue.issuer.citizen("c")) as person:
        assert person.post("/inbox", json={"sender": CITY.code, "messages": []}).status_code == 403


class Slow:
    """A receiver that takes what comes once it may go on; counts how many posts it has before it at once."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.asked = asyncio.Event()
        self.posts = 0

    async def post(self, _: str, __: str, envelope: Envelope) -> Answer:
        self.posts += 1
        self.asked.set()
        await self.go_on.wait()
        return Answer(applied=[message.sequence for message in envelope.messages])


async def posts_at_once(doors: Doors) -> int:
    """How many posts of one way a slow receiver has before it, when two hosts know of its messages."""
    await add_messages(doors, 3, 3)
    slow = Slow()
    first = asyncio.create_task(relay_of(doors, slow.post, "one").send_some(COUNTY.code, "there"))
    await slow.asked.wait()
    slow.asked.clear()
    second = asyncio.create_task(relay_of(doors, slow.post, "other").send_some(COUNTY.code, "there"))
    asked = asyncio.create_task(slow.asked.wait())
    await asyncio.wait([second, asked], return_when=asyncio.FIRST_COMPLETED)
    posts = slow.posts
    slow.go_on.set()
    asked.cancel()
    assert await first == 3
    await asyncio.gather(second, return_exceptions=True)
    return posts


async def test_a_way_has_one_sender_at_a_time(doors: Doors) -> None:
    assert await posts_at_once(doors) == 1


async def test_without_the_lease_a_second_sender_is_seen(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CLAIM", outbox.CLAIM.replace("way.held_until < clock_timestamp()", "true"))
    assert await posts_at_once(doors) == 2


async def test_a_relay_that_was_killed_is_followed_by_itself_at_once_and_by_another_when_its_lease_ends(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add_messages(doors, 2, 2)
    slow = Slow()
    killed = asyncio.create_task(relay_of(doors, slow.post, "one").send_some(COUNTY.code, "there"))
    await slow.asked.wait()
    killed.cancel()
    slow.go_on.set()
    other = relay_of(doors, slow.post, "other")
    with pytest.raises(outbox.HeldElsewhere):
        await other.send_some(COUNTY.code, "there")
    again = relay_of(doors, slow.post, "one")
    assert await again.send_some(COUNTY.code, "there") == 2
    assert await again.send_some(COUNTY.code, "there") == 0
    assert await waiting(doors) == 0
    monkeypatch.setattr(outbox, "LEASE_SECONDS", 0.0)
    await add_messages(doors, 1, 1)
    lost = relay_of(doors, refuse, "one")
    with pytest.raises(OSError, match="no connection"):
        await lost.send_some(COUNTY.code, "there")
    assert await other.send_some(COUNTY.code, "there") == 1


async def test_a_relay_that_is_closed_gives_its_ways_back(doors: Doors) -> None:
    await add_messages(doors, 2, 2)
    slow = Slow()
    closing = relay_of(doors, slow.post, "one")
    closing.wake(COUNTY.code, "there")
    await slow.asked.wait()
    await closing.close()
    slow.go_on.set()
    assert await relay_of(doors, slow.post, "other").send_some(COUNTY.code, "there") == 2


async def test_a_relay_that_is_closed_takes_no_way_again(doors: Doors) -> None:
    """One that meant to look again at a way, or is told of another message."""
    await add_messages(doors, 1, 1)
    relay = relay_of(doors, Slow().post, "one")
    await relay.close()
    relay.wake(COUNTY.code, "there")
    assert not relay._tasks


async def refuse(*_: Any) -> Answer:
    raise OSError("no connection")


async def test_nothing_is_held_while_a_receiver_is_awaited(doors: Doors, scratch: Network) -> None:
    """No row is locked and no transaction open, so that people find every connection."""
    await add_messages(doors, 1, 1)
    slow = Slow()
    sending = asyncio.create_task(relay_of(doors, slow.post).send_some(COUNTY.code, "there"))
    await slow.asked.wait()
    database = f"t{COUNTY.code}"
    assert scratch.postgres.run("SELECT sequence FROM scratch.outbox FOR UPDATE NOWAIT", database)
    busy = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{account_of(database)}' AND state <> 'idle'"
    assert scratch.postgres.run(busy) == "0"
    slow.go_on.set()
    assert await sending == 1


async def test_a_receiver_stops_in_time_and_goes_on_where_it_stopped(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TAKING_SECONDS", 0.3)
    times: Counter[int] = Counter()

    async def apply(connection: Connection, sender: str, message: OutboxMessage) -> None:
        times[message.sequence] += 1
        await connection.execute("SELECT pg_sleep(0.05)")

    batch = envelope_of(range(1, 41))
    taken: list[list[int]] = []
    while not taken or len(taken[-1]) < 40:
        taken.append((await receiver(doors, apply).receive(batch)).applied)
    assert 0 < len(taken[0]) < 40
    assert all(len(earlier) <= len(later) for earlier, later in pairwise(taken))
    # but for the message that was cut off each time, which was never committed
    assert sum(times.values()) <= 40 + len(taken)


async def test_a_receiver_that_took_nothing_in_time_says_that_it_is_out(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "TAKING_SECONDS", 0.1)

    async def hang(connection: Connection, _: str, __: OutboxMessage) -> None:
        await connection.execute("SELECT pg_sleep(5)")

    with pytest.raises(Unavailable):
        await receiver(doors, hang).receive(envelope_of([1]))
    assert (await receiver(doors).receive(envelope_of([1]))).applied == [1], "no connection was spoilt"


async def batches_that_hang(doors: Doors) -> list[Answer | BaseException]:
    """Four batches at a tenant with four connections hang at once; a person asks meanwhile. How the batches end."""
    go_on = asyncio.Event()

    async def hang(_: Connection, __: str, ___: OutboxMessage) -> None:
        await go_on.wait()

    batches = [asyncio.create_task(receiver(doors, hang).receive(envelope_of([number]))) for number in range(1, 5)]
    try:
        async with asyncio.timeout(3 * Share.WAIT_SECONDS):  # until those that find no connection have said so
            await asyncio.wait(batches)
    except TimeoutError:
        await waiting(doors)
    go_on.set()
    return await asyncio.gather(*batches, return_exceptions=True)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Share, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(Doors, "ACQUIRE_SECONDS", 0.5)


@pytest.mark.usefixtures("hurried")
async def test_messages_leave_half_of_the_connections_to_people(doors: Doors) -> None:
    ends = await batches_that_hang(doors)
    assert sum(isinstance(end, Answer) for end in ends) == 2
    assert sum(isinstance(end, Busy) for end in ends) == 2


@pytest.mark.usefixtures("hurried")
async def test_without_a_share_a_person_who_finds_no_connection_is_seen(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doors, "message_connection", Doors.connection)
    with pytest.raises(Unavailable):
        await batches_that_hang(doors)


async def test_a_batch_is_as_large_as_the_receiver_manages_in_a_second() -> None:
    way = outbox.Way("330106", "330100")
    for _ in range(10):
        way.managed(way.size, way.size * 0.001)
    assert way.size == outbox.BATCH
    way.managed(way.size, way.size * 0.05)
    assert way.size == 20
    way.managed(3, 2.5)  # it stopped early
    assert way.size == 1
    way.managed(1, 0.01)
    way.failed(busy=True)
    assert way.size == 2
    way.failed(busy=False)
    assert way.size == 1


# ---- one after another ----


async def sizes_of_posts(doors: Doors, monkeypatch: pytest.MonkeyPatch, seconds: float) -> list[int]:
    """One message, and when it has gone ten more, each with its own wake, within one time of gathering."""
    sizes, over = [], asyncio.Event()

    async def post(sender: str, destination: str, envelope: Envelope) -> Answer:
        sizes.append(len(envelope.messages))
        return Answer(applied=[message.sequence for message in envelope.messages])

    async def gather(left: float) -> None:
        if left > 0:
            await over.wait()

    async def sent(number: int) -> bool:
        return sum(sizes) == number and not relay._tasks

    monkeypatch.setattr(outbox, "gather", gather)
    monkeypatch.setattr(Relay, "GATHERING_SECONDS", seconds)
    relay = relay_of(doors, post)

    async def add(number: int) -> None:
        async with doors.connection(COUNTY.code) as connection:
            await add_message(connection, "scratch", "there", "k", f"key-{number}", {})
        relay.wake(COUNTY.code, "there")
        if seconds == 0 or number == 1:
            await until(partial(sent, number))

    for number in range(1, 12):
        await add(number)
    over.set()
    await until(partial(sent, 11))
    await relay.close()
    assert await waiting(doors) == 0
    return sizes


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - it is of another process and tells nobody
            await asyncio.sleep(0.005)


async def test_messages_that_follow_one_another_go_together_and_the_first_at_once(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await sizes_of_posts(doors, monkeypatch, 60.0) == [1, 10]


async def test_without_gathering_each_message_is_a_post(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await sizes_of_posts(doors, monkeypatch, 0.0) == [1] * 11
