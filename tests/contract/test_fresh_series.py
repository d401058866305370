"""Rules on what the services really tell: every series that a rule counts with is there before the first event, so that
a burst in a fresh process counts whole, for tenants that come at run time, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import pytest

from infra.services import CORE, NAMES, named, services_of
from monitoring import rules, series
from monitoring.jobs import JOBS
from monitoring.metrics import KEPT, names
from monitoring.objectives import load
from monitoring.rules.model import yaml
from tests.contract.fresh import FIRST, NEW, SECOND, Fresh, Sample, fresh
from tests.contract.test_monitoring_rules import lay, promtool
from tests.support.waiting import wait_until
from tests.support.watched import watched

BURST = 60
AFFAIRS = 'service="affairs", objective="latency"'
OF_TENANTS = tuple(service.name for service in services_of("tenants"))
COUNTED = re.compile(r"\b(?:rate|increase|resets|changes)\(\s*([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})?\[")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Fresh]]:
    with fresh(tmp_path_factory.mktemp("fresh") / "services") as processes:
        yield processes


class Told:
    """What each service told: at its start, after the burst, and after a tenant had come."""

    def __init__(self, services: dict[str, Fresh]) -> None:
        self.before = {name: service.told() for name, service in services.items()}
        for _ in range(BURST):
            assert services["affairs"].ask("/api/affairs/items") >= 500
        self.after = {name: service.told() for name, service in services.items()}
        for service in services.values():
            service.live(FIRST, SECOND, NEW)
        wait_until(lambda: self._knows_the_new(services), 30, "the new tenant is known")
        self.grown = {name: service.told() for name, service in services.items()}

    @staticmethod
    def _knows_the_new(services: dict[str, Fresh]) -> bool:
        return all(NEW in codes(services[name].told()) for name in ("affairs", "portal"))


@pytest.fixture(scope="module")
def told(services: dict[str, Fresh]) -> Told:
    return Told(services)


def codes(samples: list[Sample]) -> set[str]:
    return {sample.labels["tenant"] for sample in samples if "tenant" in sample.labels}


# --- each series that is counted exists


def counted() -> set[tuple[str, str]]:
    """Each counter that a rule or an alert counts with, and how it chooses among its series."""
    files = rules.groups(load(), watched())
    expressions = [rule.expression for file in files.values() for group in file for rule in group.rules]
    return {counter for expression in expressions for counter in COUNTED.findall(expression)}


def holds(matcher: tuple[str, str, str], value: str) -> bool:
    _, how, wanted = matcher
    equal = bool(re.fullmatch(wanted, value)) if "~" in how else value == wanted
    return equal != how.startswith("!")


def chosen(sample: Sample, selector: str, job: str) -> bool:
    labels = {**sample.labels, "job": job}
    return all(holds(matcher, labels.get(matcher[0], "")) for matcher in MATCHER.findall(selector))


def unborn(told: dict[str, list[Sample]], tenants: set[str]) -> list[str]:
    """Counters of rules that a service does not tell, or not for every tenant."""
    faults = []
    for name, selector in sorted(counted()):
        for job in NAMES:
            if name not in names(job) or not all(
                holds(matcher, job) for matcher in MATCHER.findall(selector) if matcher[0] == "job"
            ):
                continue
            if 'tenant!=""' in selector and job not in OF_TENANTS:
                continue
            samples = [sample for sample in told[job] if sample.name == name and chosen(sample, selector, job)]
            if not samples:
                faults.append(f"{job}: {name}{{{selector}}}")
            elif job in OF_TENANTS and "tenant" in samples[0].labels:
                faults += [f"{job}: {name} of {tenant}" for tenant in sorted(tenants - codes(samples))]
    return faults


def test_every_counter_of_a_rule_is_there_before_its_first_event(told: Told) -> None:
    assert len(counted()) > 10
    assert unborn(told.before, {FIRST, SECOND}) == []


def test_also_for_a_tenant_that_came_at_run_time(told: Told) -> None:
    assert unborn(told.grown, {FIRST, SECOND, NEW}) == []


def test_a_series_that_is_born_with_its_first_event_is_caught(told: Told) -> None:
    born_late = {name: [sample for sample in samples if sample.value > 0] for name, samples in told.before.items()}
    assert 'affairs: yiwang_requests_total{tenant!="", outcome="failed"}' in unborn(born_late, {FIRST})
    one_less = {name: [sample for sample in samples if sample.labels.get("tenant") != SECOND] for name, samples in
                told.before.items()}  # fmt: skip
    assert f"affairs: yiwang_outbox_messages_total of {SECOND}" in unborn(one_less, {FIRST, SECOND})


@pytest.mark.parametrize("job", NAMES)
def test_a_fresh_process_tells_as_many_series_as_are_worked_out(told: Told, job: str) -> None:
    cells = series.of_outputs(watched(codes=(FIRST, SECOND)))
    cell = next(cell for cell in cells if cell.is_core == (named(job).cells == "core"))
    if not cell.is_core:
        cell = replace(cell, tenants=2)
    sizes = cell.sizes(next(scrape_job for scrape_job in JOBS if scrape_job.name == job))
    for metric in (metric for metric in KEPT[job] if not metric.late):
        count = sum(sample.name in metric.names for sample in told.before[job])
        if metric.name != "yiwang_dependency_up":  # keys are told once they are needed
            assert count == metric.series(sizes), metric.name


def test_requests_give_birth_to_no_series(told: Told) -> None:
    for job in NAMES:
        late = {name for metric in KEPT[job] if metric.late for name in metric.names} | {"yiwang_dependency_up"}
        before = {sample.series for sample in told.before[job]}
        assert {sample.series for sample in told.after[job] if sample.name in set(names(job)) - late} <= before, job


# --- a burst counts whole


class Timeline:
    """What one target told, as series of a test of rules: scraped every five seconds, `before` for the first minute."""

    def __init__(self, job: str, host: str, cell: str, before: list[Sample], after: list[Sample]) -> None:
        self._target = {"job": job, "environment": "test-watched", "cell": cell, "role": "x", "host": host}
        self._kept = set(names(job))
        self._before = {sample.series: sample for sample in before}
        self._after = after

    @cached_property
    def series(self) -> list[dict[str, str]]:
        return [
            {
                "series": Sample(sample.name, {**self._target, **sample.labels}, 0).series,
                "values": f"{self._first(sample)}x11 {sample.value}x100",
            }
            for sample in self._after
            if sample.name in self._kept
        ]

    def _first(self, sample: Sample) -> str:
        earlier = self._before.get(sample.series)
        return "_" if earlier is None else str(earlier.value)


def rule_test(timelines: list[Timeline], failures: int, alerted: bool) -> str:
    """So many failures within the first five minutes of a process' life."""
    alert = {
        "exp_labels": {"cell": "cell-a", "component": "services", "severity": "page", "tenant": FIRST},
        "exp_annotations": {
            "summary": f"Requests to {FIRST} fail",
            "description": "100% of its requests of the last 5 minutes failed by our fault (limit 2%).",
            "runbook_url": "http://10.0.1.16:9095/runbooks/TenantFailing",
        },
    }
    return yaml(
        {
            "rule_files": ["../rules/given.yml", "../rules/services.yml", "../rules/tenants.yml", "../rules/watch.yml"],
            "evaluation_interval": "10s",
            "tests": [
                {
                    "interval": "5s",
                    "input_series": [input_series for timeline in timelines for input_series in timeline.series],
                    "promql_expr_test": [
                        {
                            "expr": f'round(tenant:requests_failed:rate5m{{tenant="{FIRST}"}} * 300)',
                            "eval_time": "5m",
                            "exp_samples": [{"labels": f'{{cell="cell-a", tenant="{FIRST}"}}', "value": failures}]
                            if failures
                            else [],
                        },
                        {
                            "expr": "round(service:events:increase5m{" + AFFAIRS + "})",
                            "eval_time": "5m",
                            "exp_samples": [{"labels": f'{{cell="cell-a", {AFFAIRS}}}', "value": failures}],
                        },
                    ],
                    "alert_rule_test": [
                        {"eval_time": "50s", "alertname": "TenantFailing"},
                        {"eval_time": "5m", "alertname": "TenantFailing", "exp_alerts": [alert] if alerted else []},
                    ],
                }
            ],
        }
    )


def judged(folder: Path, text: str) -> tuple[bool, str]:
    (lay(folder / "prometheus", load()) / "tests" / "fresh.yml").write_text(text, "utf-8")
    tested = promtool(folder / "prometheus", "test", "rules", "tests/fresh.yml")
    return tested.returncode == 0, tested.stdout + tested.stderr


def timelines(told: Told) -> list[Timeline]:
    return [
        Timeline(job, f"{job}-1", CORE if named(job).cells == "core" else "cell-a", told.before[job],
                 told.after[job]) for job in NAMES
    ]  # fmt: skip


def test_a_burst_in_a_fresh_process_counts_whole(told: Told, tmp_path: Path) -> None:
    held, said = judged(tmp_path, rule_test(timelines(told), BURST, alerted=True))
    assert held, said


def test_a_burst_in_series_that_are_born_with_it_counts_as_none(told: Told, tmp_path: Path) -> None:
    """The twin: the same burst as the services told it when a series was born with its first event."""
    told.before = {name: [sample for sample in samples if sample.value > 0] for name, samples in told.before.items()}
    held, said = judged(tmp_path, rule_test(timelines(told), BURST, alerted=True))
    assert not held and "TenantFailing" in said
