"""What the gate learns from a real Prometheus: exact figures of the hold, and what is missing by its name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtests.gate.evidence import CPU_CURVE, Evidence, blindness, collect
from loadtests.gate.judge import judge
from loadtests.gate.verdict import Verdict
from loadtests.result import LoadResult, Second
from monitoring.jobs import targets
from monitoring.prometheus import Prometheus
from tests.integration.backends import free_port
from tests.integration.scraped import Scraped, scraped
from tests.support.watched import watched
from tests.unit.loadtests.gate_cases import OBJECTIVES, SCENARIO, healthy_load

SHAPE = {
    "cell-a": {"gateway": 1, "application": 2},
    "cell-core": {"gateway": 1, "identity": 1, "query": 1, "monitoring": 1},
}
OUTPUTS = watched(SHAPE, codes=("330100", "330106"))
FIRST, SECOND = "cell-a-application-1", "cell-a-application-2"
IDENTITY, QUERY = "cell-core-identity-1", "cell-core-query-1"
HOLD_SCRAPES = 4


@pytest.fixture(scope="module")
def province(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with scraped(OUTPUTS, tmp_path_factory.mktemp("scraped")) as pair:
        pair.await_value("min(up)", 1)
        pair.await_value("count(up)", len(list(targets(OUTPUTS))))
        work(pair)
        yield pair


def hold(start: float, end: float) -> LoadResult:
    """A healthy run, as far as people saw it, held from start to end."""
    seconds = [
        Second(at=at, intended=8, begun=8, requests=33, failed=0, wrong=0, p95=0.07)
        for at in range(int(start), int(end))
    ]
    return healthy_load(started_at=start - 2, hold_started_at=start, hold_ended_at=end, seconds=seconds)


def work(province: Scraped, failed: int = 0, slow: int = 0) -> None:
    """What a hold's worth of people does to the counters."""
    exporters = province.exporters
    exporters.requests(FIRST, "affairs", 400 - failed, failed, slow)
    exporters.requests(SECOND, "affairs", 400)
    exporters.requests(IDENTITY, "identity", 300, tenant="")
    exporters.requests(QUERY, "query", 200, tenant="")
    exporters.answered("cell-a-gateway-1", "affairs", 800)
    exporters.answered("cell-a-gateway-1", "portal", 0)
    exporters.answered("cell-core-gateway-1", "identity", 300)
    exporters.answered("cell-core-gateway-1", "query", 200)
    for host in (FIRST, SECOND, IDENTITY, QUERY):
        exporters.add(host, "pgbouncer", 'pgbouncer_queries_total{database="t330106"}', 1000)
        exporters.add(host, "pgbouncer", 'pgbouncer_query_seconds_total{database="t330106"}', 1.1)
        exporters.add(host, "pgbouncer", 'pgbouncer_pool_longest_wait_seconds{database="t330106"}', 0)
    exporters.add(FIRST, "affairs", 'yiwang_outbox_lag_seconds_bucket{le="5.0"}', 50)
    exporters.add(FIRST, "affairs", 'yiwang_outbox_lag_seconds_bucket{le="+Inf"}', 50)
    exporters.add(FIRST, "affairs", "yiwang_outbox_lag_seconds_count", 50)


def watch(province: Scraped, **what: int) -> tuple[LoadResult, Evidence]:
    """A hold in which people work, and what Prometheus saw of it."""
    start = province.await_scrapes(1)
    work(province, **what)
    load = hold(start, province.await_scrapes(HOLD_SCRAPES))
    return load, collect(province.prometheus, OUTPUTS, OBJECTIVES, load)


def judged(load: LoadResult, evidence: Evidence) -> Verdict:
    return judge(OBJECTIVES, SCENARIO, load, evidence)


