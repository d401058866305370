"""Hosts, databases and caches against their limits, and what monitoring itself costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from monitoring.dashboards.panels import BYTES, COUNT, RATE, SECONDS, SHARE, board, figure, lines
from monitoring.objectives import Objectives

HERE = '{cell=~"$cell"}'


def dashboard(objectives: Objectives) -> Dashboard:
    made = board("capacity", "How much of everything is in use, and where the next limit is.")
    for part in (_hosts, _databases, _pools_and_caches, _monitoring):
        made = part(made, objectives)
    return made


def _hosts(made: Dashboard, objectives: Objectives) -> Dashboard:
    limits = objectives.saturation
    traffic = f"sum by (host) (rate(node_network_receive_bytes_total{HERE}[1m]))"
    return (
        made.with_row(Row("Hosts"))
        .with_panel(lines("Processor", f"host:cpu_use:ratio_rate1m{HERE}", "{{host}}", SHARE, limit=limits.host_cpu))
        .with_panel(lines("Memory", f"host:memory_use:ratio{HERE}", "{{host}}", SHARE, limit=limits.host_memory))
        .with_panel(lines("Disk", f"host:disk_use:ratio{HERE}", "{{host}}", SHARE, limit=limits.host_disk))
        .with_panel(lines("Received", traffic, "{{host}}", BYTES))
    )


def _databases(made: Dashboard, objectives: Objectives) -> Dashboard:
    limits = objectives.saturation
    connections, storage = limits.database_connections, limits.database_storage
    return (
        made.with_row(Row("Databases"))
        .with_panel(
            lines("Connections", f"cell:database_connections:ratio{HERE}", "{{cell}}", SHARE, limit=connections)
        )
        .with_panel(lines("Storage", f"cell:database_storage:ratio{HERE}", "{{cell}}", SHARE, limit=storage))
        .with_panel(lines("Largest", f"topk(10, pg_database_size_bytes{HERE})", "{{datname}}", BYTES))
        .with_panel(
            lines(
                "Transactions",
                f"sum by (cell) (rate(pg_stat_database_xact_commit{HERE}[1m]))",
                "{{cell}}",
                RATE,
            )
        )
    )


def _pools_and_caches(made: Dashboard, objectives: Objectives) -> Dashboard:
    limits = objectives.saturation
    waits = f"topk(10, pgbouncer_pool_longest_wait_seconds{HERE})"
    return (
        made.with_row(Row("Pools and caches"))
        .with_panel(
            lines("Longest wait", waits, "{{database}} {{host}}", SECONDS, limit=limits.pool_clients_waiting_seconds)
        )
        .with_panel(lines("Servers at work", f"sum by (host) (pgbouncer_pool_servers_active{HERE})", "{{host}}", COUNT))
        .with_panel(
            lines("Cache memory", f"cell:cache_memory:ratio{HERE}", "{{cell}}", SHARE, limit=limits.cache_memory)
        )
        .with_panel(lines("Forgotten", f"rate(redis_evicted_keys_total{HERE}[5m])", "{{cell}}", RATE))
    )


def _monitoring(made: Dashboard, objectives: Objectives) -> Dashboard:
    return (
        made.with_row(Row("Monitoring"))
        .with_panel(figure("Series", "prometheus_tsdb_head_series", "{{host}}", COUNT))
        .with_panel(
            figure("Samples a second", "rate(prometheus_tsdb_head_samples_appended_total[5m])", "{{host}}", COUNT)
        )
        .with_panel(figure("Notifications", "sum by (status) (yiwang_notifications_total)", "{{status}}", COUNT))
        .with_panel(lines("Scrapes", f"max by (job) (scrape_duration_seconds{HERE})", "{{job}}", SECONDS))
        .with_panel(lines("Rules", "prometheus_rule_group_last_duration_seconds", "{{rule_group}}", SECONDS))
    )
