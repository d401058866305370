"""How the host's PgBouncer fares: `python -m monitoring.exporters.pgbouncer`.

    pgbouncer_up 1
    pgbouncer_pool_clients_active{database="t330106"} 3
    pgbouncer_pool_clients_waiting{database="t330106"} 0
    pgbouncer_pool_longest_wait_seconds{database="t330106"} 0.0
    pgbouncer_pool_servers_active{database="t330106"} 1
    pgbouncer_pool_servers_idle{database="t330106"} 1
    pgbouncer_queries_total{database="t330106"} 5120
    pgbouncer_query_seconds_total{database="t330106"} 4.2
    pgbouncer_transactions_total{database="t330106"} 5090
    pgbouncer_transaction_seconds_total{database="t330106"} 4.9
    pgbouncer_wait_seconds_total{database="t330106"} 0.31
    pgbouncer_received_bytes_total{database="t330106"} 812345
    pgbouncer_sent_bytes_total{database="t330106"} 401234
    pgbouncer_exporter_success 1
    pgbouncer_exporter_duration_seconds 0.002

`pgbouncer_up` says that its console answered, `pgbouncer_exporter_success` that all of the answer was understood as
well. A database is told from the time that it is configured, with zeros until its first visitor. What the console does
not answer is missing, and so is a single figure that is none (NULL, a text), alone. The console is asked when somebody
scrapes, at most once a second.

Variables: `YIWANG_EXPORTER_PORT`, `YIWANG_PGBOUNCER_SOCKET` (folder of its socket), `YIWANG_PGBOUNCER_PORT`.
Runs as PgBouncer's own OS user, whom it lets onto its console over the socket without a password.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pg8000.native
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic_settings import BaseSettings, SettingsConfigDict

from monitoring.exporters.exposition import expose
from services.kernel.telemetry import configure_logging

log = structlog.get_logger(__name__)

CONSOLE = "pgbouncer"
UNNAMED = ""
COMMANDS = ("SHOW DATABASES", "SHOW POOLS", "SHOW STATS")
CONSOLE_SECONDS = 2.0
MICROSECOND = 1e-6

Row = Mapping[str, Any]
Show = Callable[[Sequence[str]], list[list[Row]]]
"""The rows of each command, in order; it raises whatever the console's silence or refusal is to its author."""


class PgBouncerSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="YIWANG_", extra="ignore", frozen=True)

    exporter_port: int = 9127
    pgbouncer_socket: Path = Path("/run/postgresql")
    pgbouncer_port: int = 6432


class Console:
    """PgBouncer's console. It knows only the simple query protocol, which asyncpg does not speak."""

    def __init__(self, folder: Path, port: int) -> None:
        self._socket = str(folder / f".s.PGSQL.{port}")

    def show(self, commands: Sequence[str]) -> list[list[Row]]:
        """A connection each time costs half a millisecond, and there is none that could go stale."""
        connection = pg8000.native.Connection(
            CONSOLE, database=CONSOLE, unix_sock=self._socket, timeout=CONSOLE_SECONDS
        )
        try:
            return [list(_rows(connection, command)) for command in commands]
        finally:
            connection.close()


def _rows(connection: Any, command: str) -> Iterator[Row]:
    values = connection.run(command)
    names = [column["name"] for column in connection.columns]
    return (dict(zip(names, row, strict=True)) for row in values)


@dataclass(frozen=True)
class Gauge:
    """A figure of `SHOW POOLS`, added up over a database's pools (one an account) unless `join` says otherwise."""

    name: str
    says: str
    read: Callable[[Row], float]
    join: Callable[[Iterable[float]], float] = sum

    def value(self, rows: Iterable[Row]) -> float:
        """Raises KeyError, TypeError or ValueError when a column is missing or no number."""
        return float(self.join(map(self.read, rows)))


@dataclass(frozen=True)
class Counter:
    """A column of `SHOW STATS`, since PgBouncer started."""

    name: str
    says: str
    column: str
    unit: float = 1

    def value(self, rows: Iterable[Row]) -> float:
        """Raises KeyError, TypeError or ValueError when the column is missing or no number."""
        return sum(float(row[self.column]) for row in rows) * self.unit


