"""Everything that rules, dashboards and runbooks ask for exists: in a real exposition, and among what is kept of it."""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import httpx
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from infra.services import NAMES
from monitoring import receiver, rules
from monitoring.dashboards import dashboards
from monitoring.exporters import tenants as tenants_exporter
from monitoring.exporters.pgbouncer import PgBouncerCollector
from monitoring.metric import UNBOUNDED, Metric
from monitoring.metrics import KEPT, SCRAPE, names
from monitoring.objectives import load
from monitoring.render import runbooks
from monitoring.rules.model import Alert
from services.kernel import telemetry
from tests.support.watched import watched

REPOSITORY = Path(__file__).resolve().parents[2]
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
WRITTEN_BY_PROMETHEUS = {"ALERTS"}
FUNCTIONS = {
    "absent", "avg_over_time", "changes", "count", "count_over_time", "histogram_quantile", "increase", "label_replace",
    "max", "max_over_time", "min", "rate", "resets", "sum", "sum_over_time", "time", "topk", "vector", "avg",
}  # fmt: skip
WORDS = {"and", "or", "unless", "by", "on", "without", "group_left", "group_right", "bool", "offset", "ignoring"}


# --- what is really shown: name of a series → its labels

Shown = dict[str, set[str]]


def of_code(modules: Iterable[Any]) -> Shown:
    shown: Shown = {}
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Counter | Gauge | Histogram):
                for name in series_of(value):
                    shown[name] = set(cast(MetricWrapperBase, value)._labelnames)
    return shown


def series_of(metric: MetricWrapperBase) -> list[str]:
    if isinstance(metric, Counter):
        return [f"{metric._name}_total"]
    if isinstance(metric, Histogram):
        return [f"{metric._name}_{part}" for part in ("bucket", "sum", "count")]
    return [metric._name]


def of_families(families: Iterable[Any]) -> Shown:
    return {
        family.name + ("_total" if family.type == "counter" else ""): set(getattr(family, "_labelnames", ()))
        for family in families
    }


def of_tenants_exporter() -> Shown:
    collector = tenants_exporter.TenantsCollector(cast(Any, None), cast(Any, None))
    collector._round = tenants_exporter.Round(True, 0.0)
    return of_families(collector.collect())


def of_receiver(folder: Path) -> Shown:
    shown: Shown = {}
    for family in text_string_to_metric_families(asyncio.run(told_by_receiver(folder))):
        for sample in family.samples:
            shown.setdefault(sample.name, set()).update(sample.labels)
    return shown


async def told_by_receiver(folder: Path) -> str:
    transport = httpx.ASGITransport(app=receiver.create(folder))
    async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
        verdict = {"scenario": "launch", "verdict": "GO", "at": 1.0, "reasons": []}
        assert (await client.post("/verdicts", json=verdict)).is_success
        return (await client.get("/metrics")).text


def of_debian() -> dict[str, Shown]:
    shown: dict[str, Shown] = {}
    for line in (Path(__file__).parent / "debian_metrics.txt").read_text().splitlines():
        if line.startswith("["):
            job = shown.setdefault(line[1 : line.index("]")], {})
        elif not line.startswith("#"):
            name, *labels = line.split()
            job[name] = set(labels)
    return shown


def modules_of(service: str) -> list[ModuleType]:
    package = importlib.import_module(f"services.{service}")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [
        importlib.import_module(name) for name in names if "migrations" not in name and not name.endswith("__main__")
    ]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    process: Shown = {name: set() for name in of_receiver(tmp_path_factory.mktemp("receiver")) if "process_" in name}
    kernel = of_code([telemetry]) | process
    return of_debian() | {
        **{name: kernel | of_code(modules_of(name)) for name in NAMES},
        "pgbouncer": of_families(PgBouncerCollector(lambda commands: [[], []]).collect()) | process,
        "tenants": of_tenants_exporter() | process,
        "receiver": of_receiver(tmp_path_factory.mktemp("receiver")),
    }


def missing(kept: Mapping[str, tuple[Metric, ...]], shown: dict[str, Shown]) -> list[str]:
    """Metrics of the table that no exposition has, or that have other labels there."""
    faults = []
    for job, metrics in kept.items():
        for metric in metrics:
            for name in metric.names:
                if name not in shown[job]:
                    faults.append(f"{job}: {name} is shown by nobody")
                elif not set(metric.labels or {}) <= shown[job][name]:
                    faults.append(f"{job}: {name} has labels {sorted(shown[job][name])}")
    return faults


