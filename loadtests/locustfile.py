"""For the native `locust -f loadtests/locustfile.py`, with its web page or `--headless`, alone or with workers.

`YIWANG_REHEARSAL` names the kit (`yiwang rehearsal prepare` writes it, `yiwang env` prints the variable) and
`YIWANG_SCENARIO` the scenario, by name or file; `YIWANG_RATE` and `YIWANG_HOLD` override two of its figures, and
`YIWANG_RESULT` names a file for the result. The scenario decides over users and times, so Locust's own `--users`,
`--spawn-rate` and `--run-time` have no say.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from locust import FastHttpUser, LoadTestShape, events, task
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from infra.errors import ExpectedError
from loadtests.conductor import Conductor, Player
from loadtests.rehearsal import RehearsalError, load_kit
from loadtests.scenario import ScenarioError, load


def _number(variable: str) -> float | None:
    given = os.environ.get(variable)
    try:
        return float(given) if given else None
    except ValueError:
        raise ScenarioError(f"{variable}={given!r} is no number") from None


try:
    if not os.environ.get("YIWANG_REHEARSAL"):
        raise RehearsalError(
            'YIWANG_REHEARSAL names no kit: eval "$(.venv/bin/yiwang env local)"; yiwang rehearsal prepare local'
        )
    kit = load_kit(Path(os.environ["YIWANG_REHEARSAL"]))
    scenario = load(os.environ.get("YIWANG_SCENARIO") or "launch").changed(
        rate=_number("YIWANG_RATE"), hold_seconds=_number("YIWANG_HOLD")
    )
    kit.tenants_of(scenario)
except ExpectedError as error:
    sys.exit(f"locustfile: {error}")

players: list[Player] = []
conductors: list[Conductor] = []


@events.init.add_listener  # type: ignore[untyped-decorator]
def take_parts(environment: Environment, **_: Any) -> None:
    """Each process plays its part: generators on workers, the conductor on the master, both without workers."""
    given = environment.parsed_options
    if given is not None and (given.tags or given.exclude_tags):
        sys.exit("locustfile: --tags and --exclude-tags select nothing here: the scenario says who does what")
    result = os.environ.get("YIWANG_RESULT")
    if isinstance(environment.runner, WorkerRunner | LocalRunner):
        players.append(Player(environment, kit, scenario))
    if isinstance(environment.runner, MasterRunner | LocalRunner):
        conductors.append(Conductor(environment, kit, scenario, Path(result) if result else None))


class People(FastHttpUser):
    """With a closed arrival, one of the users; with an open one, a place holder in each process."""

    host = kit.issuer

    @task
    def journeys(self) -> None:
        players[0].work()


class Timetable(LoadTestShape):
    def reset_time(self) -> None:
        super().reset_time()  # type: ignore[no-untyped-call]
        if conductors:
            conductors[0].begin_again()

    def tick(self) -> tuple[int, float] | None:
        return conductors[0].tick()
