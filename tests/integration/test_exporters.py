"""The exporters on a real PostgreSQL and PgBouncer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML

from monitoring.exporters.tenants import Databases, Source, TenantsCollector
from services.affairs.measures import MEASURE, MOST_MESSAGES, SETTLED_SECONDS, Measures, measure
from services.affairs.schema import Status
from services.kernel.calendar import after_working_days, today
from services.kernel.tenancy import Directory, Doors
from tests.integration.backends import SUPERUSER, Postgres, free_port, start, stop, unprivileged
from tests.integration.network import REPOSITORY
from tests.integration.watched_cell import CELL, FIRST, SECOND, WatchedCell, scraped
from tests.support.waiting import wait_until

ROUND_SECONDS = 2.0


@pytest.fixture(scope="module")
def cell(backend_folder: Path, postgres: Postgres) -> Iterator[WatchedCell]:
    made = WatchedCell(backend_folder / "watched", postgres)
    made.create(FIRST, SECOND)
    made.pool()
    yield made
    made.stop()


@pytest.fixture
def empty(cell: WatchedCell) -> WatchedCell:
    for code in (FIRST, SECOND):
        cell.postgres.run("TRUNCATE affairs.cases, affairs.outbox", f"t{code}")
    cell.live(FIRST, SECOND)
    return cell


@pytest.fixture
async def superuser(cell: WatchedCell) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        host="127.0.0.1", port=cell.postgres.port, user=SUPERUSER, database=f"t{FIRST}", ssl=False
    )
    yield connection
    await connection.close()


@contextlib.asynccontextmanager
async def opened(cell: WatchedCell) -> AsyncIterator[tuple[Directory, Doors]]:
    directory = cell.directory()
    doors = cell.doors(directory)
    yield directory, doors
    await doors.close()


async def measured(cell: WatchedCell, mark: datetime | None = None) -> Measures:
    async with opened(cell) as (_, doors), doors.connection(FIRST) as connection:
        return await measure(connection, FIRST, mark, today())


# --- what is measured --------------------------------------------------------------------------------------------


async def test_open_cases_go_by_the_limit_that_is_theirs_and_only_where_they_are_held(empty: WatchedCell) -> None:
    now = today()
    soon, later = (f"'{after_working_days(now, days)}'" for days in (1, 2))
    past = f"'{now - timedelta(days=1)}'"
    empty.file(FIRST, "filed", count=2, accept_by=later)
    empty.file(FIRST, "filed", accept_by=f"'{now}'", age="90 s")
    empty.file(FIRST, "accepted", count=3, accept_by=past, due=soon)
    empty.file(FIRST, "in_transit", accept_by=past, due=past)
    empty.file(FIRST, "accepted", accept_by=past, due=later)
    for closed in ("granted", "refused", "declined"):
        empty.file(FIRST, closed, accept_by=past, due=past, age="9 d")
    empty.file(FIRST, "accepted", holder=SECOND, accept_by=past, due=past)
    measures = await measured(empty)
    assert (measures.in_time, measures.due_soon, measures.overdue) == (3, 4, 1)
    assert measures.oldest_waiting_seconds == pytest.approx(90, abs=20)


async def test_a_tenant_with_nothing_is_measured_as_such(empty: WatchedCell) -> None:
    measures = await measured(empty)
    assert (measures.filed, measures.settled, measures.in_time, measures.due_soon, measures.overdue) == (0, 0, 0, 0, 0)
    assert (measures.oldest_waiting_seconds, measures.index_lag_seconds, measures.messages_waiting) == (0, 0, 0)


async def test_the_index_lags_by_its_own_oldest_message_and_messages_are_counted_to_a_bound(
    empty: WatchedCell,
) -> None:
    def waiting(destination: str, age: int, count: int = 1) -> None:
        empty.postgres.run(
            f"INSERT INTO affairs.outbox (destination, kind, key, body, created_at) SELECT '{destination}', 'case', "
            f"'k', '{{}}', now() - interval '{age} s' FROM generate_series(1, {count})",
            f"t{FIRST}",
        )

    waiting("330000", 900)
    assert (await measured(empty)).index_lag_seconds == 0
    waiting("query", 60)
    waiting("query", 5)
    measures = await measured(empty)
    assert measures.index_lag_seconds == pytest.approx(60, abs=20) and measures.messages_waiting == 3
    waiting("330000", 1, MOST_MESSAGES)
    assert (await measured(empty)).messages_waiting == MOST_MESSAGES


async def test_filings_count_from_the_mark_and_those_of_other_tenants_do_not(empty: WatchedCell) -> None:
    first = await measured(empty)
    empty.file(FIRST, "granted", count=3)
    empty.file(FIRST, count=2, age=f"{SETTLED_SECONDS + 60} s")
    empty.postgres.run(
        f"UPDATE affairs.cases SET number = '{SECOND}' || right(number, 16) WHERE number = "
        "(SELECT max(number) FROM affairs.cases WHERE status = 'granted')",
        f"t{FIRST}",
    )
    since = await measured(empty, first.mark)
    assert (since.filed, since.settled, since.mark) == (2, 0, first.mark)
    older = await measured(empty, first.mark - timedelta(seconds=600))
    assert (older.filed, older.settled) == (4, 2) and older.mark < first.mark


def pages(plan: Any) -> int:
    """Pages of PostgreSQL's that a statement looked at."""
    top = json.loads(plan)[0]["Plan"]
    return int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])


