"""Everything below /etc/prometheus on the monitoring host, from an environment's outputs.

    yiwang outputs local | python -m monitoring.render

reads the outputs on stdin and prints a JSON object: file name → text.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from infra.outputs import EnvironmentOutputs
from monitoring import metrics, modules, rules
from monitoring.jobs import JOBS, Job, targets
from monitoring.objectives import Objectives, ObjectivesError, load
from monitoring.rules.model import EVALUATION_SECONDS, rule_file, yaml

SCRAPE_SECONDS = 5
ALERTMANAGER = "127.0.0.1:9093"
RECEIVER = "http://127.0.0.1:9095/alerts"
RUNBOOKS = Path(__file__).resolve().parents[1] / "docs" / "runbooks"
UNREAD_LABELS = "datid|server"
"""Of the database's exporter: `datid` says what `datname` says, `server` what the target's labels say."""


def files(outputs: EnvironmentOutputs, objectives: Objectives) -> dict[str, str]:
    """File name below /etc/prometheus → its text."""
    groups = rules.groups(objectives, outputs)
    return {
        "prometheus.yml": yaml(prometheus(outputs)),
        **{f"rules/{name}.yml": rule_file(file, outputs.receiver or "") for name, file in groups.items()},
        **{f"targets/{job}.json": text for job, text in _target_files(outputs).items()},
        "alertmanager.yml": yaml(alertmanager()),
        **{f"runbooks/{page.name}": page.read_text("utf-8") for page in runbooks()},
    }


def runbooks() -> list[Path]:
    """The page of every alert."""
    own = [page for module in modules.everybodys() for page in module.runbooks]
    return sorted([*RUNBOOKS.glob("[A-Z]*[a-z].md"), *own], key=lambda page: page.name)


def prometheus(outputs: EnvironmentOutputs) -> dict[str, Any]:
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "scrape_timeout": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{EVALUATION_SECONDS}s",
            "external_labels": {"environment": outputs.environment},
        },
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [ALERTMANAGER]}]}]},
        "scrape_configs": [_scrape(job) for job in JOBS],
    }


def _scrape(job: Job) -> dict[str, Any]:
    interval = {"scrape_interval": job.interval, "scrape_timeout": "10s"} if job.interval else {}
    parameters = {"params": {"scope": ["global", "backend", "server"]}} if job.name == "gateway" else {}
    return {
        "job_name": job.name,
        **interval,
        **parameters,
        "file_sd_configs": [{"files": [f"targets/{job.name}.json"]}],
        "metric_relabel_configs": _relabel(job.name),
    }


def _relabel(job: str) -> list[dict[str, Any]]:
    """Keeps what somebody reads."""
    kept: list[dict[str, Any]] = [
        {"source_labels": ["__name__"], "regex": "|".join(metrics.names(job)), "action": "keep"}
    ]
    drop = {
        # the same host once more, without checks, and proxies that are no service
        "gateway": [("server", ".+:unchecked"), ("proxy", "self|tenant_rates|metrics")],
        "host": [("device", "lo"), ("fstype", "tmpfs|ramfs|devtmpfs"), ("mountpoint", "/(boot|etc|run)(/.*)?")],
        "database": [("datname", "template[01]")],
    }
    for label, regex in drop.get(job, []):
        kept.append({"source_labels": [label], "regex": regex, "action": "drop"})
    if job == "database":
        kept.append({"regex": UNREAD_LABELS, "action": "labeldrop"})
    return kept


def _target_files(outputs: EnvironmentOutputs) -> dict[str, str]:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for target in targets(outputs):
        groups[target.job].append({"targets": [target.address], "labels": target.labels})
    return {job.name: json.dumps(groups[job.name], indent=2) + "\n" for job in JOBS}


def alertmanager() -> dict[str, Any]:
    """One notification for an alert of a cell; what follows from a dead host or database is not told beside it."""
    return {
        "route": {
            "receiver": "receiver",
            "group_by": ["alertname", "cell"],
            "group_wait": "5s",
            "group_interval": "30s",
            "repeat_interval": "4h",
        },
        "inhibit_rules": [
            {
                "source_matchers": ['alertname="TargetDown"', 'job="host"'],
                "target_matchers": ['alertname="TargetDown"', 'job!="host"'],
                "equal": ["host"],
            },
            {
                "source_matchers": ['alertname="DatabaseDown"'],
                "target_matchers": ['alertname=~"TenantReadingFailing|TenantReadingStale|PoolWaiting|ExporterFailing"'],
                "equal": ["cell"],
            },
            *_told_by_exporter("DatabaseDown", "database"),
            *_told_by_exporter("CacheDown", "cache"),
            {
                "source_matchers": ['severity="page"'],
                "target_matchers": ['severity="ticket"', 'alertname=~"Service.+Burn"'],
                "equal": ["alertname", "cell", "service"],
            },
        ],
        "receivers": [{"name": "receiver", "webhook_configs": [{"url": RECEIVER, "send_resolved": True}]}],
    }


def _told_by_exporter(alert: str, job: str) -> list[dict[str, Any]]:
    """An exporter that waits for what is gone is a target that does not answer, and no second fault."""
    return [
        {
            "source_matchers": [f'alertname="{alert}"'],
            "target_matchers": ['alertname="TargetDown"', f'job="{job}"'],
            "equal": ["cell"],
        }
    ]


def main() -> int:
    try:
        outputs = EnvironmentOutputs.model_validate_json(sys.stdin.read())
        print(json.dumps(files(outputs, load()), ensure_ascii=False, indent=2))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "stdin"
        print(f"{place}: {fault['msg']}\nhand in what `yiwang outputs ENV` prints", file=sys.stderr)
        return 1
    except ObjectivesError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
