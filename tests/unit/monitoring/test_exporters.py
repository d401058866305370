"""The exporters on made-up sources: what they tell, what trouble does to it, and that they outlive it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from monitoring.exporters import pgbouncer, tenants
from monitoring.exporters.pgbouncer import PgBouncerCollector
from monitoring.exporters.tenants import Known, TenantsCollector
from services.affairs.measures import Measures
from services.kernel.tenancy import Directory, Tenant
from tests.unit.services.test_kernel import TENANT, network

Samples = dict[str, float]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with structlog.testing.capture_logs() as logs:
        yield logs


def told(collector: Collector) -> Samples:
    """Each series, as it is written in an exposition, and its value."""
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def promised(exporter: Any) -> set[str]:
    """The names of the metrics in the exposition that a docstring shows."""
    lines = (line.strip() for line in str(exporter.__doc__).splitlines() if line.startswith("    "))
    return {line.partition("{")[0].partition(" ")[0] for line in lines}


# --- PgBouncer ---------------------------------------------------------------------------------------------------

POOL = {
    "database": "t330106",
    "user": "t330106_app",
    "cl_active": 3,
    "cl_waiting": 2,
    "sv_active": 1,
    "sv_idle": 1,
    "sv_used": 1,
    "maxwait": 1,
    "maxwait_us": 500_000,
}
STATS = {
    "database": "t330106",
    "total_query_count": 12,
    "total_query_time": 2_500_000,
    "total_xact_count": 10,
    "total_xact_time": 3_000_000,
    "total_wait_time": 250_000,
    "total_received": 100,
    "total_sent": 200,
}
OWN = {"database": "pgbouncer"}


class Console:
    def __init__(self, pools: Sequence[Any] = (POOL,), stats: Sequence[Any] = (STATS,)) -> None:
        configured = [{"name": "t330106"}, {"name": "t330112"}, {"name": "pgbouncer"}]
        self.answers = [configured, [*pools, POOL | OWN], [*stats, STATS | OWN]]
        self.out: Exception | None = None
        self.asked = 0

    def show(self, commands: Sequence[str]) -> list[list[Any]]:
        self.asked += 1
        if self.out:
            raise self.out
        assert list(commands) == ["SHOW DATABASES", "SHOW POOLS", "SHOW STATS"]
        return self.answers


def test_pools_and_totals_are_told_by_database_in_base_units() -> None:
    series = told(PgBouncerCollector(Console().show))
    assert series["pgbouncer_up"] == series["pgbouncer_exporter_success"] == 1
    assert {name.partition("{")[0] for name in series} == promised(pgbouncer)
    database = '{database="t330106"}'
    expected = {
        "pool_clients_active": 3,
        "pool_clients_waiting": 2,
        "pool_longest_wait_seconds": 1.5,
        "pool_servers_active": 1,
        "pool_servers_idle": 2,
        "queries_total": 12,
        "query_seconds_total": 2.5,
        "transactions_total": 10,
        "transaction_seconds_total": 3,
        "wait_seconds_total": 0.25,
        "received_bytes_total": 100,
        "sent_bytes_total": 200,
    }
    assert {name: series[f"pgbouncer_{name}{database}"] for name in expected} == pytest.approx(expected)
    assert not [name for name in series if '"pgbouncer"' in name]


def test_pools_of_several_accounts_add_up_and_the_longest_wait_is_the_longest() -> None:
    other = POOL | {"user": "t330106_owner", "maxwait": 0, "cl_active": 4}
    series = told(PgBouncerCollector(Console([other, POOL]).show))
    assert series['pgbouncer_pool_clients_active{database="t330106"}'] == 7
    assert series['pgbouncer_pool_longest_wait_seconds{database="t330106"}'] == 1.5


def test_a_console_that_is_out_is_told_once_and_outlived(quiet: list[Any]) -> None:
    moment = [0.0]
    console = Console()
    collector = PgBouncerCollector(console.show, lambda: moment[0])
    told(collector)
    console.out = OSError("no such socket")
    for _ in range(3):
        moment[0] += 5
        series = told(collector)
    assert series["pgbouncer_up"] == series["pgbouncer_exporter_success"] == 0
    assert not [name for name in series if "database=" in name] and len(quiet) == 1
    console.out = None
    moment[0] += 5
    assert told(collector)["pgbouncer_up"] == 1


def test_a_database_is_told_before_its_first_visitor() -> None:
    """A counter that is born with its first event hides it."""
    series = told(PgBouncerCollector(Console((), ()).show))
    figures = {name: value for name, value in series.items() if 'database="t330112"' in name}
    assert set(figures.values()) == {0} and len(figures) == 12


@pytest.mark.parametrize("odd", [None, "many", {}], ids=["NULL", "text", "no number at all"])
@pytest.mark.parametrize("column", ["maxwait", "sv_used", "total_xact_count"])
def test_an_odd_value_hides_itself_and_nothing_else(column: str, odd: Any, quiet: list[Any]) -> None:
    mended = told(PgBouncerCollector(Console([POOL, POOL | {"database": "t330112"}]).show))
    spoilt = [row | {column: odd} if column in row else row for row in (POOL, STATS)]
    series = told(PgBouncerCollector(Console([spoilt[0], POOL | {"database": "t330112"}], [spoilt[1]]).show))
    hidden = {name for name in mended if name not in series}
    assert len(hidden) == 1 and "t330106" in hidden.pop()
    assert series["pgbouncer_up"] == 1 and series["pgbouncer_exporter_success"] == 0 and len(quiet) == 1


def test_a_row_of_no_database_hides_no_other() -> None:
    nobody = {"database": None}
    series = told(PgBouncerCollector(Console([POOL, POOL | nobody], [STATS | nobody, STATS]).show))
    assert series['pgbouncer_pool_clients_active{database="t330106"}'] == 3
    assert series['pgbouncer_queries_total{database="t330106"}'] == 12 and series["pgbouncer_exporter_success"] == 0


@pytest.mark.parametrize("column", ["maxwait_us", "total_wait_time"])
def test_an_answer_that_is_not_understood_is_up_without_success(column: str) -> None:
    rows = [{name: value for name, value in row.items() if name != column} for row in (POOL, STATS)]
    series = told(PgBouncerCollector(Console(rows[:1], rows[1:]).show))
    assert series["pgbouncer_up"] == 1 and series["pgbouncer_exporter_success"] == 0


def test_scrapes_within_a_second_share_one_reading() -> None:
    moment = [100.0]
    console = Console()
    collector = PgBouncerCollector(console.show, lambda: moment[0])
    for _ in range(5):
        told(collector)
    assert console.asked == 1
    moment[0] += 1
    told(collector)
    assert console.asked == 2


# --- tenants -----------------------------------------------------------------------------------------------------

START = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
SETTLED = timedelta(seconds=120)


@dataclass
class Filings:
    """A tenant's filings as its database would count them, and the other measures fixed."""

    moments: list[datetime] = field(default_factory=list)
    now: datetime = START

    def measure(self, mark: datetime | None) -> Measures:
        since = mark or self.now
        seen = [moment for moment in self.moments if moment >= since]
        settled = sum(moment < self.now - SETTLED for moment in seen)
        return Measures(len(seen), settled, max(since, self.now - SETTLED), 7, 2, 1, 60.0, 0.5, 3)


