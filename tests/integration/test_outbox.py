"""Messages between databases: sent at least once, applied once, in order for each key."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.affairs.schema import Snapshot
from services.kernel import outbox
from services.kernel.outbox import Answer, Envelope, OutboxMessage, Rejection, Relay, add_message, receive
from services.kernel.tenancy import Directory, Doors
from tests.integration.filings import accepted_case, act, holders, status_at
from tests.integration.network import CITY, COUNTY, Network
from tests.waiting import wait_until

KILLS = 4

SCRATCH = """
DROP SCHEMA IF EXISTS scratch CASCADE;
CREATE SCHEMA scratch;
CREATE TABLE scratch.inbox (sender text, sequence bigint, PRIMARY KEY (sender, sequence));
CREATE TABLE scratch.outbox (LIKE affairs.outbox INCLUDING ALL);
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


async def times_applied(doors: Doors, deliveries: int) -> int:
    """Deliver one message many times at once; how often it was applied."""
    envelope = Envelope(sender=CITY.code, messages=[OutboxMessage(sequence=7, kind="k", key="a", body={})])

    async def apply(connection: Any, sender: str, message: OutboxMessage) -> None:
        await connection.execute("INSERT INTO scratch.applied VALUES ($1, $2)", sender, message.sequence)

    async def deliver() -> None:
        async with doors.connection(COUNTY.code) as connection:
            assert (await receive(connection, "scratch", envelope, apply)).applied == [7]

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


async def disordered_keys(doors: Doors, seed: int) -> int:
    """Send 200 messages of 20 keys by two relays at once; how many keys arrived out of order."""
    async with doors.connection(COUNTY.code) as connection, connection.transaction():
        for place in range(200):
            await add_message(connection, "scratch", "there", "k", f"key-{place % 20}", {"place": place})
    receiver = Receiver(seed)
    relays = [Relay("scratch", doors, lambda: [], receiver.post) for _ in range(2)]

    async def drain(relay: Relay) -> None:
        left = True
        while left:
            try:
                await relay.send_some(COUNTY.code, "there")
            except OSError:
                continue
            async with doors.connection(COUNTY.code) as connection:
                left = await connection.fetchval("SELECT EXISTS (SELECT FROM scratch.outbox)")

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

    async with doors.connection(COUNTY.code) as connection:
        await add_message(connection, "scratch", "there", "k", "a", {})
    relay = Relay("scratch", doors, lambda: [], refuse)
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
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60] and len(tries) == 8


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
    assert catalogue.rows(COUNTY, "SELECT sequence FROM affairs.outbox") == []


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


async def test_the_schema_lets_one_relay_see_a_row_while_another_sends_it(doors: Doors) -> None:
    async with doors.connection(COUNTY.code) as connection:
        await add_message(connection, "scratch", "there", "k", "a", {})
    sending, finish = asyncio.Event(), asyncio.Event()

    async def slow(_: str, __: str, envelope: Envelope) -> Answer:
        sending.set()
        await finish.wait()
        return Answer(applied=[message.sequence for message in envelope.messages])

    first = Relay("scratch", doors, lambda: [], slow)
    sent = asyncio.create_task(first.send_some(COUNTY.code, "there"))
    await sending.wait()
    assert await Relay("scratch", doors, lambda: [], slow).send_some(COUNTY.code, "there") == 0
    finish.set()
    assert await sent == 1
