"""What is measured beside a neighbour, many times over: it agrees with itself or says that it cannot tell."""

from __future__ import annotations

import os
import statistics

import pytest
from rich.console import Console

from loadtests import run as load_run
from loadtests import scenario as scenarios
from tests.living import Living
from tools import rehearsals
from tools.demo_loop import CELL, SCENARIO, SHORT, Demonstration, Unsure
from tools.planning import measure_cell

TIMES = int(os.environ.get("YIWANG_TORTURE_TIMES", "10"))
WITHIN = 0.15
CASES = 13_000
FILING_RATE = 40.0
LEAST_TOLD = TIMES // 2

pytestmark = pytest.mark.timeout(4 * 3600, func_only=True)


def loop(living: Living) -> str:
    """How one demonstration ends; whatever is neither right nor unsure fails."""
    try:
        story = Demonstration(living.life, Console(highlight=False, width=120), SHORT, measure_after=False).run()
    except Unsure as error:
        return f"UNSURE: {error.cause}"
    assert (story.before["verdict"], story.after["verdict"]) == ("NO-GO", "GO")
    return f"right: {story.carried:.1f} carried, {story.target:.1f} refused, {story.hosts_after} hosts"


def test_measurements_beside_a_neighbour_agree(living: Living, own_speed: None, one_core_taken: None) -> None:
    rates = []
    for _ in range(TIMES):
        found = measure_cell(living.engine, scenarios.load(SCENARIO), CELL)
        if found.carried is not None and not found.unsure:
            rates.append(found.carried.rate)
        print(found.carried, found.unsure, found.why_not, found.capacity and found.capacity.cost)
    assert len(rates) >= LEAST_TOLD, "that all is unsure is no answer"
    middle = statistics.median(rates)
    assert all(abs(rate / middle - 1) <= WITHIN for rate in rates), rates


def test_loops_beside_a_neighbour_end_right_or_unsure(living: Living, own_speed: None, one_core_taken: None) -> None:
    ends = [loop(living) for _ in range(TIMES)]
    print(*ends, sep="\n")
    assert sum(end.startswith("right") for end in ends) >= LEAST_TOLD, ends


def test_the_loop_ends_right_with_many_cases_in_the_databases(living: Living, own_speed: None) -> None:
    """They are filed as people file them, by rehearsal people who stay until the loop has ended."""
    citizens = scenarios.load(SCENARIO).model_dump() | {
        "name": "many-cases",
        "rate": FILING_RATE,
        "hold_seconds": CASES / FILING_RATE,
        "journeys": [{"journey": "citizen", "share": 1.0, "log_in": "once", "without": ["search", "case", "query"]}],
    }
    filing = scenarios.Scenario.model_validate(citizens)
    rehearsals.prepare(living.engine, scenarios.load(SCENARIO), print, kept=True)
    try:
        with living.life.bursting():
            folder = living.life.folder.root / "load" / "many-cases"
            filed = load_run.run(filing, living.name, folder)
        count = sum(one.requests - one.failed for one in filed.operations if one.name == "citizen.file")
        assert count >= 0.98 * CASES
        assert loop(living).startswith("right")
    finally:
        rehearsals.remove(living.engine, print)
