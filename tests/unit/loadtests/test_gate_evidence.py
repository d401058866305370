"""What the gate takes for sight, without a Prometheus: answers are made up at its HTTP border."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import httpx
import pytest

from loadtests.gate.evidence import Window, blindness, expected
from loadtests.gate.queries import table
from monitoring.metrics import KEPT, names
from monitoring.prometheus import Prometheus
from tests.unit.loadtests.gate_cases import OBJECTIVES, OUTPUTS

NOW = 1_800_000_000.0


def prometheus(answer: Callable[[str], object]) -> Prometheus:
    def handle(request: httpx.Request) -> httpx.Response:
        reply = answer(request.url.params["query"])
        if isinstance(reply, int):
            return httpx.Response(reply, text="no")
        return httpx.Response(200, text=json.dumps({"status": "success", "data": reply}))

    return Prometheus("http://10.0.1.16:9090", httpx.Client(transport=httpx.MockTransport(handle)))


def seen(clock: float, newest: float | None) -> Callable[[str], object]:
    def answer(query: str) -> object:
        if query == "time()":
            return {"resultType": "scalar", "result": [clock, str(clock)]}
        samples = [] if newest is None else [{"metric": {}, "value": [clock, str(newest)]}]
        return {"resultType": "vector", "result": samples}

    return answer


def test_a_prometheus_that_scrapes_now_is_sight() -> None:
    assert blindness(prometheus(seen(NOW, NOW - 4)), lambda: NOW) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (seen(NOW, NOW - 60), "is stale: its last scrape was 60 s ago"),
        (seen(NOW + 90, NOW + 90), "clock of http://10.0.1.16:9090 is +90 s off"),
        (seen(NOW, None), "scrapes nothing"),
        (lambda _: 502, "not as Prometheus does"),
    ],
)
def test_what_is_no_sight_says_why(answer: Callable[[str], object], words: str) -> None:
    assert words in blindness(prometheus(answer), lambda: NOW)[0]


def test_a_windows_halves_are_the_window() -> None:
    first, second = Window(100, 60).halves
    assert (first, second) == (Window(70, 30), Window(100, 30))
    assert Window(100, 20.5).expression("x[$window]") == "x[20500ms]"


def test_everything_that_was_provisioned_is_expected() -> None:
    keys = {(key.query, key.component, key.tenant) for key in expected(table(OBJECTIVES), OUTPUTS)}
    hosts = {component for query, component, _ in keys if query == "CPU of hosts"}
    assert hosts == {f"{cell.cell} {host.role} hosts" for cell in OUTPUTS.cells for host in cell.hosts}
    assert ("availability of identity, as it saw itself", "identity at cell-core", "") in keys
    assert {tenant for query, _, tenant in keys if query == "index lag of a tenant"} == {
        tenant.code for tenant in OUTPUTS.tenants
    }


def test_every_metric_that_is_asked_for_is_kept_by_some_scrape() -> None:
    kept = {name for job in KEPT for name in names(job)} | {"up"}
    asked = [part for query in table(OBJECTIVES) for part in _metrics(f"{query.expression} {query.of or ''}")]
    assert set(asked) <= kept
    assert set(_metrics("node_cpu_guess_total")) - kept, "the check catches a metric that nobody keeps"


def _metrics(expression: str) -> list[str]:
    return re.findall(r"\b(?:yiwang|node|haproxy|pgbouncer|pg|redis)_\w+", expression)


def test_every_window_is_looked_into_each_second() -> None:
    """Prometheus lays the steps of a subquery on the clock: a window shorter than a step may have none in it."""
    steps = [
        re.findall(r"\[\$window:(.*?)\]", expression)
        for query in table(OBJECTIVES)
        for expression in (query.expression, query.of or "")
    ]
    assert {step for matches in steps for step in matches} == {"1s"}
