"""Whether monitoring itself sees: targets, exporters, rules, notifications.

What a dead process would have told is never waited for: `up` is written by Prometheus, also for a target that is gone.
"""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.jobs import JOBS
from monitoring.rules.model import Alert, Group

EXPORTERS_FAILING = (
    "pgbouncer_exporter_success == 0 and on (host, job) pgbouncer_up == 1",
    # one tenant's trouble is told by its own alert
    "yiwang_tenants_round_success == 0 unless on (cell) yiwang_tenant_reading_success == 1",
    "pg_exporter_last_scrape_error == 1 and on (host, job) pg_up == 1",
    'node_scrape_collector_success{collector=~"cpu|meminfo|filesystem|loadavg|netdev|stat"} == 0',
)


def groups() -> list[Group]:
    return [Group("watch", [*targets(), *itself()])]


def targets() -> Iterator[Alert]:
    yield Alert(
        "TargetDown",
        "avg_over_time(up[1m]) < 0.5",
        "page",
        "{{ $labels.job }}",
        "{{ $labels.job }} on {{ $labels.host }} does not answer",
        "{{ $value | humanizePercentage }} of the last minute's scrapes of {{ $labels.instance }} went well.",
        lasting="45s",
    )
    yield Alert(
        "TargetFlapping",
        "changes(process_start_time_seconds[10m]) > 3 "
        # its exporter lives on while PgBouncer itself starts again and again
        "or max by (cell, role, host, job) (resets(pgbouncer_received_bytes_total[10m])) > 3 "
        # a reload is a start as well, and a few of them are a deployment
        "or changes(haproxy_process_start_time_seconds[10m]) > 5",
        "page",
        "{{ $labels.job }}",
        "{{ $labels.job }} on {{ $labels.host }} starts again and again",
        "It started {{ $value }} times in 10 minutes.",
    )
    yield Alert(
        "JobMissing",
        " or ".join(f'absent(up{{job="{job.name}"}})' for job in JOBS),
        "page",
        "{{ $labels.job }}",
        "Nothing of {{ $labels.job }} is watched",
        "Prometheus has no target of this job (absent is {{ $value }}).",
        lasting="1m",
    )


def itself() -> Iterator[Alert]:
    yield Alert(
        "ExporterFailing",
        " or ".join(f"({condition})" for condition in EXPORTERS_FAILING),
        "ticket",
        "{{ $labels.job }}",
        "The exporter {{ $labels.job }} on {{ $labels.host }} reads nothing",
        "It answers, and says that its own last reading failed ({{ $value }}).",
        lasting="1m",
    )
    yield Alert(
        "RulesFailing",
        "sum by (cell, role, host) (increase(prometheus_rule_evaluation_failures_total[5m])) > 0 "
        "or sum by (cell, role, host) (increase(prometheus_rule_group_iterations_missed_total[5m])) > 3",
        "ticket",
        "prometheus",
        "Prometheus does not evaluate its rules",
        'In 5 minutes {{ $value | printf "%.0f" }} evaluations failed or came too late: alerts may be missing.',
    )
    yield Alert(
        "NotificationsFailing",
        "sum by (cell, role, host) (increase(alertmanager_notifications_failed_total[5m])) > 0 "
        "or sum by (cell, role, host) (increase(prometheus_notifications_dropped_total[5m])) > 0",
        "page",
        "alertmanager",
        "Alerts do not reach their receiver",
        'In 5 minutes {{ $value | printf "%.0f" }} notifications were lost or had to be tried again.',
    )
    yield Alert(
        "ConfigurationRefused",
        "prometheus_config_last_reload_successful == 0 or alertmanager_config_last_reload_successful == 0",
        "ticket",
        "{{ $labels.job }}",
        "{{ $labels.job }} works with an old configuration",
        "It refused the last one (last reload successful is {{ $value }}).",
        lasting="30s",
    )
