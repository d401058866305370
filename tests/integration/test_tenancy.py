"""No way from one tenant to another's records: by host, by token, by account, by a shared connection."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import asyncpg
import pytest

from services.kernel.database import Batches, CommitSlots, ConnectionLost, TypesOnce
from services.kernel.problems import Unavailable
from services.kernel.tenancy import Directory, Doors
from tests.integration.filings import accepted_case, act, file
from tests.integration.network import CITY, COUNTY, NEIGHBOUR, PROVINCE, Network, client
from tests.support.waiting import wait_until


def doors_of(network: Network) -> Doors:
    settings = network.settings("affairs", COUNTY.cell)
    return Doors(settings, Directory(settings.tenants_file, settings.secrets_file, settings.cell))


@pytest.mark.parametrize("host", ["other.example", "127.0.33.2", "127.0.33.4.example", "", "127.0.33.3\u00e9"])
def test_a_host_that_is_not_served_here_is_misdirected(catalogue: Network, host: str) -> None:
    address = f"http://{COUNTY.address}:{catalogue.ports['affairs-cell-a']}"
    with client(address, catalogue.issuer.citizen("c")) as stranger:
        headers = {"Host": host.encode("latin-1")}
        for method, path in (
            ("GET", "/api/affairs/items"),
            ("POST", "/api/affairs/cases"),
            ("GET", "/api/affairs/desk"),
        ):
            assert stranger.request(method, path, headers=headers).status_code == 421  # type: ignore[arg-type]


def test_a_neighbours_clerk_sees_and_does_nothing_here(catalogue: Network) -> None:
    number = accepted_case(catalogue, COUNTY, catalogue.issuer.citizen("citizen-tenancy"))["number"]
    with catalogue.client(COUNTY, catalogue.issuer.officer("clerk", NEIGHBOUR.code)) as clerk:
        assert clerk.get("/desk").status_code == 403
        hidden, missing = clerk.get(f"/cases/{number}"), clerk.get("/cases/" + "9" * 22)
        assert hidden.status_code == missing.status_code == 404
        assert {**hidden.json(), "request_id": ""} == {**missing.json(), "request_id": ""}
        for action, body in (
            ("acceptance", {"accepted": True}),
            ("hand-over", {"to": CITY.code, "reason": "x"}),
            ("outcome", {"result": "granted", "text": "x"}),
        ):
            assert clerk.post(f"/cases/{number}/{action}", json=body).status_code == 403
    with catalogue.client(NEIGHBOUR, catalogue.issuer.officer("clerk", NEIGHBOUR.code)) as clerk:
        assert clerk.get(f"/cases/{number}").status_code == 404


def test_another_citizen_gets_the_same_answer_as_for_no_case(catalogue: Network) -> None:
    number = file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-owner")).json()["number"]
    with catalogue.client(COUNTY, catalogue.issuer.citizen("citizen-curious")) as curious:
        hidden, missing = curious.get(f"/cases/{number}"), curious.get("/cases/" + "9" * 22)
    assert hidden.status_code == missing.status_code == 404
    assert {**hidden.json(), "request_id": ""} == {**missing.json(), "request_id": ""}


def test_a_case_goes_to_no_tenant_out_of_its_way(catalogue: Network) -> None:
    number = accepted_case(catalogue, COUNTY, catalogue.issuer.citizen("citizen-way"))["number"]
    for to in (NEIGHBOUR.code, PROVINCE.code, COUNTY.code, "999999"):
        assert act(catalogue, COUNTY, number, "hand-over", {"to": to, "reason": "x"}).status_code == 422


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"seconds": -1},
        {"scope": "relay"},
        {"scope": "operator"},
    ],
)
def test_tokens_that_do_not_fit_do_not_file(catalogue: Network, changes: dict[str, object]) -> None:
    token = catalogue.issuer.token("citizen-token", **changes)  # type: ignore[arg-type]
    assert file(catalogue, COUNTY, token).status_code in (401, 403)


@pytest.mark.parametrize("token", [".", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "é"])
def test_rubbish_is_no_token(catalogue: Network, token: str) -> None:
    with catalogue.client(COUNTY) as stranger:
        headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
        for method, path in (("POST", "/cases"), ("GET", "/desk")):
            assert stranger.request(method, path, headers=headers).status_code == 401  # type: ignore[arg-type]


async def test_an_account_cannot_connect_to_another_tenants_database(catalogue: Network) -> None:
    for port in (catalogue.postgres.port, catalogue.pooler.port):
        with pytest.raises(
            (asyncpg.InsufficientPrivilegeError, asyncpg.PostgresConnectionError, asyncpg.ProtocolViolationError)
        ):
            await asyncpg.connect(
                host="127.0.0.1",
                port=port,
                user=f"t{COUNTY.code}_affairs",
                password=catalogue.passwords[f"t{COUNTY.code}_affairs"],
                database=f"t{NEIGHBOUR.code}",
                ssl=False,
                timeout=10,
            )


async def test_where_connect_is_left_to_everybody_the_same_attempt_succeeds(catalogue: Network) -> None:
    catalogue.postgres.run(f"GRANT CONNECT ON DATABASE t{NEIGHBOUR.code} TO PUBLIC")
    try:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=catalogue.postgres.port,
            user=f"t{COUNTY.code}_affairs",
            password=catalogue.passwords[f"t{COUNTY.code}_affairs"],
            database=f"t{NEIGHBOUR.code}",
            ssl=False,
        )
        await connection.close()
    finally:
        catalogue.postgres.run(f"REVOKE CONNECT ON DATABASE t{NEIGHBOUR.code} FROM PUBLIC")


class Asking:
    """How often asyncpg asked a database for types, and for which kind of connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        original = asyncpg.Connection._introspect_types

        async def asked(connection: asyncpg.Connection, *arguments: Any) -> Any:
            self.times += 1
            return await original(connection, *arguments)

        monkeypatch.setattr(asyncpg.Connection, "_introspect_types", asked)
        monkeypatch.setattr(TypesOnce, "_known", {})

    async def by_two(self, network: Network, kind: type[asyncpg.Connection], statement: str, *values: Any) -> Any:
        """What a new connection to one database and then one to another's give."""
        fetched = []
        for code in (COUNTY.code, NEIGHBOUR.code):
            account = f"t{code}_affairs"
            connection = await asyncpg.connect(
                host="127.0.0.1",
                port=network.pooler.port,
                user=account,
                password=network.passwords[account],
                database=f"t{code}",
                ssl=False,
                statement_cache_size=0,
                connection_class=kind,
            )
            fetched.append(await connection.fetchval(statement, *values))
            await connection.close()
        return fetched