GAUGES = (
    Gauge("pool_clients_active", "Clients with a server connection, or with nothing to ask.", lambda r: r["cl_active"]),
    Gauge("pool_clients_waiting", "Clients that wait for a server connection.", lambda r: r["cl_waiting"]),
    Gauge(
        "pool_longest_wait_seconds",
        "How long the first of them has waited.",
        lambda r: r["maxwait"] + r["maxwait_us"] * MICROSECOND,
        max,
    ),
    Gauge("pool_servers_active", "Server connections at work for a client.", lambda r: r["sv_active"]),
    # "used" are idle ones that PgBouncer would look at before it gives them away
    Gauge("pool_servers_idle", "Server connections that nobody uses.", lambda r: r["sv_idle"] + r["sv_used"]),
)
COUNTERS = (
    Counter("queries", "Queries.", "total_query_count"),
    Counter("query_seconds", "Time in queries.", "total_query_time", MICROSECOND),
    Counter("transactions", "Transactions.", "total_xact_count"),
    Counter("transaction_seconds", "Time in transactions.", "total_xact_time", MICROSECOND),
    Counter("wait_seconds", "Time that clients waited for a server connection.", "total_wait_time", MICROSECOND),
    Counter("received_bytes", "Traffic from clients and servers.", "total_received"),
    Counter("sent_bytes", "Traffic to clients and servers.", "total_sent"),
)


@dataclass(frozen=True)
class Reading:
    """What the console told: each figure's value by database."""

    up: bool
    success: bool
    duration: float = 0.0
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class PgBouncerCollector(Collector):
    CACHE_SECONDS = 1.0

    def __init__(self, show: Show, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._show = show
        self._monotonic = monotonic
        self._one_at_a_time = threading.Lock()
        self._last = Reading(up=True, success=True)
        self._read_at: float | None = None

    def collect(self) -> Iterator[Metric]:
        reading = self._reading()
        yield GaugeMetricFamily("pgbouncer_up", "1 when its console answered.", value=reading.up)
        for gauge in GAUGES:
            family = GaugeMetricFamily(f"pgbouncer_{gauge.name}", gauge.says, labels=["database"])
            yield _filled(family, reading.figures.get(gauge.name, {}))
        for counter in COUNTERS:
            total = CounterMetricFamily(f"pgbouncer_{counter.name}", counter.says, labels=["database"])
            yield _filled(total, reading.figures.get(counter.name, {}))
        yield GaugeMetricFamily(
            "pgbouncer_exporter_success", "1 when the console's answer was understood.", value=reading.success
        )
        yield GaugeMetricFamily(
            "pgbouncer_exporter_duration_seconds", "How long the last reading took.", value=reading.duration
        )

    def _reading(self) -> Reading:
        with self._one_at_a_time:
            if self._read_at is None or self._monotonic() - self._read_at >= self.CACHE_SECONDS:
                self._last = self._read()
                self._read_at = self._monotonic()
            return self._last

    def _read(self) -> Reading:
        """A new reading. PgBouncer's trouble is told, never raised: the exporter outlives it."""
        started = self._monotonic()
        up, success = False, False
        figures: Mapping[str, Mapping[str, float]] = {}
        try:
            databases, pools, stats = self._show(COMMANDS)
            up = True
            figures, odd = _figures(databases, pools, stats)
            success = not odd
            if odd and self._last.success:  # once, not at every scrape
                log.warning("pgbouncer.odd_figures", figures=odd[:10])
        except Exception as error:
            if self._last.success:
                log.warning("pgbouncer.reading_failed", answered=up, error=repr(error))
        return Reading(up, success, self._monotonic() - started, figures)


def _figures(
    databases: Iterable[Row], pools: Iterable[Row], stats: Iterable[Row]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Each figure by database; and the figures, by name and database, that were none and are left out."""
    figures: dict[str, dict[str, float]] = {}
    odd: list[str] = []
    of_pools, of_stats = _by_database(pools), _by_database(stats)
    names = {*_by_database(databases, "name"), *of_pools, *of_stats} - {CONSOLE}
    if UNNAMED in names:
        odd.append("a row of no database")
    read: list[tuple[Gauge | Counter, dict[str, list[Row]]]] = [
        *((gauge, of_pools) for gauge in GAUGES),
        *((counter, of_stats) for counter in COUNTERS),
    ]
    for figure, rows in read:
        values = figures[figure.name] = {}
        for name in sorted(names - {UNNAMED}):
            try:
                values[name] = figure.value(rows[name]) if name in rows else 0.0
            except (KeyError, TypeError, ValueError):
                odd.append(f"{figure.name} of {name}")
    return figures, odd


def _by_database(rows: Iterable[Row], column: str = "database") -> dict[str, list[Row]]:
    by_database: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_database[str(row.get(column) or UNNAMED)].append(row)
    return dict(by_database)


def _filled(family: Any, values: Mapping[str, float]) -> Metric:
    for database, value in values.items():
        family.add_metric([database], value)
    metric: Metric = family
    return metric


def main() -> None:
    settings = PgBouncerSettings()
    configure_logging("pgbouncer-exporter")
    console = Console(settings.pgbouncer_socket, settings.pgbouncer_port)
    expose(settings.exporter_port, PgBouncerCollector(console.show)).join()


if __name__ == "__main__":
    main()
