"""How each tenant of this cell fares, read from its own database: `python -m monitoring.exporters.tenants`.

    yiwang_tenant_filings_total{tenant="330106"} 42
    yiwang_tenant_cases_open{tenant="330106",limit="in time"} 17
    yiwang_tenant_cases_open{tenant="330106",limit="due soon"} 3
    yiwang_tenant_cases_open{tenant="330106",limit="overdue"} 1
    yiwang_tenant_oldest_waiting_seconds{tenant="330106"} 5400.0
    yiwang_tenant_index_lag_seconds{tenant="330106"} 0.0
    yiwang_tenant_messages_waiting{tenant="330106"} 0
    yiwang_tenant_reading_success{tenant="330106"} 1
    yiwang_tenant_reading_duration_seconds{tenant="330106"} 0.02
    yiwang_tenant_reading_timestamp_seconds{tenant="330106"} 1.79e+09
    yiwang_tenants_round_success 1
    yiwang_tenants_round_duration_seconds 0.4

Filings count from the exporter's start. A tenant that cannot be read keeps what was read last; its
`reading_timestamp` says from when that is (0: never read). A single figure that is none (NULL, not a number) is missing
alone, and the reading no success. At most ten thousand waiting messages are counted.
`round_duration` is the time spent on reading, without the pauses: tenants are read one after another, spread evenly
over half a minute, so that a small host is not jerked. Each is read through the services' doors, with one statement,
by an account that may read what is measured and nothing else. Between two readings PgBouncer closes the connection to
the instance again, as long as its `server_idle_timeout` is shorter than the gaps that readings leave.

Variables: `YIWANG_EXPORTER_PORT` and those of `services/kernel/settings.py`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Protocol

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.exporters.exposition import expose
from services.affairs.measures import Measures, measure
from services.kernel.calendar import today
from services.kernel.settings import ServiceSettings
from services.kernel.telemetry import configure_logging
from services.kernel.tenancy import Directory, Doors, Tenant

log = structlog.get_logger(__name__)

ROUND_SECONDS = 30.0
READING_SECONDS = 5.0


class TenantsSettings(ServiceSettings):
    service: str = "tenants-exporter"
    database_account: str = "measures"
    port: int = 0  # serves nobody but the scraper, on a port of its own
    exporter_port: int = 9128


class Source(Protocol):
    """Where a tenant's measures come from."""

    async def measure(self, tenant: Tenant, mark: datetime | None) -> Measures: ...

    async def let_go(self) -> None:
        """End whatever hangs; the next call of `measure` begins anew."""


class Databases:
    """The tenants' databases, through the service's doors."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def measure(self, tenant: Tenant, mark: datetime | None) -> Measures:
        async with self._doors.connection(tenant.code) as connection:
            return await measure(connection, tenant.code, mark, today())

    async def let_go(self) -> None:
        """A query that was given up keeps its connection until its server answers, which may be never."""
        await self._doors.close()


@dataclass(frozen=True)
class Known:
    """What is known of one tenant. `counted`: filings at or after the measures' mark that are counted already."""

    success: bool = False
    duration: float = 0.0
    read_at: float = 0.0
    filings: int = 0
    counted: int = 0
    measures: Measures | None = None

    def after(self, measures: Measures, read_at: float, duration: float) -> Known:
        """Filings since the mark are read whole each time, so one that was committed late still counts, once.

        Fewer than were counted means that some were removed; a counter does not go back for that.

        Raises TypeError when the filings are no number.
        """
        new = max(0, measures.filed - self.counted)
        whole = all(is_figure(getattr(measures, field.name)) for field in fields(measures) if field.name != "mark")
        return Known(whole, duration, read_at, self.filings + new, measures.filed - measures.settled, measures)


@dataclass(frozen=True)
class Round:
    success: bool
    duration: float


