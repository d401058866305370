"""What watching costs in a running environment, as Prometheus tells of itself and of what it scrapes.

    python -m tests.benchmarks.monitoring [ENVIRONMENT]      (local; it must be up for five minutes)

Without one it says so and measures nothing. Prints one JSON line: targets, series, seconds and share of a core for
scraping and rules, alerts that fired in the last hour. The share is of Prometheus' process; exporters' own by job.
"""

from __future__ import annotations

import json
import sys

from infra.engine import Engine, EngineError
from infra.folder import EnvironmentFolder
from monitoring.prometheus import Prometheus, PrometheusError

WINDOW = "5m"
FIGURES = {
    "targets": "count(up)",
    "targets_up": "sum(up)",
    "series": "prometheus_tsdb_head_series",
    "samples_a_second": f"rate(prometheus_tsdb_head_samples_appended_total[{WINDOW}])",
    "scrape_seconds_all_targets": "sum(scrape_duration_seconds)",
    "scrape_seconds_slowest": "max(scrape_duration_seconds)",
    "rules_seconds": "sum(prometheus_rule_group_last_duration_seconds)",
    "rules_interval_seconds": "max(prometheus_rule_group_interval_seconds)",
    "prometheus_cores": f'rate(process_cpu_seconds_total{{job="prometheus"}}[{WINDOW}])',
    "prometheus_resident_bytes": 'process_resident_memory_bytes{job="prometheus"}',
    "monitoring_host_cpu": f'1 - sum(rate(node_cpu_seconds_total{{role="monitoring",mode="idle"}}[{WINDOW}]))'
    f' / sum(rate(node_cpu_seconds_total{{role="monitoring"}}[{WINDOW}]))',
    "alerts_fired_in_an_hour": 'count(max_over_time(ALERTS{alertstate="firing"}[1h])) or vector(0)',
}
EXPORTERS = ("host", "pgbouncer", "tenants", "database", "cache", "receiver", "alertmanager")


def main(environment: str = "local") -> int:
    try:
        outputs = Engine(EnvironmentFolder(environment)).merged_outputs()
        if outputs.prometheus is None:
            raise PrometheusError(f"{environment} has no monitoring host")
        with Prometheus(outputs.prometheus) as prometheus:
            figures: dict[str, float | None] = {}
            for name, expression in FIGURES.items():
                samples = prometheus.query(expression)
                figures[name] = round(samples[0].value, 5) if samples else None
            for job in EXPORTERS:
                samples = prometheus.query(f'sum(rate(process_cpu_seconds_total{{job="{job}"}}[{WINDOW}]))')
                figures[f"{job}_cores"] = round(samples[0].value, 5) if samples else None
    except (EngineError, PrometheusError, ValueError) as error:
        print(f"monitoring: nothing was measured: {error}; bring an environment up first: make up", file=sys.stderr)
        return 0
    print(json.dumps({"benchmark": "monitoring", "environment": environment, **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
