"""Prometheus' own tools accept what is rendered, and each alert is silent before its fault and told after it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from infra.services import NAMES as SERVICES_NAMES
from monitoring import modules, rules
from monitoring.jobs import JOBS, Job
from monitoring.objectives import Objectives, load
from monitoring.render import files
from monitoring.rules.model import Group, Recording, rule_file, yaml
from tests.contract.test_monitoring_metrics import of_dashboards, of_runbooks
from tests.support.watched import watched

TESTS = Path(__file__).resolve().parents[2] / "monitoring" / "tests"
FILES = {path.name: path for path in sorted(TESTS.glob("*.yml"))} | {
    f"{module.folder.parent.name}.yml": module.folder / "tests.yml" for module in modules.everybodys() if module.alerts
}
"""Name beside the others → the file."""
RULES = ("databases", "given", "hosts", "modules", "services", "tenants", "watch")


def lay(folder: Path, objectives: Objectives) -> Path:
    """The files as on the monitoring host, with the tests of rules beside them."""
    for name, text in files(watched(), objectives).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (folder / "tests").mkdir()
    for name, path in FILES.items():
        (folder / "tests" / name).write_text(of_every_job(path.read_text("utf-8")), "utf-8")
    return folder


PORTAL_IS_UP = re.compile(r"""^ +- \{series: 'up\{job="portal".*\n""", re.MULTILINE)


def of_every_job(text: str) -> str:
    """A test that lists the jobs which are up, with the services that it does not name: they are up like the portal."""
    lacking = [name for name in SERVICES_NAMES if f'up{{job="{name}"' not in text]
    return PORTAL_IS_UP.sub(
        lambda line: line[0] + "".join(line[0].replace('"portal"', f'"{name}"') for name in lacking), text
    )


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nice", "promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay(tmp_path_factory.mktemp("prometheus"), load())


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    return lay(tmp_path / "prometheus", load())


def test_the_configuration_and_its_rules_hold(laid: Path) -> None:
    checked = promtool(laid, "check", "config", "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    checked = promtool(laid, "check", "rules", *(f"rules/{name}.yml" for name in RULES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("name", FILES)
def test_alerts_are_silent_before_their_fault_and_told_after_it(laid: Path, name: str) -> None:
    tested = promtool(laid, "test", "rules", f"tests/{name}")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_what_dashboards_and_runbooks_ask_is_promql(tmp_path: Path) -> None:
    questions = [question.replace("$cell", "cell-a") for question in (*of_dashboards(), *of_runbooks())]
    recordings = [Recording(f"asked:{number}", question) for number, question in enumerate(questions)]
    (tmp_path / "asked.yml").write_text(rule_file([Group("asked", recordings)]))
    checked = promtool(tmp_path, "check", "rules", "asked.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    (tmp_path / "asked.yml").write_text(rule_file([Group("asked", [Recording("asked:0", "sum by cell (up)")])]))
    assert promtool(tmp_path, "check", "rules", "asked.yml").returncode != 0


def expectations_of_tests() -> Iterator[tuple[str, bool]]:
    """Alert, and whether it is expected to be told, for each expectation of the tests of rules."""
    for path in FILES.values():
        for test in YAML(typ="safe").load(path)["tests"]:
            for expectation in test.get("alert_rule_test", []):
                yield expectation["alertname"], bool(expectation.get("exp_alerts"))


def test_every_alert_is_tested_for_silence_and_for_being_told() -> None:
    alerts = {alert.name for alert in rules.alerts(rules.groups(load(), watched()))}
    expectations = set(expectations_of_tests())
    assert {(name, told) for name in alerts for told in (True, False)} == expectations


def death_of(job: Job) -> dict[str, object]:
    """A test of rules: a process of the job dies after three minutes, and all that it told with it."""
    beats = int((job.interval or "5s")[:-1]) // 5
    beat = " " + "_ " * (beats - 1)
    labels = {"job": job.name, "environment": "test-watched", "cell": "cell-a", "role": "application",
              "host": "cell-a-application-1", "instance": "10.0.0.12:1"}  # fmt: skip
    chosen = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    told = {
        "exp_labels": {**labels, "component": job.name, "severity": "page"},
        "exp_annotations": {
            "summary": f"{job.name} on cell-a-application-1 does not answer",
            "description": "0% of the last minute's scrapes of 10.0.0.12:1 went well.",
            "runbook_url": "http://10.0.1.16:9095/runbooks/TargetDown",
        },
    }
    return {
        "interval": "5s",
        "input_series": [
            {"series": f"up{{{chosen}}}", "values": beat.join(["1"] * (36 // beats) + ["0"] * (60 // beats))}
        ],
        "alert_rule_test": [
            {"eval_time": "3m", "alertname": "TargetDown"},
            {"eval_time": "6m", "alertname": "TargetDown", "exp_alerts": [told]},
        ],
    }


def test_whatever_dies_is_told_although_it_tells_nothing_any_more(own: Path) -> None:
    tests = [death_of(job) for job in JOBS]
    (own / "tests" / "deaths.yml").write_text(
        yaml({"rule_files": ["../rules/watch.yml"], "evaluation_interval": "10s", "tests": tests}), "utf-8"
    )
    tested = promtool(own, "test", "rules", "tests/deaths.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def spoil(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "rules" / f"{file}.yml"
    text = path.read_text("utf-8")
    assert old in text, f"{file} has nothing like {old!r} to spoil"
    path.write_text(text.replace(old, new), "utf-8")


def test_a_broken_expression_is_caught(own: Path) -> None:
    spoil(own, "hosts", "host:memory_use:ratio > 0.9", "host:memory_use:ratio >> 0.9")
    assert promtool(own, "check", "config", "prometheus.yml").returncode != 0


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("databases", "cell:database_connections:ratio > 0.8", "cell:database_connections:ratio > 0.95"),
        ("databases", "cell:database_connections:ratio > 0.8", "cell:database_connections:ratio > 0.2"),
        ("databases", "(max by (cell) (redis_memory_max_bytes) > 0)", "max by (cell) (redis_memory_max_bytes)"),
        ("databases", '{dependency="database"}) == 0 unless', '{dependency="database"}) == 7 unless'),
        ("databases", " unless on (cell) pg_up == 1", ""),
        ("hosts", "(node_filesystem_size_bytes - node_filesystem_free_bytes)", "node_filesystem_size_bytes"),
        ("tenants", ' and tenant:requests_failed:rate5m * 300 >= 5', ""),
        ("tenants", "yiwang_tenant_reading_success) == 0", "yiwang_tenant_reading_success) == 1"),
        ("watch", "avg_over_time(up[1m]) < 0.5", "up == 2"),
        ("watch", "for: 45s", "for: 3m"),
    ],
    ids=["threshold-high", "threshold-low", "no-limit", "dies-with-its-exporter", "services-alone", "reserved-disk",
         "few", "wrong-value", "never", "late"],
)  # fmt: skip
def test_a_wrong_rule_is_caught(own: Path, file: str, old: str, new: str) -> None:
    spoil(own, file, old, new)
    assert promtool(own, "test", "rules", f"tests/{file}.yml").returncode != 0
