"""The metrics that are kept, by job: what a rule, a dashboard, the gate or a person asks for. All else is dropped.

A metric has labels of its own beside the target's. At most one of them is unbounded: it grows with tenants, databases
(one a tenant) or routes. `series.py` counts from this table; a test holds it to the real expositions. What a module
tells of its own beside what every service does stands in its own folder (`modules.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from infra.services import SERVICES
from monitoring import modules
from monitoring.metric import Metric, gauges
from services.kernel.telemetry import BUCKETS, EVERY_OUTCOME, SENT_OUTCOMES

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

PROCESS = gauges(None, "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds")

SERVICE = (
    *PROCESS,
    Metric("yiwang_request_seconds", {"route": "route"}, histogram=len(BUCKETS) + 1),
    Metric("yiwang_requests_total", {"tenant": "tenant", "outcome": len(EVERY_OUTCOME)}),
    Metric("yiwang_tenant_request_seconds_total", {"tenant": "tenant"}),
    Metric("yiwang_requests_in_flight"),
    Metric("yiwang_dependency_up", {"dependency": 2}),
    # of those with a third; some look after two
    Metric("yiwang_dependency_up", {"dependency": 1}, late=True),
    Metric("yiwang_batch_size", {"batch": 1}, histogram=len(BATCH_BUCKETS) + 1, late=True),
    Metric("yiwang_inbox_messages_total", {"outcome": 3}),
    Metric("yiwang_outbox_lag_seconds", histogram=len(BUCKETS) + 1),
)

SENDER = (
    Metric("yiwang_outbox_messages_total", {"tenant": "sender", "outcome": len(SENT_OUTCOMES)}),
    Metric("yiwang_outbox_ways", {"tenant": "sender"}),
)

PGBOUNCER = (
    *PROCESS,
    *gauges(None, "pgbouncer_up", "pgbouncer_exporter_success", "pgbouncer_exporter_duration_seconds"),
    *gauges(
        {"database": "database"},
        "pgbouncer_pool_clients_active",
        "pgbouncer_pool_clients_waiting",
        "pgbouncer_pool_longest_wait_seconds",
        "pgbouncer_pool_servers_active",
        "pgbouncer_pool_servers_idle",
        "pgbouncer_queries_total",
        "pgbouncer_query_seconds_total",
        "pgbouncer_transactions_total",
        "pgbouncer_transaction_seconds_total",
        "pgbouncer_wait_seconds_total",
        "pgbouncer_received_bytes_total",
        "pgbouncer_sent_bytes_total",
    ),
)

TENANTS = (
    *PROCESS,
    *gauges(None, "yiwang_tenants_round_duration_seconds", "yiwang_tenants_round_success"),
    Metric("yiwang_tenant_cases_open", {"tenant": "tenant", "limit": 3}),
    *gauges(
        {"tenant": "tenant"},
        "yiwang_tenant_filings_total",
        "yiwang_tenant_oldest_waiting_seconds",
        "yiwang_tenant_index_lag_seconds",
        "yiwang_tenant_messages_waiting",
        "yiwang_tenant_reading_success",
        "yiwang_tenant_reading_duration_seconds",
        "yiwang_tenant_reading_timestamp_seconds",
    ),
)

HOST = (
    Metric("node_cpu_seconds_total", {"cpu": 1, "mode": 8}),
    # a second processor; a host with a share of one shows one
    Metric("node_cpu_seconds_total", {"cpu": 1, "mode": 8}, late=True),
    *gauges(
        None, "node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", "node_load1", "node_boot_time_seconds"
    ),
    *gauges(
        {"mountpoint": 1}, "node_filesystem_size_bytes", "node_filesystem_free_bytes", "node_filesystem_avail_bytes"
    ),
    *gauges({"device": 1}, "node_network_receive_bytes_total", "node_network_transmit_bytes_total"),
    Metric("node_scrape_collector_success", {"collector": 8}),
)

GATEWAY = (
    Metric("haproxy_process_start_time_seconds"),
    Metric("haproxy_backend_http_responses_total", {"proxy": 2, "code": 6}),
    Metric("haproxy_server_http_responses_total", {"server": "server", "code": 6}),
    *gauges(
        {"proxy": 2},
        "haproxy_backend_http_requests_total",
        "haproxy_backend_active_servers",
        "haproxy_backend_current_sessions",
        "haproxy_backend_current_queue",
        "haproxy_backend_queue_time_average_seconds",
        "haproxy_backend_response_time_average_seconds",
        "haproxy_backend_connection_errors_total",
        "haproxy_backend_response_errors_total",
        "haproxy_backend_retry_warnings_total",
    ),
    Metric("haproxy_server_status", {"server": "server", "state": 5}),
)

DATABASE = (
    *PROCESS,
    *gauges(
        None,
        "pg_up",
        "pg_exporter_last_scrape_error",
        "pg_exporter_last_scrape_duration_seconds",
        "pg_settings_max_connections",
    ),
    *gauges(
        {"datname": "database"},
        "pg_database_size_bytes",
        "pg_stat_database_numbackends",
        "pg_stat_database_xact_commit",
        "pg_stat_database_xact_rollback",
        "pg_stat_database_blks_read",
        "pg_stat_database_blks_hit",
        "pg_stat_database_deadlocks",
        "pg_stat_database_active_time",
    ),
)

CACHE = (
    *PROCESS,
    *gauges(
        None,
        "redis_up",
        "redis_exporter_last_scrape_duration_seconds",
        "redis_memory_used_bytes",
        "redis_memory_max_bytes",
        "redis_connected_clients",
        "redis_commands_processed_total",
        "redis_evicted_keys_total",
        "redis_keyspace_hits_total",
        "redis_keyspace_misses_total",
    ),
)

PROMETHEUS = (
    *PROCESS,
    *gauges(
        None,
        "prometheus_config_last_reload_successful",
        "prometheus_notifications_dropped_total",
        "prometheus_tsdb_head_series",
        "prometheus_tsdb_storage_blocks_bytes",
    ),
    Metric("prometheus_tsdb_head_samples_appended_total", {"type": 2}),
    *gauges(
        {"rule_group": 8},
        "prometheus_rule_evaluation_failures_total",
        "prometheus_rule_group_iterations_missed_total",
        "prometheus_rule_group_interval_seconds",
        "prometheus_rule_group_last_duration_seconds",
    ),
)

ALERTMANAGER = (
    *PROCESS,
    Metric("alertmanager_config_last_reload_successful"),
    Metric("alertmanager_alerts", {"state": 3}),
    *gauges({"integration": 10}, "alertmanager_notifications_total", "alertmanager_notifications_failed_total"),
)

RECEIVER = (
    *PROCESS,
    *gauges({"scenario": 2}, "yiwang_gate_verdict", "yiwang_gate_verdict_timestamp_seconds", late=True),
    Metric("yiwang_notifications_total", {"status": 2}),
)

SCRAPE = gauges(
    None,
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
"""What Prometheus itself adds for each target."""

KEPT: Mapping[str, tuple[Metric, ...]] = {
    "host": HOST,
    "gateway": GATEWAY,
    **{
        service.name: (*SERVICE, *(SENDER if service.sends else ()), *modules.of(service.name).metrics)
        for service in SERVICES
    },
    "pgbouncer": PGBOUNCER,
    "tenants": TENANTS,
    "database": DATABASE,
    "cache": CACHE,
    "prometheus": PROMETHEUS,
    "alertmanager": ALERTMANAGER,
    "receiver": RECEIVER,
}


def names(job: str) -> list[str]:
    """Names of the series that the job's scrape keeps, sorted."""
    return sorted(set(chain.from_iterable(metric.names for metric in KEPT[job])))
