"""What the monitoring host gets follows the outputs: targets, limits, and what is dropped."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from infra.outputs import EnvironmentOutputs
from infra.services import NAMES
from monitoring import render, series
from monitoring.exporters.pgbouncer import CONSOLE_SECONDS
from monitoring.jobs import JOBS
from monitoring.metrics import names
from monitoring.objectives import load
from tests.support.watched import SHAPE, watched


def rendered(outputs: EnvironmentOutputs | None = None) -> dict[str, str]:
    return render.files(outputs or watched(), load())


def targets(files: dict[str, str], job: str) -> dict[str, str]:
    """Host → address."""
    groups = json.loads(files[f"targets/{job}.json"])
    return {group["labels"]["host"]: group["targets"][0] for group in groups}


def yaml(text: str) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(text)
    return document


def test_every_job_has_its_file_of_targets_and_its_scrape() -> None:
    files = rendered()
    scrapes = yaml(files["prometheus.yml"])["scrape_configs"]
    assert [scrape["job_name"] for scrape in scrapes] == [job.name for job in JOBS]
    assert {name for name in files if name.startswith("targets/")} == {f"targets/{job.name}.json" for job in JOBS}
    assert all(targets(files, job.name) for job in JOBS)


def test_targets_carry_environment_cell_role_and_host() -> None:
    [first, _] = json.loads(rendered()["targets/affairs.json"])
    assert first == {
        "targets": ["10.0.0.12:8001"],
        "labels": {
            "environment": "test-watched",
            "cell": "cell-a",
            "role": "application",
            "host": "cell-a-application-1",
        },
    }


def test_databases_and_caches_are_read_from_a_host_of_their_own_cell() -> None:
    files = rendered()
    for job in ("database", "cache"):
        assert set(targets(files, job)) == {"cell-a-application-1", "cell-core-monitoring-1"}
    assert set(targets(files, "tenants")) == {"cell-a-application-1"}


def test_a_host_that_is_added_is_watched_and_nothing_else_changes() -> None:
    grown = {**SHAPE, "cell-a": {"gateway": 2, "application": 3}}
    before, after = rendered(), rendered(watched(grown))
    changed = {name for name in after if after[name] != before[name]}
    moved = {name for name in changed if name.startswith("targets/")}
    assert changed == moved
    for job in ("host", "affairs", "portal", "pgbouncer"):
        assert set(targets(after, job)) - set(targets(before, job)) == {"cell-a-application-3"}
    assert targets(after, "tenants") == targets(before, "tenants")


def test_an_environment_without_a_monitoring_host_still_renders() -> None:
    shape = {**SHAPE, "cell-core": {"gateway": 2, "identity": 2, "query": 2}}
    assert json.loads(rendered(watched(shape))["targets/prometheus.json"]) == []


def kept(job: str, labels: dict[str, str]) -> bool:
    """What Prometheus does with a scraped series, by the rendered configuration."""
    [scrape] = [scrape for scrape in yaml(rendered()["prometheus.yml"])["scrape_configs"] if scrape["job_name"] == job]
    for rule in scrape["metric_relabel_configs"]:
        if rule["action"] == "labeldrop":
            continue
        value = labels.get(rule["source_labels"][0], "")
        if (re.fullmatch(rule["regex"], value) is not None) != (rule["action"] == "keep"):
            return False
    return True


@pytest.mark.parametrize(
    ("job", "labels", "wanted"),
    [
        ("gateway", {"__name__": "haproxy_server_status", "proxy": "affairs", "server": "cell-a-application-1"}, True),
        ("gateway", {"__name__": "haproxy_server_status", "server": "cell-a-application-1:unchecked"}, False),
        ("gateway", {"__name__": "haproxy_backend_active_servers", "proxy": "tenant_rates"}, False),
        ("gateway", {"__name__": "haproxy_server_check_code", "server": "cell-a-application-1"}, False),
        ("host", {"__name__": "node_cpu_seconds_total", "mode": "idle"}, True),
        ("host", {"__name__": "node_filesystem_size_bytes", "fstype": "overlay", "mountpoint": "/"}, True),
        ("host", {"__name__": "node_filesystem_size_bytes", "fstype": "tmpfs", "mountpoint": "/srv"}, False),
        ("host", {"__name__": "node_network_receive_bytes_total", "device": "lo"}, False),
        ("host", {"__name__": "go_goroutines"}, False),
        ("affairs", {"__name__": "yiwang_requests_total", "tenant": "330106"}, True),
        ("affairs", {"__name__": "yiwang_requests_created", "tenant": "330106"}, False),
        ("database", {"__name__": "pg_database_size_bytes", "datname": "t330106"}, True),
        ("database", {"__name__": "pg_database_size_bytes", "datname": "template0"}, False),
    ],
)  # fmt: skip
def test_what_nobody_reads_is_dropped(job: str, labels: dict[str, str], wanted: bool) -> None:
    assert kept(job, labels) is wanted


def test_notifications_go_to_the_receiver_soon() -> None:
    routing = yaml(rendered()["alertmanager.yml"])
    assert routing["receivers"][0]["webhook_configs"][0]["url"] == "http://127.0.0.1:9095/alerts"
    assert routing["route"]["group_wait"] == "5s"


def waits() -> dict[str, float]:
    """Seconds that each exporter of Debian's, and PgBouncer's, waits for what it asks."""
    roles = Path("playbooks/roles/exporters")
    cache = YAML(typ="safe").load(roles / "vars" / "main.yml")["exporters_known"]["cache"]["command"]
    asked = {"database": (roles / "templates" / "database.env.j2").read_text(), "cache": cache}
    matches = {job: re.search(r"(?:connect_timeout=|-connection-timeout=)(\d+)", text) for job, text in asked.items()}
    return {job: float(match[1]) if match else 60.0 for job, match in matches.items()} | {"pgbouncer": CONSOLE_SECONDS}


def test_an_exporter_says_that_nobody_answers_before_its_scrape_is_given_up() -> None:
    """Else it would tell nothing at all, in place of `…_up 0`."""
    scrapes = yaml(rendered()["prometheus.yml"])["scrape_configs"]
    patience = {scrape["job_name"]: float(scrape.get("scrape_timeout", "5s")[:-1]) for scrape in scrapes}
    assert {job: seconds for job, seconds in waits().items() if 2 * seconds > patience[job]} == {}


def run(monkeypatch: pytest.MonkeyPatch, text: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    return render.main()


def test_the_command_prints_every_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, watched().model_dump_json()) == 0
    assert json.loads(capsys.readouterr().out) == rendered()


@pytest.mark.parametrize("text", ["", "{}", '{"environment": "x"}', "yiwang: no such environment"])
def test_what_is_no_outputs_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert run(monkeypatch, text) == 1
    told = capsys.readouterr()
    assert told.out == "" and "hand in what `yiwang outputs ENV` prints" in told.err


# --- series


def count(outputs: EnvironmentOutputs) -> series.Count:
    return series.count(series.of_outputs(outputs))


def test_series_grow_with_hosts_and_tenants_and_not_faster() -> None:
    few, more = series.count(series.of_tenants(102)), series.count(series.of_tenants(3264))
    assert few.fewest < few.most < 7_500 * len(NAMES)
    assert 25 * few.most < more.most < 35 * few.most
    grown = count(watched({**SHAPE, "cell-a": {"gateway": 2, "application": 3}}))
    assert 0 < grown.most - count(watched()).most < count(watched()).most / 3


def test_names_that_are_kept_are_counted_once_a_target() -> None:
    here = count(watched())
    assert here.by_job["cache"] == 2 * (len(names("cache")) + 5)
    assert here.targets == sum(len(json.loads(rendered()[f"targets/{job.name}.json"])) for job in JOBS)


def test_the_command_counts_outputs_or_tenants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert series.main(["3200"]) == 0
    assert "targets" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(watched().model_dump_json()))
    assert series.main([]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("nothing"))
    assert series.main([]) == 1
    assert series.main(["many"]) == 1
    assert "many: no number of tenants" in capsys.readouterr().err
