"""Dashboards hold together: every panel fits its row, asks something, and is drawn from one data source."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.dashboards import __main__ as command
from monitoring.dashboards import dashboards
from monitoring.objectives import load

MADE: dict[str, dict[str, Any]] = {
    name: json.loads(json.dumps(dashboard.build(), cls=JSONEncoder)) for name, dashboard in dashboards(load()).items()
}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


@pytest.mark.parametrize("name", MADE)
def test_every_panel_has_a_place_a_query_and_a_data_source(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(MADE[name]):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        squares = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                   for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not squares & taken, panel["title"]
        taken |= squares
        assert panel["datasource"]["uid"] == "${prometheus}"
        assert [target["refId"] for target in panel["targets"]] == ["A"] and panel["targets"][0]["expr"]


def test_each_dashboard_has_an_identity_of_its_own() -> None:
    assert {dashboard["uid"] for dashboard in MADE.values()} == {f"yiwang-{name}" for name in MADE}


def test_limits_are_drawn_from_the_objectives() -> None:
    [memory] = [panel for panel in panels(MADE["capacity"]) if panel["title"] == "Memory"]
    steps = memory["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, load().saturation.host_memory]


def test_the_command_prints_one_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["tenants"]) == 0
    assert json.loads(capsys.readouterr().out)["uid"] == "yiwang-tenants"
    assert command.main([]) == 0
    assert list(json.loads(capsys.readouterr().out)) == list(MADE)
    assert command.main(["weather"]) == 1
    assert "there are overview, tenants, capacity" in capsys.readouterr().err
