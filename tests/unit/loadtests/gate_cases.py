"""A healthy run and what Prometheus saw of it, as the gate gets them; tests spoil what they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadtests.gate.evidence import CPU_CURVE, Curve, Evidence, Figure, TargetSight, expected
from loadtests.gate.judge import judge
from loadtests.gate.queries import table
from loadtests.gate.verdict import Verdict
from loadtests.histogram import Histogram
from loadtests.result import Generator, Latencies, LoadResult, Operation, Second, TenantResult
from loadtests.scenario import Scenario
from loadtests.scenario import load as load_scenario
from monitoring.jobs import targets
from monitoring.objectives import load as load_objectives
from tests.support.watched import CODES, watched

START, HOLD = 1_800_000_000, 60
OBJECTIVES = load_objectives()
SCENARIO: Scenario = load_scenario("launch").changed(rate=8, hold_seconds=HOLD)
OUTPUTS = watched()
QUERIES = {query.name: query for query in table(OBJECTIVES)}
CPU, APPLICATION = CPU_CURVE, "cell-a application hosts"


def latencies(count: int, typical: float) -> Latencies:
    """Evenly from half of the typical seconds to one and a half of them."""
    histogram = Histogram()
    for number in range(count):
        histogram.add(typical * (0.5 + number / count))
    return histogram.latencies()


def operation(name: str, service: str, requests: int = 500, typical: float = 0.05, **spoiled: int) -> Operation:
    counts = {"failed": 0, "limited": 0, "wrong": 0} | spoiled
    return Operation(name=name, service=service, requests=requests, latencies=latencies(requests, typical), **counts)


def healthy_load(**changes: Any) -> LoadResult:
    given = {
        "environment": OUTPUTS.environment,
        "scenario": SCENARIO.name,
        "arrival": "open",
        "target_rate": SCENARIO.rate,
        "users": None,
        "started_at": float(START - 10),
        "hold_started_at": float(START),
        "hold_ended_at": float(START + HOLD),
        "journeys_intended": 480,
        "journeys_begun": 480,
        "journeys_completed": 479,
        "journeys_ended": 479,
        "in_flight_seconds": 160.0,
        "operations": [
            operation("citizen.log-in", "identity", typical=0.2),
            operation("citizen.file", "affairs"),
            operation("clerk.desk", "affairs"),
            operation("citizen.query", "query"),
        ],
        "tenants": [TenantResult(code=code, requests=600, failed=0, limited=0, wrong=0) for code in CODES],
        "failures": [],
        "seconds": [
            Second(at=START + second, intended=8, begun=8, requests=33, failed=0, wrong=0, p95=0.07)
            for second in range(-10, HOLD)
        ],
        "generator": Generator(processes=1, cpu_share=0.31, lateness_p99=0.004, limited=False),
    }
    return LoadResult(**(given | changes))


def healthy_evidence() -> Evidence:
    keys = tuple(expected(list(QUERIES.values()), OUTPUTS))
    return Evidence(
        environment=OUTPUTS.environment,
        prometheus="http://10.0.1.16:9090",
        start=START,
        end=START + HOLD,
        expected=keys,
        figures=tuple(
            Figure(**key.model_dump(), value=value, count=count, halves=(value, value))
            for key in keys
            for value, count in [_well(key.query)]
        ),
        targets=tuple(
            TargetSight(
                job=target.job, host=target.labels["host"], interval=5, up_at_start=True, up_at_end=True, scrapes=12,
                succeeded=1.0, gap=5.0,
            )
            for target in targets(OUTPUTS)
        ),
        curves=(
            Curve(name=CPU, component=APPLICATION, points=tuple((START + at, 0.5) for at in range(-10, HOLD, 5))),
        ),
    )  # fmt: skip


def _well(name: str) -> tuple[float, float | None]:
    query = QUERIES[name]
    if query.of is not None:
        return (0.001 if query.unit == "seconds" else 0.0), 1000.0
    return (0.3 if query.unit == "use" and query.limit else 0.0), None


def spoiled(evidence: Evidence, query: str, component: str = "", tenant: str = "", **changes: Any) -> Evidence:
    """The same with other figures of one query (of one component or tenant, or of all)."""

    def is_it(figure: Figure) -> bool:
        return figure.query == query and component in ("", figure.component) and tenant in ("", figure.tenant)

    assert any(is_it(figure) for figure in evidence.figures), query
    return evidence.model_copy(
        update={
            "figures": tuple(
                figure.model_copy(update=changes) if is_it(figure) else figure for figure in evidence.figures
            )
        }
    )


def with_target(evidence: Evidence, job: str, host: str, **changes: Any) -> Evidence:
    assert any((target.job, target.host) == (job, host) for target in evidence.targets)
    return evidence.model_copy(
        update={
            "targets": tuple(
                target.model_copy(update=changes) if (target.job, target.host) == (job, host) else target
                for target in evidence.targets
            )
        }
    )


def with_operation(load: LoadResult, name: str, change: Callable[[Operation], Operation]) -> LoadResult:
    return load.model_copy(
        update={"operations": [change(former) if former.name == name else former for former in load.operations]}
    )


def verdict(
    load: LoadResult | None = None, evidence: Evidence | None = None, plan_warning: str | None = None
) -> Verdict:
    return judge(OBJECTIVES, SCENARIO, load or healthy_load(), evidence or healthy_evidence(), plan_warning)
