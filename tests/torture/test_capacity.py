"""What is measured beside a neighbour, many times over: it agrees with itself or says that it cannot tell."""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass

import pytest
from rich.console import Console

from loadtests import run as load_run
from loadtests import scenario as scenarios
from tests.support.living import Living
from tools import rehearsal_people
from tools.demo_loop import SCENARIO, SHORT, Demonstration, Unsure

TIMES = int(os.environ.get("YIWANG_TORTURE_TIMES", "10"))
WITHIN = 0.15
CASES = 13_000
FILING_RATE = 40.0
LEAST_TOLD = TIMES // 2

pytestmark = pytest.mark.timeout(4 * 3600, func_only=True)


@dataclass(frozen=True)
class End:
    """How one demonstration ended. `carried`: what it measured, at the cost that work had then; None: it did not."""

    said: str
    carried: float | None
    cost: float | None

    @property
    def right(self) -> bool:
        return self.said.startswith("right")


def loop(living: Living) -> End:
    """One demonstration; whatever is neither right nor unsure fails."""
    demonstration = Demonstration(living.life, Console(highlight=False, width=120), SHORT, measure_after=False)
    story, began = demonstration.story, time.monotonic()
    try:
        demonstration.run()
    except Unsure as error:
        said = f"UNSURE: {error.cause}"
    else:
        assert (story.before["verdict"], story.after["verdict"]) == ("NO-GO", "GO")
        said = f"right: {story.carried:.1f} carried, {story.target:.1f} refused, {story.hosts_after} hosts"
        said += "".join(f"; set aside: {cause}" for cause in story.set_aside)
    end = End(said, story.carried or None, story.cost)
    print(f"{time.monotonic() - began:.0f} s", end)
    return end


def test_loops_beside_a_neighbour_agree_and_end_right_or_unsure(
    living: Living, own_speed: None, one_core_taken: None
) -> None:
    """What they measured is compared at one cost of the same work: hosts carry the less, the dearer it is."""
    ends = [loop(living) for _ in range(TIMES)]
    assert sum(end.right for end in ends) >= LEAST_TOLD, ends
    rates = [end.carried * (end.cost or 1.0) for end in ends if end.carried]
    middle = statistics.median(rates)
    assert len(rates) >= LEAST_TOLD, "that all is unsure is no answer"
    assert all(abs(rate / middle - 1) <= WITHIN for rate in rates), [rate / middle for rate in rates]


def test_the_loop_ends_right_with_many_cases_in_the_databases(living: Living, own_speed: None) -> None:
    """They are filed as people file them, by rehearsal people who stay until the loop has ended."""
    citizens = scenarios.load(SCENARIO).model_dump() | {
        "name": "many-cases",
        "rate": FILING_RATE,
        "hold_seconds": CASES / FILING_RATE,
        "journeys": [{"journey": "citizen", "share": 1.0, "log_in": "once", "without": ["search", "case", "query"]}],
    }
    filing = scenarios.Scenario.model_validate(citizens)
    rehearsal_people.prepare(living.engine, scenarios.load(SCENARIO), print, kept=True)
    try:
        with living.life.bursting():
            folder = living.life.folder.root / "load" / "many-cases"
            filed = load_run.run(filing, living.name, folder)
        count = sum(
            operation.requests - operation.failed for operation in filed.operations if operation.name == "citizen.file"
        )
        assert count >= 0.98 * CASES
        assert loop(living).right
    finally:
        rehearsal_people.remove(living.engine, print)