class Source:
    def __init__(self) -> None:
        self.filings: dict[str, Filings] = {}
        self.trouble: dict[str, Callable[[], Any]] = {}
        self.asked: list[str] = []
        self.let_go_calls = 0
        self.freed = asyncio.Event()

    async def measure(self, tenant: Tenant, mark: datetime | None) -> Measures:
        self.asked.append(tenant.code)
        if tenant.code in self.trouble:
            await self.trouble[tenant.code]()
        return self.filings.setdefault(tenant.code, Filings()).measure(mark)

    async def let_go(self) -> None:
        self.let_go_calls += 1
        self.freed.set()

    async def refuse(self) -> None:
        raise OSError("no connection")

    async def hang(self) -> None:
        """Like a query that was given up: it ends when its connection does, whoever cancels it."""
        while not self.freed.is_set():
            try:
                await self.freed.wait()
            except asyncio.CancelledError:
                continue


@dataclass
class Site:
    folder: Path
    source: Source
    collector: TenantsCollector
    pauses: list[float]

    def tenants(self, *codes: str) -> None:
        entries = [TENANT | {"code": code, "site": f"{code}.example", "database": f"t{code}"} for code in codes]
        elsewhere = TENANT | {"code": "330199", "site": "elsewhere.example", "cell": "cell-b"}
        (self.folder / "tenants.json").write_text(json.dumps(network(*entries, elsewhere)))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    (tmp_path / "secrets.json").write_text("{}")
    (tmp_path / "tenants.json").write_text(json.dumps(network(TENANT)))
    source = Source()
    directory = Directory(tmp_path / "tenants.json", tmp_path / "secrets.json", "cell-a")
    made = Site(tmp_path, source, TenantsCollector(directory, source, pause=pause, reading_seconds=0.05), pauses)
    made.tenants("330106", "330108", "330112")
    return made


