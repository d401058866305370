"""By tenant: what each asks, what fails, what is left undone. The first are shown, not all 3,200."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from monitoring.dashboards.panels import COUNT, RATE, SECONDS, SHARE, board, lines, rows
from monitoring.objectives import Objectives

HERE = '{cell=~"$cell"}'
FIRST = 15


def dashboard(objectives: Objectives) -> Dashboard:
    limits = objectives.tenants
    failed = f"tenant:requests_failed:rate5m{HERE} / (tenant:requests:rate5m{HERE} > 0)"
    return (
        board("tenants", f"The {FIRST} tenants that stand out in each figure.")
        .with_row(Row("What they ask"))
        .with_panel(lines("Requests", f"topk({FIRST}, tenant:requests:rate5m{HERE})", "{{tenant}}", RATE))
        .with_panel(lines("Failed share", f"topk({FIRST}, {failed})", "{{tenant}}", SHARE, limit=limits.failed_share))
        .with_panel(
            lines("Mean time to answer", f"topk({FIRST}, tenant:request_seconds:mean5m{HERE})", "{{tenant}}", SECONDS)
        )
        .with_panel(lines("Filings", f"topk({FIRST}, tenant:filings:rate5m{HERE})", "{{tenant}}", RATE))
        .with_row(Row("What they have left undone"))
        .with_panel(rows("Open cases by time limit", f"topk({3 * FIRST}, yiwang_tenant_cases_open{HERE})", COUNT))
        .with_panel(
            lines(
                "Oldest case that waits for acceptance",
                f"topk({FIRST}, yiwang_tenant_oldest_waiting_seconds{HERE})",
                "{{tenant}}",
                SECONDS,
            )
        )
        .with_row(Row("Messages and readings"))
        .with_panel(
            lines(
                "Index lag",
                f"topk({FIRST}, yiwang_tenant_index_lag_seconds{HERE})",
                "{{tenant}}",
                SECONDS,
                limit=limits.index_lag_seconds,
            )
        )
        .with_panel(
            lines("Messages that wait", f"topk({FIRST}, yiwang_tenant_messages_waiting{HERE})", "{{tenant}}", COUNT)
        )
        .with_panel(
            lines(
                "Age of readings",
                f"topk({FIRST}, time() - yiwang_tenant_reading_timestamp_seconds{HERE})",
                "{{tenant}}",
                SECONDS,
                limit=limits.reading_age_seconds,
            )
        )
        .with_panel(lines("Time of a round", f"yiwang_tenants_round_duration_seconds{HERE}", "{{cell}}", SECONDS))
    )
