"""What Prometheus saw of the hold: every figure of the table, every target, and curves for the charts.

What should be there comes from the stacks' outputs, so that whatever is missing is known to be missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from infra.outputs import EnvironmentOutputs
from loadtests.gate.queries import Query, table
from loadtests.result import LoadResult
from monitoring.jobs import JOBS, targets
from monitoring.objectives import Objectives
from monitoring.prometheus import Prometheus, PrometheusError, Sample
from monitoring.render import SCRAPE_SECONDS

STALE_SCRAPES = 3
"""So many scrapes in a row must be missing before it is no accident."""
CURVE_POINTS = 120
CLOCKS_SECONDS = 3.0
CPU_CURVE = "CPU of hosts"
CPU_TOGETHER = "CPU of hosts together"
"""In a short hold the busiest of several hosts is busier than each of them is: what they carry is told by all."""
FULLEST_CPU = "CPU of hosts at their fullest"

Clock = Callable[[], float]


class EvidenceModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Key(EvidenceModel):
    """What must be known: one query about one component or tenant."""

    query: str
    component: str
    tenant: str = ""


class Figure(Key):
    """`value`: None when Prometheus has no answer, or a share of nothing (`count` is 0 then)."""

    value: float | None
    count: float | None = Field(None, description="of how many events a share is one")
    halves: tuple[float | None, float | None] = Field((None, None), description="of the hold's two halves")


class TargetSight(EvidenceModel):
    """How well one target was seen. `gap`: the longest time without a scrape, successful or not."""

    job: str
    host: str
    interval: float
    up_at_start: bool | None = Field(description="None: Prometheus knows no such target then")
    up_at_end: bool | None
    scrapes: int
    succeeded: float | None = Field(description="share of the scrapes in the hold")
    gap: float | None


class Curve(EvidenceModel):
    name: str
    component: str
    points: tuple[tuple[float, float], ...]


class Evidence(EvidenceModel):
    environment: str
    prometheus: str
    start: float
    end: float
    faults: tuple[str, ...] = Field((), description="why nothing, or nothing right, was seen")
    expected: tuple[Key, ...] = ()
    figures: tuple[Figure, ...] = ()
    targets: tuple[TargetSight, ...] = ()
    curves: tuple[Curve, ...] = ()

    def find(self, query: str, component: str, tenant: str = "") -> Figure | None:
        key = (query, component, tenant)
        return next((figure for figure in self.figures if (figure.query, figure.component, figure.tenant) == key), None)


@dataclass(frozen=True)
class Window:
    """`length` seconds that end at `end`."""

    end: float
    length: float

    @property
    def halves(self) -> tuple[Window, Window]:
        half = self.length / 2
        return Window(self.end - half, half), Window(self.end, half)

    def expression(self, template: str) -> str:
        return template.replace("$window", f"{max(int(self.length * 1000), 1000)}ms")


def blindness(prometheus: Prometheus, clock: Clock = time.time) -> list[str]:
    """Why Prometheus cannot be relied on now; nothing when it can."""
    try:
        now = prometheus.query("time()")[0].value
        newest = prometheus.query("max(timestamp(up))")
    except PrometheusError as error:
        return [str(error)]
    if not newest:
        return [f"Prometheus at {prometheus.url} scrapes nothing"]
    faults = []
    if abs(now - clock()) > CLOCKS_SECONDS:
        faults.append(
            f"the clock of {prometheus.url} is {now - clock():+.0f} s off this machine's: "
            "what it saw cannot be laid beside the load"
        )
    if now - newest[0].value > STALE_SCRAPES * SCRAPE_SECONDS:
        faults.append(f"Prometheus at {prometheus.url} is stale: its last scrape was {now - newest[0].value:.0f} s ago")
    return faults


def collect(
    prometheus: Prometheus,
    outputs: EnvironmentOutputs,
    objectives: Objectives,
    load: LoadResult,
    clock: Clock = time.time,
) -> Evidence:
    """Everything about the hold. A Prometheus that does not answer is a fault in the evidence, no exception."""
    queries = table(objectives)
    blank = Evidence(
        environment=outputs.environment,
        prometheus=prometheus.url,
        start=load.hold_started_at,
        end=load.hold_ended_at,
        expected=tuple(expected(queries, outputs)),
    )
    if faults := blindness(prometheus, clock):
        return blank.model_copy(update={"faults": tuple(faults)})
    window = Window(load.hold_ended_at, load.hold_seconds)
    try:
        return blank.model_copy(
            update={
                "figures": tuple(figure for query in queries for figure in figures(prometheus, query, outputs, window)),
                "targets": tuple(sights(prometheus, outputs, window)),
                "curves": tuple(curves(prometheus, queries, load)),
            }
        )
    except PrometheusError as error:
        return blank.model_copy(update={"faults": (str(error),)})


def expected(queries: list[Query], outputs: EnvironmentOutputs) -> list[Key]:
    return [
        Key(query=query.name, component=query.component_of(labels), tenant=labels.get("tenant", ""))
        for query in queries
        for labels in query.where(outputs)
    ]


def figures(prometheus: Prometheus, query: Query, outputs: EnvironmentOutputs, window: Window) -> list[Figure]:
    """One figure for each component that must have one; what Prometheus does not answer for has no value."""
    whole = _ask(prometheus, query, outputs, window)
    halves = [_ask(prometheus, query, outputs, half) if query.limit is not None else {} for half in window.halves]
    query_figures = []
    for labels in query.where(outputs):
        component, tenant = query.component_of(labels), labels.get("tenant", "")
        value, count = whole.get((component, tenant), (None, 0.0 if query.silent else None))
        first, second = (half.get((component, tenant), (None, None))[0] for half in halves)
        query_figures.append(
            Figure(
                query=query.name, component=component, tenant=tenant, value=value, count=count, halves=(first, second)
            )
        )
    return query_figures


Answers = Mapping[tuple[str, str], tuple[float | None, float | None]]


def _ask(prometheus: Prometheus, query: Query, outputs: EnvironmentOutputs, window: Window) -> Answers:
    """(component, tenant) → (value, count)."""
    values = _by_component(query, prometheus.query(window.expression(query.expression), window.end))
    if query.per is not None:
        sizes = {query.component_of({"cell": cell.cell}): query.per(cell) for cell in outputs.cells}
        values = {key: value / sizes[key[0]] for key, value in values.items() if sizes.get(key[0])}
    if query.of is None:
        return {key: (value, None) for key, value in values.items()}
    counts = _by_component(query, prometheus.query(window.expression(query.of), window.end))
    # of a counter by outcome there is no series before the first: none have failed
    silent = query.silent
    return {
        key: (max(values.get(key, 0.0), 0.0) / count if count > 0 else None, count)
        for key, count in counts.items()
        if key in values or silent
    }


def _by_component(query: Query, samples: list[Sample]) -> dict[tuple[str, str], float]:
    return {(query.component_of(sample.labels), sample.labels.get("tenant", "")): sample.value for sample in samples}


def sights(prometheus: Prometheus, outputs: EnvironmentOutputs, window: Window) -> list[TargetSight]:
    intervals = {job.name: float(job.interval[:-1]) if job.interval else float(SCRAPE_SECONDS) for job in JOBS}

    def by_target(expression: str, at: float) -> dict[tuple[str, str], float]:
        samples = prometheus.query(window.expression(expression), at)
        return {(sample.labels.get("job", ""), sample.labels.get("host", "")): sample.value for sample in samples}

    at_start = by_target("up", window.end - window.length)
    at_end = by_target("up", window.end)
    scrapes = by_target("count_over_time(up[$window])", window.end)
    succeeded = by_target("avg_over_time(up[$window])", window.end)
    gaps = by_target("max_over_time((time() - timestamp(up))[$window:1s])", window.end)
    target_sights = []
    for target in targets(outputs):
        key = (target.job, target.labels["host"])
        target_sights.append(
            TargetSight(
                job=key[0],
                host=key[1],
                interval=intervals[target.job],
                up_at_start=_true(at_start.get(key)),
                up_at_end=_true(at_end.get(key)),
                scrapes=int(scrapes.get(key, 0)),
                succeeded=succeeded.get(key),
                gap=gaps.get(key),
            )
        )
    return target_sights


def _true(value: float | None) -> bool | None:
    return None if value is None else value == 1


def curves(prometheus: Prometheus, queries: list[Query], load: LoadResult) -> list[Curve]:
    """The CPU of each group of hosts over the whole run, ramp included."""
    query = next(query for query in queries if query.name == CPU_CURVE)
    step = max(float(SCRAPE_SECONDS), (load.hold_ended_at - load.started_at) / CURVE_POINTS)
    expression = Window(0, max(step, STALE_SCRAPES * SCRAPE_SECONDS)).expression(query.expression)
    all_series = prometheus.query_range(expression, load.started_at, load.hold_ended_at, step)
    return [
        Curve(name=CPU_CURVE, component=query.component_of(series.labels), points=series.points)
        for series in all_series
    ]