def test_a_healthy_hold_is_known_exactly_and_is_a_go(province: Scraped) -> None:
    province.exporters.cpu[FIRST] = 0.5
    province.await_scrapes(3)
    load, evidence = watch(province)
    assert evidence.faults == ()
    assert len(evidence.figures) == len(evidence.expected)
    unknown = [figure for figure in evidence.figures if figure.value is None and figure.count is None]
    assert unknown == []
    availability = evidence.find("availability of affairs, as it saw itself", "affairs at cell-a")
    assert availability is not None
    assert (availability.value, availability.count) == (0.0, 800.0)
    statement = evidence.find("mean statement", "cell-a application pools")
    assert statement is not None and statement.value == pytest.approx(0.0011)
    connections = evidence.find("connections of the database", "cell-a database")
    assert connections is not None and connections.value == pytest.approx(12 / 400)
    storage = evidence.find("storage of the database", "cell-a database")
    assert storage is not None and storage.value == pytest.approx(2 / 20)
    cpu = evidence.find(CPU_CURVE, "cell-a application hosts")
    assert cpu is not None and cpu.value == pytest.approx(0.5, abs=0.02)
    assert all(target.up_at_start and target.up_at_end and target.succeeded == 1 for target in evidence.targets)
    verdict = judged(load, evidence)
    assert (verdict.verdict, verdict.reasons) == ("GO", ())


def test_the_first_failures_of_a_service_that_had_none_are_counted(province: Scraped) -> None:
    load, evidence = watch(province, failed=16, slow=100)
    availability = evidence.find("availability of affairs, as it saw itself", "affairs at cell-a")
    assert availability is not None
    assert (availability.value, availability.count) == (16 / 800, 800)
    late = evidence.find("latency of affairs, as it saw itself", "affairs at cell-a")
    assert late is not None and late.value == 100 / 800
    tenant = evidence.find("failures of a tenant, as services saw them", "services", "330106")
    assert tenant is not None and tenant.value == 16 / 800
    verdict = judged(load, evidence)
    assert verdict.verdict == "NO-GO"
    assert {reason.limit for reason in verdict.reasons} >= {
        "availability of affairs, as it saw itself",
        "latency of affairs, as it saw itself",
    }


def test_a_full_group_of_hosts_is_the_limit(province: Scraped) -> None:
    province.exporters.cpu |= {FIRST: 0.99, SECOND: 0.98}
    try:
        province.await_scrapes(2)
        verdict = judged(*watch(province))
    finally:
        province.exporters.cpu |= {FIRST: 0.25, SECOND: 0.25}
    assert verdict.limiting == "cell-a application hosts"
    assert verdict.verdict == "NO-GO"


def test_a_target_that_vanishes_in_mid_run_is_named(province: Scraped) -> None:
    start = province.await_scrapes(1)
    work(province)
    province.await_scrapes(3)
    province.exporters.silent.add(("cell-core-query-1", "host"))
    try:
        province.await_value('up{job="host", host="cell-core-query-1"}', 0)
        load = hold(start, time.time())
        evidence = collect(province.prometheus, OUTPUTS, OBJECTIVES, load)
    finally:
        province.exporters.silent.clear()
        province.await_value("min(up)", 1)
    verdict = judged(load, evidence)
    assert verdict.verdict == "NO-GO"
    assert verdict.reasons[0].component == "cell-core-query-1 host"
    assert "went down in the middle of the hold" in verdict.reasons[0].sentence


def test_a_metric_that_nobody_shows_any_more_is_named(province: Scraped) -> None:
    province.exporters.silent.add((FIRST, "cache"))
    try:
        province.await_value('up{job="cache", cell="cell-a"}', 0)
        verdict = judged(*watch(province))
    finally:
        province.exporters.silent.clear()
        province.await_value("min(up)", 1)
    missing = {(reason.limit, reason.component) for reason in verdict.reasons if reason.outcome == "missing"}
    assert ("memory of the cache", "cell-a cache") in missing
    assert verdict.verdict == "NO-GO"


def test_a_prometheus_that_stops_in_the_hold_is_a_no_go(tmp_path: Path) -> None:
    with scraped(OUTPUTS, tmp_path) as pair:
        pair.await_value("min(up)", 1)
        start = pair.await_scrapes(2)
        pair.stop()
        stopped = collect(pair.prometheus, OUTPUTS, OBJECTIVES, hold(start, time.time() + 10))
        assert "does not answer" in judged(hold(start, time.time() + 10), stopped).reasons[0].sentence


def test_a_prometheus_that_is_not_there_is_a_reason_and_no_exception() -> None:
    gone = Prometheus(f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in blindness(gone)[0]
    now = time.time()
    evidence = collect(gone, OUTPUTS, OBJECTIVES, hold(now - 20, now))
    verdict = judged(hold(now - 20, now), evidence)
    assert (verdict.verdict, verdict.reasons[0].component) == ("NO-GO", "prometheus")
    assert "A launch without sight is no launch" in verdict.reasons[0].sentence