def test_what_is_kept_is_really_shown_with_its_labels(shown: dict[str, Shown]) -> None:
    assert missing(KEPT, shown) == []


def test_a_metric_that_nobody_shows_is_caught(shown: dict[str, Shown]) -> None:
    assert missing({"host": (Metric("node_cpu_second_total"),)}, shown) == [
        "host: node_cpu_second_total is shown by nobody"
    ]
    assert missing({"query": (Metric("yiwang_requests_total", {"county": "tenant"}),)}, shown) != []


def test_everything_of_ours_is_kept(shown: dict[str, Shown]) -> None:
    for job in (*NAMES, "pgbouncer", "tenants", "receiver"):
        ours = {
            name for name in shown[job] if name.startswith(("yiwang_", "pgbouncer_")) and not name.endswith("_created")
        }
        assert ours - set(names(job)) <= {name for name in ours if "outbox" in name and job != "affairs"}, job


# --- at most one unbounded label a metric


def unbounded(kept: Mapping[str, tuple[Metric, ...]]) -> list[str]:
    return [metric.name for metrics in kept.values() for metric in metrics if len(metric.unbounded) > 1]


def test_no_metric_has_two_unbounded_labels() -> None:
    assert unbounded(KEPT) == []
    assert unbounded({"query": (Metric("x", {"tenant": "tenant", "route": "route"}),)}) == ["x"]


def test_the_services_own_metrics_have_at_most_one_label_of_the_unbounded(shown: dict[str, Shown]) -> None:
    for job in (*NAMES, "pgbouncer", "tenants", "receiver"):
        for name, labels in shown[job].items():
            assert len(labels & {*UNBOUNDED, "path", "host", "user", "datname"}) <= 1, name


# --- what is asked


def asked(expression: str) -> set[str]:
    """Names of series in an expression of PromQL: what is left without strings, selectors and its own words."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare)) - FUNCTIONS - WORDS


def of_dashboards() -> Iterator[str]:
    for dashboard in dashboards(load()).values():
        made = json.loads(json.dumps(dashboard.build(), cls=JSONEncoder))
        yield from (target["expr"] for panel in made["panels"] for target in panel.get("targets") or ())


def of_runbooks() -> Iterator[str]:
    for page in [RUNBOOKS / "README.md", *runbooks()]:
        yield from re.findall(r"""promtool query instant "\$PROMETHEUS" '([^']+)'""", page.read_text())


def known() -> set[str]:
    files = rules.groups(load(), watched())
    written = {recording.record for recording in rules.recordings(files)} | WRITTEN_BY_PROMETHEUS
    return written | {name for job in KEPT for name in names(job)} | {metric.name for metric in SCRAPE}


def expressions() -> list[str]:
    files = rules.groups(load(), watched())
    of_rules = [rule.expression for file in files.values() for group in file for rule in group.rules]
    return [*of_rules, *of_dashboards(), *of_runbooks()]


def test_everything_that_is_asked_for_exists() -> None:
    missing_by_expression = {expression: asked(expression) - known() for expression in expressions()}
    assert {expression: names for expression, names in missing_by_expression.items() if names} == {}
    assert len(missing_by_expression) > 150


def test_a_question_for_nothing_is_caught() -> None:
    assert asked('sum by (cell) (rate(yiwang_request_total{tenant="x"}[5m])) > 0') - known() == {"yiwang_request_total"}


# --- runbooks


def alerts() -> list[Alert]:
    return list(rules.alerts(rules.groups(load(), watched())))


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert [page.stem for page in runbooks()] == sorted({alert.name for alert in alerts()})


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("page", runbooks(), ids=lambda page: page.stem)
def test_each_page_says_see_mend_prove(page: Path) -> None:
    text = page.read_text()
    assert headings(text) == [page.stem, "See", "Mend", "Prove"]
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        assert "    promtool" in part or part.startswith("Mend"), part
    assert len(text.splitlines()) < 60


def test_alerts_pages_and_headings_have_twins() -> None:
    lost = replace(alerts()[0], name="SomethingElse")
    assert lost.name not in [page.stem for page in runbooks()]
    assert headings("# A\n\n## See\n\n## Prove\n") != ["A", "See", "Mend", "Prove"]
