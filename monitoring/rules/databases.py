"""Databases, the pools in front of them, and caches: whether they answer, and how near their limits they are."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.objectives import Objectives
from monitoring.rules.model import Alert, Group, Recording


def groups(objectives: Objectives) -> list[Group]:
    return [Group("databases", [*use(), *answering(), *saturation(objectives)])]


def use() -> Iterator[Recording]:
    connections = "sum by (cell) (pg_stat_database_numbackends)"
    yield Recording("cell:database_connections:sum", connections)
    limit = "max by (cell) (pg_settings_max_connections)"
    yield Recording("cell:database_connections:ratio", f"cell:database_connections:sum / {limit}")
    yield Recording("cell:database_size:bytes", "sum by (cell) (pg_database_size_bytes)")
    storage = "cell:database_size:bytes / on (cell) cell:database_storage_limit:bytes"
    yield Recording("cell:database_storage:ratio", storage)
    # a cache without a limit tells 0
    memory = "max by (cell) (redis_memory_used_bytes) / (max by (cell) (redis_memory_max_bytes) > 0)"
    yield Recording("cell:cache_memory:ratio", memory)


def answering() -> Iterator[Alert]:
    for name, metric, component in (
        ("DatabaseDown", "pg_up", "database"),
        ("CacheDown", "redis_up", "cache"),
    ):
        yield Alert(
            name,
            f"max by (cell) ({metric}) == 0 or {_missed(component, metric)}",
            "page",
            component,
            f"The {component} of {{{{ $labels.cell }}}} does not answer",
            "Its exporter gets no answer or, where that is silent itself, no service of the cell "
            f"({metric} or yiwang_dependency_up is {{{{ $value }}}}).",
            lasting="30s",
        )
    yield Alert(
        "PoolerDown",
        "max by (cell, role, host) (pgbouncer_up) == 0",
        "page",
        "pgbouncer",
        "PgBouncer on {{ $labels.host }} does not answer",
        "Services of this host reach no database (pgbouncer_up is {{ $value }}).",
        lasting="30s",
    )


def _missed(component: str, metric: str) -> str:
    """An exporter that waits for what hangs or is gone misses its scrapes and tells nothing: then the services' own
    checks are believed, when all of the cell's agree."""
    services = f'max by (cell) (yiwang_dependency_up{{dependency="{component}"}}) == 0'
    return f"({services} unless on (cell) {metric} == 1)"


def saturation(objectives: Objectives) -> Iterator[Alert]:
    limits = objectives.saturation
    yield _full("DatabaseConnectionsSaturated", "connections", limits.database_connections, "database", "connections")
    yield _full("DatabaseStorageFilling", "storage", limits.database_storage, "database", "storage")
    yield _full("CacheMemoryFilling", "memory", limits.cache_memory, "cache", "memory")
    waiting = limits.pool_clients_waiting_seconds
    tenant = '"tenant", "$1", "database", "t(\\\\d{6})"'
    yield Alert(
        "PoolWaiting",
        f"label_replace(max by (cell, role, host, database) (pgbouncer_pool_longest_wait_seconds), {tenant}) "
        f"> {waiting:g}",
        "ticket",
        "pgbouncer",
        "Requests wait for a connection to {{ $labels.database }} on {{ $labels.host }}",
        f'The longest has waited {{{{ $value | printf "%.1f" }}}} s (limit {waiting:g} s).',
        lasting="30s",
    )


def _full(name: str, what: str, limit: float, component: str, words: str) -> Alert:
    return Alert(
        name,
        f"cell:{component}_{what}:ratio > {limit:g}",
        "ticket",
        component,
        f"The {component} of {{{{ $labels.cell }}}} is short of {words}",
        f"In use: {{{{ $value | humanizePercentage }}}} of its {words} (limit {limit:.0%}).",
        lasting="1m",
    )