ARRAYS = "SELECT ($1::bytea[])[1] || ($2::uuid[])[1]::text::bytea || ($3::timestamptz[])[1]::text::bytea"


async def test_types_are_asked_for_once_and_not_by_each_connection(
    catalogue: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recursive walk through the catalogue for each new connection made all who came after a quiet time wait."""
    asking = Asking(monkeypatch)
    values = [b"a"], [uuid.UUID(int=7)], [datetime(2026, 11, 29, tzinfo=UTC)]
    first, second = await asking.by_two(catalogue, TypesOnce, ARRAYS, *values)
    assert first == second and first.startswith(b"a00000000-0000-0000-0000-000000000007")
    assert asking.times == 1
    await asking.by_two(catalogue, TypesOnce, "SELECT $1::uuid[]", values[1])
    assert asking.times == 1


async def test_asyncpgs_own_connection_asks_each_time(catalogue: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = Asking(monkeypatch)
    await asking.by_two(catalogue, asyncpg.Connection, "SELECT $1::uuid[]", [uuid.UUID(int=7)])
    assert asking.times == 2


async def test_a_databases_own_types_are_asked_for_in_each(catalogue: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers may be another type's elsewhere."""
    asking = Asking(monkeypatch)
    databases = [(f"t{code}", words) for code, words in ((COUNTY.code, "'x', 'y'"), (NEIGHBOUR.code, "'y', 'z'"))]
    for database, words in databases:
        catalogue.postgres.run(f"CREATE TYPE public.mood AS ENUM ({words})", database)
    try:
        moods = await asking.by_two(catalogue, TypesOnce, "SELECT ARRAY['y']::public.mood[]")
    finally:
        for database, _ in databases:
            catalogue.postgres.run("DROP TYPE public.mood", database)
    assert moods == [["y"], ["y"]]
    assert asking.times >= 2


async def test_what_is_open_to_a_tenant_closes_when_it_leaves(catalogue: Network) -> None:
    doors = doors_of(catalogue)
    async with doors.connection(COUNTY.code) as connection:
        assert await connection.fetchval("SELECT current_database()") == f"t{COUNTY.code}"
    directory = doors._directory
    assert list(doors._pools) == [f"t{COUNTY.code}"]
    directory._own = [tenant for tenant in directory._own if tenant.code != COUNTY.code]
    for notify in directory.changed:
        notify()
    assert not doors._pools
    await doors.close()


async def test_doors_open_only_to_tenants_of_this_cell(network: Network) -> None:
    doors = doors_of(network)
    for code in (CITY.code, "999999", ""):
        with pytest.raises(KeyError):
            async with doors.connection(code):
                raise AssertionError("opened")
    await doors.close()


async def wrong_tenants(doors: Doors, requests: int, seed: int) -> int:
    """Interleaved work of two tenants with errors and cancellations; how often an answer was another tenant's."""
    chance = random.Random(seed)
    wrong = 0

    async def ask(code: str) -> None:
        nonlocal wrong
        async with doors.connection(code) as connection:
            if chance.random() < 0.2:
                with pytest.raises(asyncpg.PostgresError):
                    await connection.fetchval("SELECT 1 / 0")
            answer = await connection.fetchval("SELECT current_database() || current_user FROM pg_sleep($1)", 0.002)
            wrong += answer != f"t{code}t{code}_affairs"

    async def ask_or_give_up(code: str) -> None:
        try:
            async with asyncio.timeout(0.01 if chance.random() < 0.3 else 30):
                await ask(code)
        except (TimeoutError, Unavailable):
            return

    for _ in range(requests // 50):
        await asyncio.gather(*(ask_or_give_up(chance.choice((COUNTY.code, NEIGHBOUR.code))) for _ in range(50)))
    return wrong


async def test_interleaved_requests_never_get_another_tenants_connection(network: Network) -> None:
    doors = doors_of(network)
    assert await wrong_tenants(doors, 1000, seed=6) == 0
    await doors.close()


async def test_a_pool_shared_by_two_tenants_is_caught(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    doors = doors_of(network)
    async with doors.connection(COUNTY.code):
        pass
    monkeypatch.setitem(doors._pools, f"t{NEIGHBOUR.code}", doors._pools[f"t{COUNTY.code}"])
    assert await wrong_tenants(doors, 200, seed=6) > 0
    await doors.close()


ECHO = "SELECT place, kept::jsonb AS kept FROM unnest($1::text[]) WITH ORDINALITY AS member(kept, place)"
SLOW = "SELECT 1 AS place FROM unnest($1::text[]), pg_sleep(8)"
POISON = ['"\\u0000"', '"\ud800"', "{", "\x00"]


async def kept_beside_poison(doors: Doors) -> int:
    """Put poison among twenty good members of one batch; how many of the good ones were kept."""
    batches = Batches("test", lambda: doors.connection(COUNTY.code), ECHO)
    members = [f'"good-{number}"' for number in range(20)]
    mixed = [*members[:10], *POISON, *members[10:]]
    answers = await asyncio.gather(*(batches.call(member) for member in mixed), return_exceptions=True)
    for member, answer in zip(mixed, answers, strict=True):
        if member in POISON:
            assert isinstance(answer, Exception), member
    return sum(
        not isinstance(answer, BaseException) and answer["kept"] == member
        for member, answer in zip(mixed, answers, strict=True)
    )


async def test_poison_in_a_batch_is_refused_alone(network: Network) -> None:
    doors = doors_of(network)
    assert await kept_beside_poison(doors) == 20
    await doors.close()


async def test_a_batch_that_is_not_retried_singly_loses_neighbours(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = doors_of(network)

    async def give_up(self: Batches, batch: list[tuple[tuple[str, ...], asyncio.Future[object]]]) -> None:
        for _, answer in batch:
            answer.set_exception(ValueError("the whole batch"))

    monkeypatch.setattr(Batches, "_commit_singly", give_up)
    assert await kept_beside_poison(doors) < 20
    await doors.close()


HELD = (
    "SELECT place, pg_advisory_xact_lock(41)::text AS held FROM unnest($1::text[]) WITH ORDINALITY AS u (member, place)"
)
END_WHO_WAITS = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = 41 AND NOT granted"""


async def cut_off(network: Network, doors: Doors, asking: Callable[[], Awaitable[object]]) -> object:
    """What becomes of a statement whose connection the server ends while it runs, and of which another may succeed."""
    async with doors.connection(COUNTY.code) as holder:
        async with holder.transaction():
            await holder.execute("SELECT pg_advisory_xact_lock(41)")
            asked = asyncio.ensure_future(asking())
            ended = partial(network.postgres.run, END_WHO_WAITS, f"t{COUNTY.code}")
            await asyncio.to_thread(wait_until, lambda: "t" in ended(), 10, "a statement to end")
        [result] = await asyncio.gather(asked, return_exceptions=True)
    return result


async def test_a_connection_that_is_lost_under_a_statement_is_told_as_lost(network: Network) -> None:
    doors = doors_of(network)

    async def ask() -> None:
        async with doors.connection(COUNTY.code) as connection:
            await connection.fetch(HELD, ["x"])

    assert isinstance(await cut_off(network, doors, ask), ConnectionLost)
    await doors.close()


async def test_a_batch_whose_connection_is_lost_is_sent_once_more(network: Network) -> None:
    doors = doors_of(network)
    batches = Batches("test", lambda: doors.connection(COUNTY.code), HELD)
    row = await cut_off(network, doors, lambda: batches.call("x"))
    assert not isinstance(row, BaseException), row
    await doors.close()


async def test_a_database_that_hangs_holds_up_no_other(network: Network) -> None:
    doors, slots = doors_of(network), CommitSlots(1)
    hanging = Batches("test", lambda: doors.connection(COUNTY.code), SLOW, commits=slots)
    other = Batches("test", lambda: doors.connection(NEIGHBOUR.code), ECHO, commits=slots)
    stuck = asyncio.create_task(hanging.call("x"))
    for _ in range(5):
        answer = await asyncio.wait_for(other.call('"y"'), 5)
        assert answer["kept"] == '"y"' and not stuck.done()
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    await doors.close()
