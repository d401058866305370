"""Monitoring sees what was provisioned, all of it; says nothing while all is well; and says the right thing soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from monitoring import series
from monitoring.prometheus import Alert, Prometheus
from tests.e2e.browser import launched, on_a_steady_network, part
from tests.e2e.clients import Applicant, citizen_token, trust
from tests.e2e.databases import cell_of, connected
from tests.support.living import LINAN, XIHU, Living
from tests.support.waiting import wait_until
from tools.watch import await_sight, firing, unseen

ALERT_SECONDS = 120.0
"""Within this time a fault must have become an alert that somebody was sent."""


@pytest.fixture
def prometheus(living: Living) -> Iterator[Prometheus]:
    assert living.outputs.prometheus is not None
    with Prometheus(living.outputs.prometheus) as client:
        yield client


@dataclass(frozen=True)
class Fault:
    host: str
    unit: str
    since: float


@pytest.fixture(scope="module")
def dead_exporter(living: Living) -> Iterator[Fault]:
    """Until the end of the module, or until a test starts it again; alerts need their time, which other tests use."""
    fault = Fault("cell-a-gateway-2", "prometheus-node-exporter", time.time())
    try:
        assert living.on_host(fault.host, f"systemctl stop {fault.unit}").returncode == 0
        yield fault
    finally:
        assert living.on_host(fault.host, f"systemctl start {fault.unit}").returncode == 0


def notified(living: Living, status: str, since: float) -> Iterator[tuple[float, dict[str, str]]]:
    """When Alertmanager has told the receiver of such alerts, with their labels."""
    assert living.outputs.receiver is not None
    notifications = httpx.get(f"{living.outputs.receiver}/alerts", timeout=10, trust_env=False).json()["notifications"]
    for notification in notifications:
        if notification["received_at"] >= since:
            for alert in notification["alerts"]:
                if alert["status"] == status:
                    yield notification["received_at"], alert["labels"]


def test_every_host_and_service_that_was_provisioned_is_scraped(living: Living, prometheus: Prometheus) -> None:
    await_sight(living.outputs)
    seen = {(target.job, target.host) for target in prometheus.targets()}
    hosts = {host.name: host.role for cell in living.outputs.cells for host in cell.hosts}
    assert {("host", name) for name in hosts} <= seen
    services = {"application": {"affairs", "portal", "pgbouncer"}, "identity": {"identity", "pgbouncer"},
                "query": {"query", "pgbouncer"}, "gateway": {"gateway"}, "monitoring": {"prometheus"}}  # fmt: skip
    assert {(job, name) for name, role in hosts.items() for job in services[role]} <= seen
    assert {target.job for target in prometheus.targets()} >= {"tenants", "database", "cache", "receiver"}


def test_a_healthy_environment_is_silent(living: Living, prometheus: Prometheus) -> None:
    await_sight(living.outputs)
    assert firing(living.outputs) == []
    up = prometheus.query("min(up)")
    assert up[0].value == 1


def test_the_series_are_as_many_as_was_worked_out(living: Living, prometheus: Prometheus) -> None:
    """Prometheus counts itself when it is scraped, so a little after it has seen the last of its targets."""
    await_sight(living.outputs)
    worked_out = series.count(series.of_outputs(living.outputs))

    def there() -> float:
        return prometheus.query("prometheus_tsdb_head_series")[0].value

    wait_until(lambda: there() >= worked_out.fewest, 60, f"as many series are there as in {worked_out}")
    assert there() <= worked_out.most, f"{there():.0f} series, {worked_out} worked out"


def test_without_one_exporter_sight_is_incomplete(living: Living, prometheus: Prometheus, dead_exporter: Fault) -> None:
    """The twin of the tests above."""
    wait_until(lambda: unseen(prometheus, living.outputs), 30, "sight is incomplete")
    assert [name for name in unseen(prometheus, living.outputs) if name.startswith(dead_exporter.host)]


def test_filings_are_counted_as_the_tenants_database_has_them(
    living: Living, prometheus: Prometheus, tmp_path: Path
) -> None:
    def counted() -> float:
        samples = prometheus.query(f'sum(yiwang_tenant_filings_total{{tenant="{XIHU}"}})')
        return samples[0].value if samples else -1

    wait_until(lambda: counted() >= 0, 90, "the first round is over")
    before = counted()
    url = next(tenant.url for tenant in living.outputs.tenants if tenant.code == XIHU)
    applicant = Applicant(url, citizen_token(living, XIHU), trust(living), tmp_path / "ledger")
    asyncio.run(applicant.file(25, concurrency=4))
    assert len(applicant.acknowledged) == 25
    wait_until(lambda: counted() - before == 25, 90, "the next rounds count the filings")


def test_an_idle_tenant_has_one_connection_an_account_left_however_often_it_is_read(
    living: Living, prometheus: Prometheus
) -> None:
    """On the host where most visitors come: relays' sweeps and the exporter. Who comes next finds it open."""
    cell = cell_of(living, "cell-a")
    host = next(host for host in cell.hosts if host.role == "application")
    password = living.secrets("cell-a")["monitoring_database_password"]
    opened = f"SELECT usename, pid FROM pg_stat_activity WHERE datname = 't{LINAN}' AND client_addr = '{host.address}'"
    affairs = f"t{LINAN}_affairs"

    def read_at() -> float:
        samples = prometheus.query(f'yiwang_tenant_reading_timestamp_seconds{{tenant="{LINAN}"}}')
        return samples[0].value if samples else 0

    with connected(living, cell, "monitoring", password, "postgres") as connection:

        def servers() -> list[tuple[str, int]]:
            return [(str(account), int(pid)) for account, pid in connection.run(opened)]

        def alone() -> dict[str, int]:
            left = servers()
            return dict(left) if len(dict(left)) == len(left) and affairs in dict(left) else {}

        first = wait_until(read_at, 90, "the tenant was read")
        left = wait_until(alone, 150, "all connections but one of each account have closed")
        wait_until(lambda: read_at() > first, 60, "the tenant was read again")
        assert (affairs, left[affairs]) in servers(), "another was opened in its place"
        assert set(dict(servers())) <= {affairs, f"t{LINAN}_portal", f"t{LINAN}_measures"}