async def test_a_round_reads_each_tenant_of_the_cell_once_at_even_distances(site: Site) -> None:
    assert told(site.collector) == {}
    await site.collector.round()
    assert site.source.asked == ["330106", "330108", "330112"]
    assert [round(seconds) for seconds in site.pauses] == [0, 10, 20, 30]
    series = told(site.collector)
    assert {name.partition("{")[0] for name in series} == promised(tenants)
    assert series['yiwang_tenant_cases_open{limit="due soon",tenant="330108"}'] == 2
    assert series["yiwang_tenants_round_success"] == 1


@pytest.mark.parametrize("trouble", ["refuse", "hang"])
async def test_a_tenant_in_trouble_stops_no_other_and_keeps_what_was_read_last(site: Site, trouble: str) -> None:
    await site.collector.round()
    before = told(site.collector)
    site.source.trouble["330108"] = getattr(site.source, trouble)
    site.source.asked.clear()
    await asyncio.wait_for(site.collector.round(), 10)
    series = told(site.collector)
    assert site.source.asked == ["330106", "330108", "330112"]
    success = {code: series[f'yiwang_tenant_reading_success{{tenant="{code}"}}'] for code in site.source.asked}
    assert success == {"330106": 1, "330108": 0, "330112": 1} and series["yiwang_tenants_round_success"] == 0
    read_at = 'yiwang_tenant_reading_timestamp_seconds{tenant="330108"}'
    assert series[read_at] == before[read_at] > 0
    assert series['yiwang_tenant_messages_waiting{tenant="330108"}'] == 3
    assert site.source.let_go_calls == (trouble == "hang")
    del site.source.trouble["330108"]
    await site.collector.round()
    assert told(site.collector)["yiwang_tenants_round_success"] == 1


async def test_readings_without_a_time_limit_of_their_own_are_caught(site: Site) -> None:
    """The twin: were the source's own time limit trusted, the first hanging tenant would be the last one read."""

    async def trusting(tenant: Tenant, mark: datetime | None) -> Measures:
        return await site.source.measure(tenant, mark)

    site.source.trouble["330106"] = site.source.hang
    site.collector._in_time = trusting  # type: ignore[method-assign]
    endless = asyncio.create_task(site.collector.round())
    done, _ = await asyncio.wait({endless}, timeout=0.3)
    assert not done and site.source.asked == ["330106"]
    await site.source.let_go()
    await endless


ODD = ("in_time", "due_soon", "overdue", "oldest_waiting_seconds", "index_lag_seconds", "messages_waiting")


@pytest.mark.parametrize("odd", [None, float("nan"), "many"], ids=["NULL", "not a number", "text"])
@pytest.mark.parametrize("figure", ODD)
async def test_an_odd_figure_hides_itself_alone(site: Site, figure: str, odd: Any, quiet: list[Any]) -> None:
    await site.collector.round()
    before = told(site.collector)

    async def spoilt(tenant: Tenant, mark: datetime | None) -> Measures:
        measures = site.source.filings[tenant.code].measure(mark)
        return replace(measures, **{figure: odd}) if tenant.code == "330108" else measures

    site.source.measure = spoilt  # type: ignore[method-assign]
    await site.collector.round()
    after = told(site.collector)
    hidden = set(before) - set(after)
    assert len(hidden) == 1 and 'tenant="330108"' in hidden.pop()
    assert after['yiwang_tenant_reading_success{tenant="330108"}'] == 0
    assert after['yiwang_tenant_reading_success{tenant="330106"}'] == 1
    assert [log["event"] for log in quiet].count("tenants.odd_figures") == 1