async def pages_read(superuser: asyncpg.Connection, mark: str) -> int:
    arguments = [FIRST, await superuser.fetchval(f"SELECT {mark}"), SETTLED_SECONDS, list(get_args(Status)), today()]
    arguments += [after_working_days(today(), 1), MOST_MESSAGES]
    return pages(await superuser.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {MEASURE}", *arguments))


async def growth_with_the_years(cell: WatchedCell, superuser: asyncpg.Connection, mark: str) -> float:
    """How many times the pages a reading looks at, once five times as many cases were closed."""
    cell.file(FIRST, "accepted", count=300, due="current_date + 3")
    cell.file(FIRST, "granted", count=4_000, age="400 d")
    await superuser.execute("VACUUM ANALYZE affairs.cases")
    young = await pages_read(superuser, mark)
    cell.file(FIRST, "granted", count=16_000, age="40 d")
    await superuser.execute("VACUUM ANALYZE affairs.cases")
    return await pages_read(superuser, mark) / young


async def test_a_reading_costs_the_same_after_years(empty: WatchedCell, superuser: asyncpg.Connection) -> None:
    assert await growth_with_the_years(empty, superuser, "now() - interval '150 s'") < 1.5


async def test_a_count_of_all_filings_is_caught(empty: WatchedCell, superuser: asyncpg.Connection) -> None:
    assert await growth_with_the_years(empty, superuser, "timestamptz 'epoch'") > 2.5


# --- rounds ------------------------------------------------------------------------------------------------------


def value(collector: TenantsCollector, name: str, code: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry.get_sample_value(name, {"tenant": code})


async def left_open(cell: WatchedCell, superuser: asyncpg.Connection, idle_connections: int) -> tuple[set[int], bool]:
    """Two people come at once to a tenant that then idles: which connections to the instance are left once some have
    closed, and whether the next person's was one of those."""
    cell.pool(default_pool_size="2", server_idle_timeout="0.3", min_pool_size=str(idle_connections))
    held = f"SELECT pid FROM ({cell.server_connections('pid')}) AS held"
    async with opened(cell) as (_, doors):

        async def come(seconds: float) -> int:
            async with doors.connection(FIRST) as connection:
                pid: int = await connection.fetchval("SELECT pg_backend_pid() FROM pg_sleep($1)", seconds)
                return pid

        met = set(await asyncio.gather(come(0.2), come(0.2)))
        assert len(met) == 2
        left = met
        async with asyncio.timeout(20):
            while len(left) == 2 or len(left) > idle_connections:
                await asyncio.sleep(0.05)
                left = {row["pid"] for row in await superuser.fetch(held)}
        return left, await come(0) in left


async def test_an_idle_tenant_keeps_as_many_connections_as_the_role_says_and_the_next_person_has_one_of_them(
    empty: WatchedCell, superuser: asyncpg.Connection
) -> None:
    defaults = YAML(typ="safe").load(REPOSITORY / "playbooks/roles/pgbouncer/defaults/main.yml")
    left, at_once = await left_open(empty, superuser, defaults["pgbouncer_idle_connections"])
    assert len(left) == 1 and at_once


async def test_where_none_is_kept_the_next_person_waits_for_a_log_in_at_the_instance(
    empty: WatchedCell, superuser: asyncpg.Connection
) -> None:
    left, at_once = await left_open(empty, superuser, 0)
    assert not left and not at_once


async def test_a_database_that_hangs_stops_no_other_and_is_read_again_when_it_answers(
    empty: WatchedCell, superuser: asyncpg.Connection
) -> None:
    """Its backend is stopped between two rounds, so that not even the query's cancellation is answered."""
    empty.pool()

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    async with opened(empty) as (directory, doors):
        source: Source = Databases(doors)
        collector = TenantsCollector(directory, source, pause=at_once, reading_seconds=1)

        async def read() -> tuple[float | None, ...]:
            await asyncio.wait_for(collector.round(), 20)
            return tuple(value(collector, "yiwang_tenant_reading_success", code) for code in (FIRST, SECOND))

        assert await read() == (1, 1)
        backend = await superuser.fetchval("SELECT pid FROM pg_stat_activity WHERE usename = $1", f"t{FIRST}_measures")
        os.kill(backend, signal.SIGSTOP)
        try:
            assert await read() == (0, 1)
            assert await read() == (0, 1)
        finally:
            os.kill(backend, signal.SIGCONT)
        await asyncio.to_thread(wait_until, lambda: asyncio.run(_readable(empty)), 20, "the database answers again")
        assert await read() == (1, 1)


async def _readable(cell: WatchedCell) -> bool:
    try:
        await measured(cell)
    except Exception:
        return False
    return True


async def test_tenants_that_come_are_read_and_those_that_went_are_forgotten(empty: WatchedCell) -> None:
    empty.pool()
    empty.live(SECOND)
    async with opened(empty) as (directory, doors):
        collector = TenantsCollector(directory, Databases(doors), round_seconds=0)
        await collector.round()
        assert value(collector, "yiwang_tenant_reading_success", FIRST) is None
        empty.live(FIRST)
        await collector.round()
        assert value(collector, "yiwang_tenant_reading_success", FIRST) == 1
        assert value(collector, "yiwang_tenant_reading_success", SECOND) is None
        empty.file(FIRST, count=4)
        await collector.round()
        assert value(collector, "yiwang_tenant_filings_total", FIRST) == 4


# --- as processes ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def exporter(module: str, folder: Path, user: str | None = None, **environment: str) -> Iterator[int]:
    port = free_port()
    log = folder / f"{module}-exporter.log"
    process = start(
        [sys.executable, "-m", f"monitoring.exporters.{module}"],
        log,
        user,
        PYTHONPATH=str(REPOSITORY),
        PYTHONDONTWRITEBYTECODE="1",
        YIWANG_EXPORTER_PORT=str(port),
        **environment,
    )
    try:
        yield port
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        stop(process)


def test_the_tenants_exporter_runs_with_what_a_host_gives_it(empty: WatchedCell) -> None:
    empty.pool()
    settings = empty.settings()
    given = {
        "YIWANG_CELL": CELL,
        "YIWANG_TENANTS_FILE": str(settings.tenants_file),
        "YIWANG_SECRETS_FILE": str(settings.secrets_file),
        "YIWANG_DATABASE_HOST": "127.0.0.1",
        "YIWANG_DATABASE_PORT": str(empty.pooler.port),
    }
    with exporter("tenants", empty.folder, **given) as port:
        success = f'yiwang_tenant_reading_success{{tenant="{FIRST}"}}'
        wait_until(lambda: scraped(port).get(success) == 1, 30, "the first tenant was read")
        series = scraped(port)
        assert series["process_cpu_seconds_total"] > 0
        assert not [name for name in series if name.startswith("yiwang_request")]


def test_the_pgbouncer_exporter_tells_of_a_real_one_and_outlives_it(empty: WatchedCell) -> None:
    pooler = empty.pool()
    given = {"YIWANG_PGBOUNCER_SOCKET": str(pooler.folder), "YIWANG_PGBOUNCER_PORT": str(pooler.port)}
    database = f'{{database="t{FIRST}"}}'
    with exporter("pgbouncer", empty.folder, unprivileged(), **given) as port:
        wait_until(lambda: scraped(port).get("pgbouncer_exporter_success") == 1, 30, "the console was read")
        asyncio.run(two_clients_of_one_connection(empty, port))
        # BEGIN and COMMIT count too
        wait_until(lambda: scraped(port).get(f"pgbouncer_queries_total{database}") == 4, 10, "all are counted")
        series = scraped(port)
        assert 0 < series[f"pgbouncer_wait_seconds_total{database}"] < 60
        assert series[f"pgbouncer_query_seconds_total{database}"] < 60
        assert series[f"pgbouncer_received_bytes_total{database}"] > 0
        pooler.stop()
        wait_until(lambda: scraped(port).get("pgbouncer_up") == 0, 10, "it is told to be down")
        assert f"pgbouncer_queries_total{database}" not in scraped(port)
        pooler.start()
        wait_until(lambda: scraped(port).get("pgbouncer_up") == 1, 10, "it is up again")


async def two_clients_of_one_connection(cell: WatchedCell, port: int) -> None:
    """The pool's only connection is held by one client while another waits, until the exporter has told of both."""
    async with opened(cell) as (_, doors), doors.connection(FIRST) as holder, doors.connection(FIRST) as other:
        async with holder.transaction():
            await holder.fetchval("SELECT 1")
            waiting = asyncio.create_task(other.fetchval("SELECT 2"))
            await asyncio.to_thread(wait_until, lambda: _told(port, "pool_clients_waiting") == 1, 10, "one waits")
            assert _told(port, "pool_clients_active") == 1 and _told(port, "pool_servers_active") == 1
            assert 0 < _told(port, "pool_longest_wait_seconds") < 5
        assert await waiting == 2


def _told(port: int, name: str) -> float:
    return scraped(port).get(f'pgbouncer_{name}{{database="t{FIRST}"}}', 0)