def told(living: Living, status: str, since: float, **wanted: str) -> float:
    """Seconds until the receiver was told of such an alert; 0 while it was not."""
    delays = (at - since for at, labels in notified(living, status, since) if wanted.items() <= labels.items())
    return next(delays, 0.0)


@on_a_steady_network
def test_an_operator_silences_what_fires_from_the_page_that_status_names(living: Living, dead_exporter: Fault) -> None:
    wanted = {"alertname": "TargetDown", "host": dead_exporter.host, "job": "host"}
    wait_until(lambda: told(living, "firing", dead_exporter.since, **wanted), ALERT_SECONDS, "the receiver was told")
    with launched([]) as browser:
        page = browser.new_page()
        page.goto(living.described["receiver"])
        alert = part(page, "alert").filter(has_text=dead_exporter.host)
        alert.get_by_role("link", name="手册").click()
        expect(page.get_by_text("# TargetDown")).to_be_visible()
        page.go_back()
        alert.get_by_role("link", name="静默").click()
        page.get_by_label("经办人").fill("王工")
        page.get_by_label("原因").fill("更换网卡")
        part(page, "submit").click()
        expect(alert).to_contain_text("已静默")
        silence = part(page, "silence").filter(has_text="更换网卡")
        silence.get_by_role("button", name="结束静默").click()
        expect(silence).to_have_count(0)
        expect(alert).not_to_contain_text("已静默")


def test_a_dead_exporter_is_named_within_two_minutes_and_its_return_too(
    living: Living, prometheus: Prometheus, dead_exporter: Fault
) -> None:
    """The twin of the silence; then a database that vanishes, and with it what its exporter could tell."""
    host, since = dead_exporter.host, dead_exporter.since
    wanted = {"alertname": "TargetDown", "host": host, "job": "host"}
    seconds = wait_until(lambda: told(living, "firing", since, **wanted), ALERT_SECONDS, "the receiver was told")
    assert seconds < ALERT_SECONDS
    alerts: list[Alert] = prometheus.alerts()
    assert {alert.labels.get("host") for alert in alerts if alert.state == "firing"} == {host}
    assert living.on_host(host, f"systemctl start {dead_exporter.unit}").returncode == 0
    with living.life.cloud.keeper.held():
        living.kill_managed("cell-core", "database")
        down, since = {"alertname": "DatabaseDown", "cell": "cell-core"}, time.time()
        wait_until(
            lambda: told(living, "firing", since, **down), ALERT_SECONDS, "the receiver was told of the database"
        )
    wait_until(lambda: firing(living.outputs) == [], ALERT_SECONDS, "silence again")
