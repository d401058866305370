"""Tenants: what each asks of the network, and what each has left undone."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.objectives import Objectives
from monitoring.rules.model import Alert, Group, Recording

OF_TENANTS = 'tenant!=""'


def groups(objectives: Objectives) -> list[Group]:
    return [Group("tenants", [*rates(), *alerts(objectives)])]


def rates() -> Iterator[Recording]:
    by_tenant = "sum by (cell, tenant)"
    yield Recording("tenant:requests:rate5m", f"{by_tenant} (rate(yiwang_requests_total{{{OF_TENANTS}}}[5m]))")
    failed = f'yiwang_requests_total{{{OF_TENANTS}, outcome="failed"}}'
    yield Recording("tenant:requests_failed:rate5m", f"{by_tenant} (rate({failed}[5m]))")
    spent = f"{by_tenant} (rate(yiwang_tenant_request_seconds_total{{{OF_TENANTS}}}[5m]))"
    yield Recording("tenant:request_seconds:mean5m", f"{spent} / (tenant:requests:rate5m > 0)")
    yield Recording("tenant:filings:rate5m", f"{by_tenant} (rate(yiwang_tenant_filings_total[5m]))")
    rejected = f'{by_tenant} (increase(yiwang_outbox_messages_total{{outcome="rejected"}}[5m]))'
    yield Recording("tenant:messages_rejected:increase5m", f"{rejected} > 0")


def alerts(objectives: Objectives) -> Iterator[Alert]:
    limits = objectives.tenants
    share = "tenant:requests_failed:rate5m / (tenant:requests:rate5m > 0)"
    enough = f"tenant:requests_failed:rate5m * 300 >= {objectives.alerting.minimum_bad}"
    yield Alert(
        "TenantFailing",
        f"{share} > {limits.failed_share:g} and {enough}",
        "page",
        "services",
        "Requests to {{ $labels.tenant }} fail",
        "{{ $value | humanizePercentage }} of its requests of the last 5 minutes failed by our fault "
        f"(limit {limits.failed_share:.0%}).",
    )
    yield Alert(
        "TenantBacklogOverdue",
        'sum by (cell, tenant) (yiwang_tenant_cases_open{limit="overdue"}) > 0',
        "ticket",
        "tenant",
        "{{ $labels.tenant }} has cases beyond their time limit",
        "{{ $value }} open cases are beyond their legal or promised time limit.",
        lasting="1m",
    )
    yield Alert(
        "TenantIndexLag",
        f"max by (cell, tenant) (yiwang_tenant_index_lag_seconds) > {limits.index_lag_seconds:g}",
        "ticket",
        "query",
        "The network's index is behind {{ $labels.tenant }}",
        "Its oldest message to the index has waited {{ $value | humanizeDuration }} "
        f"(limit {limits.index_lag_seconds:g} s).",
    )
    yield Alert(
        "MessagesParked",
        # what only overtook other news is rejected once or twice; what rests is tried five times first
        "max_over_time(tenant:messages_rejected:increase5m[65m]) > 4 "
        "and on (cell, tenant) yiwang_tenant_messages_waiting > 0",
        "ticket",
        "affairs",
        "A receiver rejects messages of {{ $labels.tenant }}",
        'Rejected {{ $value | printf "%.0f" }} times in 5 minutes; what is rejected rests up to an hour, then is tried '
        "again, and what follows it for the same case waits.",
        lasting="30s",
    )
    yield from _reading(limits.reading_age_seconds)


def _reading(age: float) -> Iterator[Alert]:
    yield Alert(
        "TenantReadingFailing",
        "max by (cell, tenant) (yiwang_tenant_reading_success) == 0",
        "ticket",
        "tenants",
        "The state of {{ $labels.tenant }} cannot be read",
        "The last reading of its database failed (yiwang_tenant_reading_success is {{ $value }}).",
        lasting="45s",
    )
    yield Alert(
        "TenantReadingStale",
        f"time() - (max by (cell, tenant) (yiwang_tenant_reading_timestamp_seconds) > 0) > {age:g}",
        "ticket",
        "tenants",
        "What is known of {{ $labels.tenant }} is old",
        f"Its last reading was {{{{ $value | humanizeDuration }}}} ago (limit {age:g} s).",
    )
    read = "(count by (cell) (yiwang_tenant_reading_success) or 0 * cell:tenants_live:count)"
    yield Alert(
        "TenantReadingMissing",
        f"cell:tenants_live:count - {read} > 0",
        "ticket",
        "tenants",
        "Live tenants of {{ $labels.cell }} are not read",
        "{{ $value }} live tenants have no reading at all.",
        lasting="5m",
    )