class TenantsCollector(Collector):
    """Reads all tenants of the directory's cell, round after round, and tells what it knows of them."""

    def __init__(
        self,
        directory: Directory,
        source: Source,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        round_seconds: float = ROUND_SECONDS,
        reading_seconds: float = READING_SECONDS,
    ) -> None:
        self._directory = directory
        self._source = source
        self._pause = pause
        self._round_seconds = round_seconds
        self._reading_seconds = reading_seconds
        self._known: dict[str, Known] = {}
        self._round: Round | None = None
        self._given_up: set[asyncio.Task[Measures]] = set()

    async def run(self) -> None:
        while True:
            await self.round()

    async def round(self) -> None:
        """Read each tenant once, at even distances, and pause to the round's end."""
        started = time.monotonic()
        self._directory.reload_if_changed()
        tenants = self._directory.own_cell()
        codes = {tenant.code for tenant in tenants}
        self._known = {code: reading for code, reading in self._known.items() if code in codes}
        for place, tenant in enumerate(tenants):
            await self._until(started + self._round_seconds * place / len(tenants))
            self._known[tenant.code] = await self._reading(tenant, self._known.get(tenant.code, Known()))
        self._round = Round(
            success=all(reading.success for reading in self._known.values()),
            duration=sum(reading.duration for reading in self._known.values()),
        )
        await self._until(started + self._round_seconds)

    async def _until(self, moment: float) -> None:
        await self._pause(max(0.0, moment - time.monotonic()))

    async def _reading(self, tenant: Tenant, before: Known) -> Known:
        """What is known of the tenant now. Its trouble is told, never raised: the others have none."""
        started = time.monotonic()
        try:
            measures = await self._in_time(tenant, before.measures.mark if before.measures else None)
            after = before.after(measures, time.time(), time.monotonic() - started)
        except Exception as error:
            log.warning("tenants.reading_failed", tenant=tenant.code, error=repr(error))
            return replace(before, success=False, duration=time.monotonic() - started)
        if not after.success:
            log.warning("tenants.odd_figures", tenant=tenant.code, measures=repr(measures))
        return after

    async def _in_time(self, tenant: Tenant, mark: datetime | None) -> Measures:
        """Raises TimeoutError when the reading takes too long, even if it does not let itself be cancelled."""
        reading = asyncio.create_task(self._source.measure(tenant, mark))
        done, _ = await asyncio.wait({reading}, timeout=self._reading_seconds)
        if not done:
            self._given_up.add(reading)
            reading.add_done_callback(self._ended)
            reading.cancel()
            await self._source.let_go()
            raise TimeoutError(f"not read within {self._reading_seconds:g} s")
        return reading.result()

    def _ended(self, reading: asyncio.Task[Measures]) -> None:
        self._given_up.discard(reading)
        if not reading.cancelled():
            reading.exception()  # looked at, so that the loop does not complain of it: the time limit is told already

    def collect(self) -> Iterator[Metric]:
        readings = dict(self._known)
        yield from _of_tenants(readings)
        yield from _of_readings(readings)
        if self._round is not None:
            yield GaugeMetricFamily(
                "yiwang_tenants_round_success",
                "1 when the last round read every tenant.",
                value=self._round.success,
            )
            yield GaugeMetricFamily(
                "yiwang_tenants_round_duration_seconds",
                "Time that the last round spent on reading, without the pauses between tenants.",
                value=self._round.duration,
            )


def is_figure(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _of_tenants(readings: dict[str, Known]) -> Iterator[Metric]:
    read = {
        code: (reading.filings, reading.measures) for code, reading in readings.items() if reading.measures is not None
    }
    filings = CounterMetricFamily("yiwang_tenant_filings", "Cases filed here since the exporter began.", labels=TENANT)
    cases = _gauge("cases_open", "Open cases that the tenant holds, by their time limit.", "limit")
    oldest = _gauge("oldest_waiting_seconds", "Age of the oldest case that is neither accepted nor declined.")
    lag = _gauge("index_lag_seconds", "Age of the oldest message to the index that is not delivered; 0: none.")
    waiting = _gauge("messages_waiting", "Messages to anybody that are not delivered, at most ten thousand.")
    for code, (filed, measures) in read.items():
        filings.add_metric([code], filed)
        for family, labels, value in (
            (cases, ["in time"], measures.in_time),
            (cases, ["due soon"], measures.due_soon),
            (cases, ["overdue"], measures.overdue),
            (oldest, [], measures.oldest_waiting_seconds),
            (lag, [], measures.index_lag_seconds),
            (waiting, [], measures.messages_waiting),
        ):
            if is_figure(value):  # one that is none would spoil the whole exposition, all tenants' figures with it
                family.add_metric([code, *labels], value)
    yield from (filings, cases, oldest, lag, waiting)


def _of_readings(readings: dict[str, Known]) -> Iterator[Metric]:
    success = _gauge("reading_success", "1 when the last reading of the tenant went well.")
    duration = _gauge("reading_duration_seconds", "How long the last reading of the tenant took.")
    read_at = _gauge("reading_timestamp_seconds", "When the tenant was last read well; 0: never.")
    for code, reading in readings.items():
        success.add_metric([code], reading.success)
        duration.add_metric([code], reading.duration)
        read_at.add_metric([code], reading.read_at)
    yield from (success, duration, read_at)


TENANT = ["tenant"]


def _gauge(name: str, says: str, *more: str) -> Any:
    return GaugeMetricFamily(f"yiwang_tenant_{name}", says, labels=[*TENANT, *more])


def main() -> None:
    settings = TenantsSettings()
    configure_logging(settings.service, settings.log_level)
    directory = Directory(settings.tenants_file, settings.secrets_file, settings.cell)
    collector = TenantsCollector(directory, Databases(Doors(settings, directory)))
    expose(settings.exporter_port, collector)
    asyncio.run(collector.run())


if __name__ == "__main__":
    main()
