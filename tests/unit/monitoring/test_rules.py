"""Rules are named, labelled and limited as agreed, and follow the objectives and the outputs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from monitoring import modules, rules
from monitoring.jobs import JOBS
from monitoring.objectives import Objectives, load
from monitoring.rules.model import Alert, Recording
from monitoring.rules.services import DAYS_FROM_SECONDS, bound, burn, seconds
from tests.support.watched import SHAPE, watched

FILES = rules.groups(load(), watched())
ALERTS = list(rules.alerts(FILES))
RECORDINGS = list(rules.recordings(FILES))
NAME = re.compile(r"(service|host|tenant|cell):[a-z_]+:(rate|increase|ratio|mean|ratio_rate)?[a-z0-9_]*")


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.record)
def test_recordings_are_named_level_metric_operation(recording: Recording) -> None:
    assert NAME.fullmatch(recording.record)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_alerts_say_what_where_how_much_and_where_to_read_on(alert: Alert) -> None:
    document = alert.document("http://10.0.1.16:9095")
    assert {"severity", "component"} <= document["labels"].keys()
    assert document["labels"]["severity"] in ("page", "ticket")
    assert "$value" in document["annotations"]["description"]
    assert "$labels" in document["annotations"]["summary"] or alert.name in ("RulesFailing", "NotificationsFailing")
    assert document["annotations"]["runbook_url"] == f"http://10.0.1.16:9095/runbooks/{alert.name}"


def test_an_alert_that_many_rules_make_is_told_apart_by_its_labels() -> None:
    documents = [(alert.name, tuple(sorted(alert.document("")["labels"].items()))) for alert in ALERTS]
    assert len(set(documents)) == len(documents)


def late(alert: Alert) -> bool:
    """Whether it waits so long that nobody can be told within two minutes; saturation of processors may."""
    return bool(alert.lasting) and seconds_of(alert.lasting) > 60


def seconds_of(lasting: str) -> int:
    return int(lasting[:-1]) * {"s": 1, "m": 60}[lasting[-1]]


def test_faults_are_told_within_two_minutes() -> None:
    assert {alert.name for alert in ALERTS if late(alert)} == {"HostCpuSaturated", "TenantReadingMissing"}


def with_window(objectives: Objectives, old: str, new: str) -> Objectives:
    return Objectives.model_validate_json(objectives.model_dump_json().replace(f'"{old}"', f'"{new}"'))


def test_burn_rates_follow_the_objectives() -> None:
    changed = with_window(load(), "6h", "12h")
    names = {recording.record for recording in rules.recordings(rules.groups(changed, watched()))}
    assert {"service:budget_burn:ratio12h", "service:budget_burn:ratio3d"} <= names
    assert "service:budget_burn:ratio6h" not in names
    burns = [alert for alert in ALERTS if alert.name == "ServiceAvailabilityBurn"]
    assert [alert.labels["window"] for alert in burns] == [rate.long for rate in load().burn_rates]


def test_long_windows_are_summed_seldom() -> None:
    for group in FILES["services"]:
        windows = [
            seconds(recording.record.rsplit("ratio", 1)[1])
            for recording in group.recordings
            if "burn" in recording.record
        ]
        assert all((window > DAYS_FROM_SECONDS) == (group.interval == "1m") for window in windows)


def test_a_burn_rate_needs_a_share_of_its_window_to_be_seen() -> None:
    [*_, ratio] = burn(load(), "1h")
    assert ratio.expression.endswith("and count_over_time(service:events:rate1m[1h]) >= 90")


@pytest.mark.parametrize(("limit", "label"), [(0.5, "0.5"), (1, "1.0"), (5, "5.0"), (0.025, "0.025")])
def test_bounds_are_written_as_the_services_write_them(limit: float, label: str) -> None:
    assert bound(limit) == label


def given(name: str, **outputs: object) -> dict[str, str]:
    files = rules.groups(load(), watched(**outputs))  # type: ignore[arg-type]
    return {
        recording.labels["cell"]: recording.expression
        for recording in rules.recordings(files)
        if recording.record == name
    }


def test_limits_come_from_the_outputs() -> None:
    assert given("cell:database_storage_limit:bytes") == dict.fromkeys(SHAPE, f"vector({20 * 1024**3})")
    assert given("cell:database_storage_limit:bytes", storage_gib=None) == {}
    assert given("cell:tenants_live:count") == {"cell-a": "vector(3)"}
    assert given("cell:tenants_live:count", codes=()) == {}


def test_no_alert_waits_for_a_series_that_its_subject_writes() -> None:
    """A process that is gone tells nothing, so that it is gone is read from what Prometheus writes itself."""
    by_name = {alert.name: alert.expression for alert in ALERTS}
    assert by_name["TargetDown"].startswith("avg_over_time(up[")
    assert by_name["JobMissing"].count("absent(up{") == len(JOBS)
    for alert in ALERTS:
        if alert.expression.endswith("== 1") and "unless" not in alert.expression:
            assert "_error" in alert.expression, alert.name


@pytest.mark.parametrize(
    ("text", "said"), [("metrics: [", "watch.yaml"), ("alerts:\n- {name: late}\n", "alerts.0.name")]
)
def test_what_a_module_wants_watched_is_refused_by_file_and_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, said: str
) -> None:
    monkeypatch.setattr(modules, "SERVICES", tmp_path)
    assert modules.Watched("licences").alerts == [], "a module without the file is watched like every service"
    (tmp_path / "licences" / "watch").mkdir(parents=True)
    (tmp_path / "licences" / "watch" / "watch.yaml").write_text(text)
    with pytest.raises(modules.WatchError, match=re.escape(said)):
        modules.Watched("licences")
