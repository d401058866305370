"""The objectives hold, are read by name, and a file that does not hold is refused with every fault named."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.services import NAMES
from monitoring.objectives import FILE, ObjectivesError, load
from monitoring.rules.services import seconds
from services.kernel.telemetry import BUCKETS


def spoiled(folder: Path, old: str, new: str) -> Path:
    text = FILE.read_text("utf-8")
    assert old in text
    path = folder / "slo.yaml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def off_the_bounds(path: Path = FILE) -> list[str]:
    """Services with a limit that no bucket of the services' histograms ends at: its share could not be told."""
    return [
        name
        for name, service in load(path).services.items()
        for objective in (service.latency, service.freshness)
        if objective is not None and objective.seconds not in BUCKETS
    ]


def test_every_service_has_objectives() -> None:
    assert sorted(load().names) == sorted(NAMES)


def test_each_latency_objective_is_a_bound_of_the_services_buckets(tmp_path: Path) -> None:
    assert off_the_bounds() == []
    name = next(name for name, service in load().services.items() if service.latency.seconds == 0.5)
    assert off_the_bounds(spoiled(tmp_path, "{seconds: 0.5,", "{seconds: 0.4,")) == [name]


def test_windows_are_a_short_one_inside_a_long_one_from_quick_to_slow() -> None:
    rates = load().burn_rates
    assert all(seconds(rate.short) < seconds(rate.long) for rate in rates)
    assert sorted(rates, key=lambda rate: seconds(rate.long)) == rates


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("target: 0.999", "target: 1.2", f"services.{load().names[0]}.availability.target"),
        ("long: 1h", "long: an hour", "burn_rates.1.long"),
        ("severity: page", "severity: shout", "burn_rates.1.severity"),
        ("host_cpu: 0.9", "host_cpu: 0.9\n  host_luck: 1", "saturation.host_luck"),
        ("minimum_bad: 5", "minimum_bad: 0", "alerting.minimum_bad"),
        ("schema_version: 1", "schema_version: 2", "schema_version"),
        ("services:", "services: [", "slo.yaml"),
    ],
)
def test_a_file_that_does_not_hold_is_refused_by_name(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ObjectivesError, match=r"slo\.yaml") as refused:
        load(spoiled(tmp_path, old, new))
    assert told in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ObjectivesError, match=r"nowhere\.yaml"):
        load(tmp_path / "nowhere.yaml")