async def test_filings_that_are_no_number_are_a_failed_reading_of_that_tenant_alone(site: Site) -> None:
    async def spoilt(tenant: Tenant, mark: datetime | None) -> Measures:
        measures = Filings().measure(mark)
        return replace(measures, filed=None) if tenant.code == "330106" else measures  # type: ignore[arg-type]

    site.source.measure = spoilt  # type: ignore[method-assign]
    await site.collector.round()
    success = {code: told(site.collector)[f'yiwang_tenant_reading_success{{tenant="{code}"}}'] for code in
               ("330106", "330108", "330112")}  # fmt: skip
    assert success == {"330106": 0, "330108": 1, "330112": 1}


async def test_a_tenant_never_read_is_told_as_such(site: Site) -> None:
    site.source.trouble["330106"] = site.source.refuse
    await site.collector.round()
    series = told(site.collector)
    assert series['yiwang_tenant_reading_timestamp_seconds{tenant="330106"}'] == 0
    assert 'yiwang_tenant_filings_total{tenant="330106"}' not in series


async def test_tenants_come_and_go_without_a_restart(site: Site) -> None:
    await site.collector.round()
    site.tenants("330112", "330127")
    await site.collector.round()
    codes = {name.partition('tenant="')[2].partition('"')[0] for name in told(site.collector) if "tenant=" in name}
    assert codes == {"330112", "330127"}
    site.tenants()
    await site.collector.round()
    assert set(told(site.collector)) == {"yiwang_tenants_round_success", "yiwang_tenants_round_duration_seconds"}
    assert site.pauses[-1] > 29


def counted(filings: Filings, steps: Sequence[Sequence[float]], after: Callable[[Known, Measures], Known]) -> int:
    """Readings half a minute apart; before each one filings of so many seconds ago become visible."""
    reading = Known()
    for step in steps:
        filings.moments += [filings.now - timedelta(seconds=age) for age in step]
        reading = after(reading, filings.measure(reading.measures.mark if reading.measures else None))
        filings.now += timedelta(seconds=30)
    return reading.filings


LATE = [(), (1, 2, 3), (), (80,), (5, 65, 110), *[()] * 6, (1,), *[()] * 6]


def exactly(reading: Known, measures: Measures) -> Known:
    return reading.after(measures, 0, 0)


def since_the_last_reading(reading: Known, measures: Measures) -> Known:
    """Known to be bad: counts what is newer than the last reading, so that a late commit is never seen."""
    newer = [] if reading.measures is None else [measures.filed]
    return Known(
        filings=reading.filings + sum(newer), measures=Measures(0, 0, measures.mark + SETTLED, 0, 0, 0, 0, 0, 0)
    )


def test_each_filing_counts_once_however_late_it_was_committed() -> None:
    assert counted(Filings(), LATE, exactly) == 8


def test_counting_from_the_last_reading_is_caught() -> None:
    assert counted(Filings(), LATE, since_the_last_reading) != 8


def test_filings_before_the_start_do_not_count_and_a_removal_does_not_turn_the_counter_back() -> None:
    filings = Filings([START - timedelta(seconds=age) for age in (1, 50, 5000)])
    reading = exactly(Known(), filings.measure(None))
    assert reading.filings == 0
    seen = []
    for moments in ([1, 2, 3], [3], [3, 4, 5]):
        filings.moments = [START + timedelta(seconds=second) for second in moments]
        filings.now += timedelta(seconds=30)
        assert reading.measures is not None
        reading = exactly(reading, filings.measure(reading.measures.mark))
        seen.append(reading.filings)
    assert seen == [3, 3, 5]
