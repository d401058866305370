"""The first loop, in its short form: measured, refused, planned, grown, let through."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from infra import plan as plans
from tests.support.living import Living
from tools.demo_loop import CELL, FACTOR, SHORT, Demonstration, Story, Unsure

pytestmark = pytest.mark.timeout(1500, func_only=True)


def told(living: Living) -> Story:
    """One that was unsure, as it may be beside a neighbour, is told once more, and then must be right."""
    console = Console(highlight=False, width=120)
    try:
        return Demonstration(living.life, console, SHORT, measure_after=False).run()
    except Unsure as error:
        print(f"unsure, once more: {error}")
    return Demonstration(living.life, console, SHORT, measure_after=False).run()


def test_a_launch_above_what_the_cell_carries_is_refused_until_the_plan_has_added_hosts(
    living: Living, own_speed: None
) -> None:
    story = told(living)
    print(json.dumps(story.__dict__, ensure_ascii=False))
    assert story.target == pytest.approx(FACTOR * story.carried * story.cheaper, abs=0.01)
    assert (story.before["verdict"], story.after["verdict"]) == ("NO-GO", "GO")
    assert story.before["limiting"] == f"{CELL} application hosts"
    assert story.hosts_after > story.hosts_before
    # what the preview showed, and nothing else, is what stands now
    hosts = [host.name for cell in living.outputs.cells for host in cell.hosts if host.role == "application"]
    assert hosts == [f"{CELL}-application-{number}" for number in range(1, story.hosts_after + 1)]
    assert all(any(host in resource for host in hosts[story.hosts_before :]) for resource in story.added)
    plan = plans.read(living.life.folder.plan)
    assert plan.cells[CELL].hosts["application"] == story.hosts_after
    assert not plan.by_hand
