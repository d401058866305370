"""By cell and service: is what was promised kept, what is left of the budget, what fires, what did the gate say."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from monitoring.dashboards.panels import ALL, COUNT, RATE, SECONDS, SHARE, THIRD, board, figure, lines, rows
from monitoring.objectives import Objectives

HERE = '{cell=~"$cell"}'


def dashboard(objectives: Objectives) -> Dashboard:
    days = objectives.window_days
    made = (
        board("overview", "Objectives and their budgets, by cell and service.")
        .with_panel(figure("Targets that do not answer", f"count(up{HERE} == 0) or vector(0)", "", COUNT, bad_from=1))
        .with_panel(figure("Requests a second", 'sum(service:events:rate1m{objective="availability"})', "", RATE))
        .with_panel(figure("Gate's verdicts (1 GO, 0 NO-GO, 0.5 UNSURE)", "yiwang_gate_verdict", "{{scenario}}", COUNT))
        .with_panel(rows("Alerts that fire", 'ALERTS{alertstate="firing", cell=~"$cell|"}', COUNT, span=ALL))
    )
    for objective in ("availability", "latency", "freshness"):
        of = f'{{objective="{objective}", cell=~"$cell"}}'
        used = (
            f"sum_over_time(service:bad_events:rate1m{of}[{days}d]) / sum_over_time(service:events:rate1m{of}[{days}d])"
        )
        left = f"1 - ({used}) / on (service, objective) group_left () service:budget:share"
        bad = f"service:bad_events:rate1m{of} / (service:events:rate1m{of} > 0)"
        made = (
            made.with_row(Row(objective.capitalize()))
            .with_panel(figure(f"Budget left, of {days} days", left, "{{service}} {{cell}}", SHARE))
            .with_panel(lines("Bad share", bad, "{{service}} {{cell}}", SHARE, span=THIRD))
            .with_panel(
                lines(
                    "How fast the budget burns",
                    f"service:budget_burn:ratio1h{of}",
                    "{{service}} {{cell}}",
                    COUNT,
                    limit=max(rate.factor for rate in objectives.burn_rates),
                    span=THIRD,
                )
            )
        )
    return (
        made.with_row(Row("Services"))
        .with_panel(
            lines(
                "Requests",
                'service:events:rate1m{objective="availability", cell=~"$cell"}',
                "{{service}} {{cell}}",
                RATE,
            )
        )
        .with_panel(
            lines(
                "95 of 100 requests are answered within",
                f"histogram_quantile(0.95, sum by (job, cell, le) (rate(yiwang_request_seconds_bucket{HERE}[5m])))",
                "{{job}} {{cell}}",
                SECONDS,
            )
        )
        .with_panel(
            lines("In flight", f"sum by (job, host) (yiwang_requests_in_flight{HERE})", "{{job}} {{host}}", COUNT)
        )
        .with_panel(
            lines(
                "Queue at the gateway",
                f"sum by (cell, proxy) (haproxy_backend_current_queue{HERE})",
                "{{proxy}} {{cell}}",
                COUNT,
            )
        )
    )
