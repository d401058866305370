"""What the gate asks Prometheus about the hold: one table of named queries, in raw metrics.

Recorded series would do for most of it, but they lag behind by their evaluation, and their windows are not the hold's.
The terms are those of `monitoring/rules`: the same metrics, the same meaning of failed, slow and late. Every figure
grows when things get worse. `$window` stands for the length of what is asked about, which ends where the query is
evaluated; a query that is a share has what it is a share of in `of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from infra.outputs import CellOutputs, EnvironmentOutputs
from monitoring.jobs import targets
from monitoring.objectives import Latency, Objectives
from monitoring.rules.services import BETWEEN_SERVICES, bound

Labels = Mapping[str, str]
Where = Callable[[EnvironmentOutputs], list[Labels]]
Unit = Literal["share", "use", "seconds", "count"]
GIB = 1024**3
FULLEST_SECONDS = 15
"""Three scrapes: arrivals that come in a crowd fill a host for less than a hold, and are answered late."""


@dataclass(frozen=True)
class Query:
    """`where`: the label sets that must answer. `silent`: no series means that nothing happened, not that it is unseen.

    `limit`: None is told as proof and not judged. `service`: where nothing happened although people asked this
    service, the answer is missing.
    """

    name: str
    component: str
    where: Where
    expression: str
    says: str
    unit: Unit
    limit: float | None = None
    of: str | None = None
    per: Callable[[CellOutputs], float] | None = None
    silent: bool = False
    service: str | None = None

    def component_of(self, labels: Labels) -> str:
        return self.component.format(**labels)


def table(objectives: Objectives) -> list[Query]:
    return [
        *_hosts(objectives),
        *_services(objectives),
        *_gateways(objectives),
        *_data(objectives),
        *_tenants(objectives),
    ]


# ---- which components there are ----


def host_groups(outputs: EnvironmentOutputs) -> list[Labels]:
    return _distinct(outputs, "host", "cell", "role")


def pools(outputs: EnvironmentOutputs) -> list[Labels]:
    return _distinct(outputs, "pgbouncer", "cell", "role")


def cells(outputs: EnvironmentOutputs) -> list[Labels]:
    return [{"cell": cell.cell} for cell in outputs.cells]


def cells_with_storage(outputs: EnvironmentOutputs) -> list[Labels]:
    return [{"cell": cell.cell} for cell in outputs.cells if cell.database.storage_gib is not None]


def live_tenants(outputs: EnvironmentOutputs) -> list[Labels]:
    return [{"tenant": tenant.code} for tenant in outputs.tenants if tenant.status == "live"]


def cells_of(service: str, label: str) -> Where:
    """The cells that run a service, which `label` names."""

    def where(outputs: EnvironmentOutputs) -> list[Labels]:
        return [{**labels, label: service} for labels in _distinct(outputs, service, "cell")]

    return where


def _distinct(outputs: EnvironmentOutputs, job: str, *names: str) -> list[Labels]:
    combinations = {
        tuple(target.labels[name] for name in names): None for target in targets(outputs) if target.job == job
    }
    return [dict(zip(names, values, strict=True)) for values in combinations]


# ---- the table ----


def grown(selector: str) -> str:
    """Growth of counters in the window, exact as scraped (`increase` extrapolates). One that began in it has grown by
    all that it shows, or the first failures of a service that had none would be missed; so has one that was reset."""
    return f"({selector} - {selector} offset $window >= 0 or {selector})"


def remainder(target: float) -> float:
    """What may go wrong: 0.001 for a target of 0.999."""
    return round(1 - target, 9)


def _hosts(objectives: Objectives) -> Iterator[Query]:
    """The busiest host of each group: an average would hide one that is alone at its limit."""
    limits, by = objectives.saturation, "by (cell, role, host)"

    def busy(window: str) -> str:
        idle = f'sum {by} (rate(node_cpu_seconds_total{{mode=~"idle|iowait"}}[{window}]))'
        return f"1 - {idle} / sum {by} (rate(node_cpu_seconds_total[{window}]))"

    available = "min_over_time(node_memory_MemAvailable_bytes[$window])"
    used = "(node_filesystem_size_bytes - node_filesystem_free_bytes)"
    for name, share, limit in (
        ("CPU", busy("$window"), limits.host_cpu),
        ("memory", f"1 - {available} / node_memory_MemTotal_bytes", limits.host_memory),
        ("disk", f"{used} / ({used} + node_filesystem_avail_bytes)", limits.host_disk),
    ):
        yield Query(
            f"{name} of hosts",
            "{cell} {role} hosts",
            host_groups,
            f"max by (cell, role) ({share})",
            f"The busiest of {{component}} used {{figure}} of its {name}; {{limit}} may be in use.",
            "use",
            limit,
        )
    yield Query(
        "CPU of hosts together",
        "{cell} {role} hosts",
        host_groups,
        f"avg by (cell, role) ({busy('$window')})",
        "{component} used {figure} of their CPU on average.",
        "use",
    )
    yield Query(
        "CPU of hosts at their fullest",
        "{cell} {role} hosts",
        host_groups,
        f"max by (cell, role) (max_over_time(({busy(f'{FULLEST_SECONDS}s')})[$window:1s]))",
        f"The busiest of {{component}} used {{figure}} of its CPU in its fullest {FULLEST_SECONDS} s.",
        "use",
    )


def _services(objectives: Objectives) -> Iterator[Query]:
    for service, wanted in objectives.services.items():
        job = f'job="{service}"'
        where = cells_of(service, "job")
        there = f"sum by (job, cell) (0 * yiwang_requests_in_flight{{{job}}})"

        def counted(selector: str, there: str = there) -> str:
            return f"(sum by (job, cell) ({grown(selector)}) or {there})"

        yield Query(
            f"availability of {service}, as it saw itself",
            "{job} at {cell}",
            where,
            counted(f'yiwang_requests_total{{{job}, outcome="failed"}}'),
            "{component} failed {figure} of its requests; {limit} may fail.",
            "share",
            remainder(wanted.availability.target),
            counted(f"yiwang_requests_total{{{job}}}"),
            service=service,
        )
        for name, histogram, selector, objective in (
            ("latency", "yiwang_request_seconds", f'{job}, route!~"{BETWEEN_SERVICES}"', wanted.latency),
            ("freshness", "yiwang_outbox_lag_seconds", job, wanted.freshness),
        ):
            if objective is not None:
                yield _slow(service, name, histogram, selector, objective, counted)


def _slow(
    service: str, name: str, histogram: str, selector: str, objective: Latency, counted: Callable[[str], str]
) -> Query:
    everything = counted(f"{histogram}_count{{{selector}}}")
    within = counted(f'{histogram}_bucket{{{selector}, le="{bound(objective.seconds)}"}}')
    what = "answers took" if name == "latency" else "messages waited"
    return Query(
        f"{name} of {service}, as it saw itself",
        "{job} at {cell}",
        cells_of(service, "job"),
        f"({everything} - {within})",
        f"{{figure}} of the {what} {{component}} more than {objective.seconds:g} s; {{limit}} may.",
        "share",
        remainder(objective.target),
        everything,
        service=service if name == "latency" else None,
    )


def _gateways(objectives: Objectives) -> Iterator[Query]:
    for service, wanted in objectives.services.items():
        answers = f'haproxy_backend_http_responses_total{{proxy="{service}"}}'
        failed = f'haproxy_backend_http_responses_total{{proxy="{service}", code="5xx"}}'
        where = cells_of(service, "proxy")
        yield Query(
            f"availability of {service}, as the gateway saw it",
            "{cell} gateway to {proxy}",
            where,
            f"sum by (cell, proxy) ({grown(failed)})",
            "{component} answered 5xx to {figure} of the requests; {limit} may fail.",
            "share",
            remainder(wanted.availability.target),
            f"sum by (cell, proxy) ({grown(answers)})",
            service=service,
        )
        status = f'haproxy_server_status{{proxy="{service}", server!~".+:unchecked", state="UP"}}'
        yield Query(
            f"hosts of {service} that the gateway takes for healthy",
            "{cell} gateway to {proxy}",
            where,
            f"1 - avg by (cell, proxy) (avg_over_time({status}[$window]))",
            "{component}: {figure} of its hosts were out of service; {limit} may be.",
            "share",
            remainder(objectives.gate.backends_up),
        )
    yield Query(
        "queue at the gateway",
        "{cell} gateway hosts",
        cells,
        "max by (cell) (max_over_time(haproxy_backend_current_queue[$window]))",
        "{figure} requests waited at {component}.",
        "count",
    )


def _data(objectives: Objectives) -> Iterator[Query]:
    limits = objectives.saturation
    # database and cache are asked every 15 s, which may miss a half of a short hold: their last answer counts, too
    connections = "max_over_time(sum by (cell) (pg_stat_database_numbackends)[$window:1s])"
    memory = "max by (cell) (redis_memory_used_bytes)"
    for name, component, expression, says, limit in (
        (
            "connections of the database",
            "database",
            f"{connections} / max by (cell) (pg_settings_max_connections)",
            "{component} had {figure} of its connections in use; {limit} may be.",
            limits.database_connections,
        ),
        (
            "memory of the cache",
            "cache",
            f"{memory} / (max by (cell) (redis_memory_max_bytes) > 0) or 0 * {memory}",
            "{component} used {figure} of its memory; {limit} may be in use.",
            limits.cache_memory,
        ),
        ("database that answers", "database", _out("pg_up"), "{component} did not answer its exporter.", 0.0),
        ("cache that answers", "cache", _out("redis_up"), "{component} did not answer its exporter.", 0.0),
    ):
        yield Query(name, f"{{cell}} {component}", cells, expression, says, "use", limit)
    yield Query(
        "storage of the database",
        "{cell} database",
        cells_with_storage,
        "sum by (cell) (pg_database_size_bytes)",
        "{component} filled {figure} of its storage; {limit} may be filled.",
        "use",
        limits.database_storage,
        per=lambda cell: (cell.database.storage_gib or 0) * GIB,
    )
    yield Query(
        "waiting for a connection",
        "{cell} {role} pools",
        pools,
        "max by (cell, role) (max_over_time(pgbouncer_pool_longest_wait_seconds[$window]))"
        " or 0 * max by (cell, role) (pgbouncer_up)",
        "A request waited {figure} for a connection of {component}; at most {limit} is all right.",
        "seconds",
        limits.pool_clients_waiting_seconds,
    )
    yield Query(
        "mean statement",
        "{cell} {role} pools",
        pools,
        f"(sum by (cell, role) ({grown('pgbouncer_query_seconds_total')}) or 0 * max by (cell, role) (pgbouncer_up))",
        "A statement of {component} took {figure} in the mean.",
        "seconds",
        of=f"(sum by (cell, role) ({grown('pgbouncer_queries_total')}) or 0 * max by (cell, role) (pgbouncer_up))",
    )


def _out(metric: str) -> str:
    """1 when it was down at any time."""
    return f"1 - min by (cell) (min_over_time({metric}[$window]) or {metric})"


def _tenants(objectives: Objectives) -> Iterator[Query]:
    limits = objectives.tenants
    requests, failed = 'yiwang_requests_total{tenant!=""}', 'yiwang_requests_total{tenant!="", outcome="failed"}'
    yield Query(
        "failures of a tenant, as services saw them",
        "services",
        live_tenants,
        f"sum by (tenant) ({grown(failed)})",
        "{figure} of the requests to {tenant} failed; {limit} may fail.",
        "share",
        limits.failed_share,
        f"sum by (tenant) ({grown(requests)})",
        silent=True,
    )
    lag = "yiwang_tenant_index_lag_seconds"
    yield Query(
        "index lag of a tenant",
        "index",
        live_tenants,
        f"max by (tenant) (max_over_time({lag}[$window]) or {lag})",
        "The network's index was {figure} behind {tenant}; at most {limit} is all right.",
        "seconds",
        limits.index_lag_seconds,
    )
    yield Query(
        "age of what is known of a tenant",
        "tenants' exporter",
        live_tenants,
        "max by (tenant) (time() - yiwang_tenant_reading_timestamp_seconds)",
        "The last reading of {tenant} was {figure} old; at most {limit} is all right.",
        "seconds",
        limits.reading_age_seconds,
    )
