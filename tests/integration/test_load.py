"""Whole load runs, Locust and all, against a small province that answers well, badly, late or not at all."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from loadtests import rehearsal
from loadtests.rehearsal import RehearsalError
from loadtests.result import LoadResult, Operation
from loadtests.run import LoadError, run
from loadtests.scenario import Scenario, ScenarioError
from tests.integration import load_province
from tests.integration.backends import free_port, listening, start, stop
from tests.integration.network import REPOSITORY
from tests.support.waiting import wait_until
from tools import deployment

ENVIRONMENT = "test-load"
SHARES = [
    {"journey": "citizen", "share": 0.75, "log_in": "each"},
    {"journey": "clerk", "share": 0.25, "log_in": "once"},
]


@dataclasses.dataclass
class Small:
    """The province, the environment's folder with its kit, and a load run."""

    port: int
    folder: Path
    said: list[str] = dataclasses.field(default_factory=list)

    def tell(self, **told: object) -> None:
        httpx.post(f"http://127.0.0.1:{self.port}/faults", json=told).raise_for_status()

    def seen(self) -> dict[str, int]:
        counted: dict[str, int] = httpx.get(f"http://127.0.0.1:{self.port}/seen").json()
        return counted

    def run(self, workers: int = 0, rate: float | None = None, **changes: object) -> LoadResult:
        return run(
            scenario(**changes), ENVIRONMENT, self.folder / "run", workers=workers, rate=rate, say=self.said.append
        )


def scenario(**changes: object) -> Scenario:
    given: dict[str, object] = {
        "name": "small",
        "description": "a test",
        "rate": 12,
        "ramp_seconds": 1,
        "hold_seconds": 10,
        "people": 8,
        "journeys": SHARES,
    }
    return Scenario.model_validate(given | changes)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    log = tmp_path_factory.mktemp("province") / "province.log"
    command = [sys.executable, "-m", "tests.integration.load_province", str(port)]
    process = start(command, log, PYTHONPATH=str(REPOSITORY))
    wait_until(lambda: listening(port), 20, "the province listens")
    yield port
    stop(process)


@pytest.fixture
def small(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    (tmp_path / ENVIRONMENT).mkdir()
    rehearsal.write_kit(tmp_path / ENVIRONMENT / "rehearsal.json", load_province.kit(port))
    province = Small(port, tmp_path)
    province.tell()
    return province


def operation(result: LoadResult, name: str) -> Operation:
    return next(counted_operation for counted_operation in result.operations if counted_operation.name == name)


def test_a_run_counts_what_the_province_saw(small: Small) -> None:
    result = small.run()
    assert result.journeys_intended == result.journeys_begun == result.journeys_completed > 60
    assert result.failed == 0 and not result.failures, result.failures
    assert sum(counted_operation.wrong + counted_operation.limited for counted_operation in result.operations) == 0
    seen = small.seen()
    for step in ("search", "item", "file", "case", "query"):
        whole = sum(second.requests for second in result.seconds)
        assert 0 < operation(result, f"citizen.{step}").requests <= seen[step] <= whole
    # every request of the run, the ramp's too, is in the seconds; clerks' log-ins came before
    log_ins = seen.pop("log-in") - len(load_province.PLACES)
    assert sum(second.requests for second in result.seconds) == sum(seen.values()) + log_ins
    assert sum(second.begun for second in result.seconds) > result.journeys_begun
    assert {tenant.code for tenant in result.tenants} == set(load_province.PLACES)
    assert sum(tenant.requests for tenant in result.tenants) == result.requests
    assert any("hold" in line for line in small.said)


def test_workers_share_the_arrivals_and_their_histograms_add_up(small: Small) -> None:
    alone = small.run()
    small.tell(faults={"item": "slow"})
    together = small.run(workers=2)
    assert together.journeys_intended == alone.journeys_intended, "the same timetable, however many walk it"
    assert together.generator.processes == 3
    times = operation(together, "citizen.item").latencies
    assert times.within[-1] == operation(together, "citizen.item").requests
    assert times.p50 >= load_province.SLOW_SECONDS * 0.9
    assert operation(together, "citizen.search").latencies.p50 < load_province.SLOW_SECONDS
    assert together.failed == 0, together.failures


@pytest.mark.parametrize(
    ("fault", "counted", "kind"),
    [("wrong", "wrong", "wrong answer"), ("broken", "failed", "status"), ("limited", "limited", None)],
)
def test_what_goes_wrong_is_told_apart(small: Small, fault: str, counted: str, kind: str | None) -> None:
    small.tell(faults={"file": fault})
    result = small.run()
    filed = operation(result, "citizen.file")
    assert filed.requests > 0 and getattr(filed, counted) == filed.requests
    assert filed.failed + filed.limited + filed.wrong == filed.requests, "each is counted once"
    assert operation(result, "citizen.item").failed == 0
    assert operation(result, "citizen.case").requests == 0, "the journey ends where it cannot go on"
    assert {failure.kind for failure in result.failures} == ({kind} if kind else set())
    assert result.journeys_completed == 0


def test_a_stall_counts_from_the_intended_start(small: Small) -> None:
    """Journeys go on beginning while the province stalls: each that was due meanwhile has waited its part of it."""
    journeys = [{"journey": "citizen", "share": 1, "log_in": "once", "without": ["query"]}]
    small.tell(stall_seconds=6.0)
    result = small.run(ramp_seconds=0, journeys=journeys)
    assert result.journeys_begun == result.journeys_intended
    assert waited(result) > 12 * 3
    # the twin: people who wait for an answer before they ask again hardly notice
    small.tell(stall_seconds=6.0)
    closed = small.run(arrival="closed", users=3, rate=None, ramp_seconds=0, journeys=journeys)
    assert 0 < waited(closed) <= 3


def test_what_a_province_carries_is_what_it_ends_in_the_hold(small: Small) -> None:
    """It stalls until the hold is over: then every journey is completed, and hardly one was ended by the clock."""
    small.tell(stall_seconds=12.0)
    result = small.run(ramp_seconds=0, journeys=[{"journey": "citizen", "share": 1, "log_in": "once"}])
    assert result.failed == 0, result.failures
    assert result.journeys_ended < load_province.STALLS_AT < result.journeys_completed / 5
    searches = operation(result, "citizen.search").requests
    # they come evenly, so on average half of the hold is left when one of them begins to wait
    assert result.in_flight_seconds == pytest.approx(searches * result.hold_seconds / 2, rel=0.3)


def waited(result: LoadResult) -> int:
    """How many searches took over a second."""
    times = operation(result, "citizen.search").latencies
    return times.within[-1] - times.within[times.bounds.index(1.0)]


def test_closed_users_go_one_after_another(small: Small) -> None:
    small.tell(faults={"item": "slow"})
    result = small.run(arrival="closed", users=3, rate=None, journeys=[{"journey": "citizen", "share": 1}])
    most = 3 * 10 / load_province.SLOW_SECONDS + 3
    assert 10 < result.journeys_completed <= most
    assert result.users == 3 and result.target_rate is None
    assert result.failed == 0, result.failures


def test_tokens_are_renewed_before_they_expire(small: Small) -> None:
    small.tell(token_seconds=62)
    result = small.run(journeys=[{"journey": "citizen", "share": 1, "log_in": "once"}])
    assert operation(result, "citizen.refresh").requests > 0
    assert operation(result, "citizen.refresh").service == "identity"
    assert result.failed == 0, result.failures


def test_a_rate_that_no_generator_makes_is_called_so(small: Small) -> None:
    result = small.run(rate=50_000)
    assert result.generator.limited and result.generator.reason
    assert result.hold_seconds < 10, "it stops early"


def test_the_native_command_knows_the_same_run(small: Small) -> None:
    """Headless, as typed after `yiwang env` has set it up; without a kit, and without the variable, it says what is
    missing."""
    path = small.folder / "scenario.json"
    path.write_text(scenario().model_dump_json())
    prepared = deployment.variables(Engine(EnvironmentFolder(ENVIRONMENT)))
    variables = {**os.environ, **prepared, "YIWANG_SCENARIO": str(path), "YIWANG_RATE": "5"}
    typed = "locust -f loadtests/locustfile.py --headless --only-summary --json"
    command = ["sh", "-c", typed]
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout[done.stdout.index("[\n") :])
    assert {"citizen.file", "clerk.accept"} <= {row["name"] for row in told}
    tagged = ["sh", "-c", f"{typed} --tags nosuch"]
    done = subprocess.run(tagged, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "--tags and --exclude-tags select nothing here" in done.stderr
    variables["YIWANG_REHEARSAL"] = str(small.folder / "nowhere.json")
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "nowhere.json: yiwang rehearsal prepare" in done.stderr
    del variables["YIWANG_REHEARSAL"]
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "yiwang rehearsal prepare" in done.stderr


def test_the_web_page_shows_what_is_going_on(small: Small) -> None:
    page = free_port()
    variables = {"YIWANG_REHEARSAL": str(small.folder / ENVIRONMENT / "rehearsal.json"), "YIWANG_RATE": "10"}
    command = [sys.executable, "-m", "locust", "-f", str(REPOSITORY / "loadtests/locustfile.py"), "--autostart"]
    more = ["--web-host", "127.0.0.1", "--web-port", str(page)]
    path = small.folder / "scenario.json"
    path.write_text(scenario().model_dump_json())
    process = start(
        [*command, *more], small.folder / "web.log", PYTHONPATH=str(REPOSITORY), YIWANG_SCENARIO=str(path), **variables
    )
    try:
        wait_until(lambda: listening(page), 30, "the page is there")

        def shown() -> bool:
            rows = {row["name"]: row for row in httpx.get(f"http://127.0.0.1:{page}/stats/requests").json()["stats"]}
            filed = rows.get("citizen.file", {})
            return (
                bool(filed)
                and filed["num_requests"] > 5
                and filed["num_failures"] == 0
                and filed["avg_response_time"] > 0
            )

        wait_until(shown, 30, "the page shows filings")
    finally:
        stop(process)


@pytest.mark.parametrize(
    ("prepare", "error", "words"),
    [
        (lambda kit: kit.unlink(), RehearsalError, "yiwang rehearsal prepare"),
        (lambda kit: kit.write_text("{}"), RehearsalError, "move it away"),
    ],
)
def test_without_a_kit_nothing_runs(
    small: Small, prepare: Callable[[Path], object], error: type[Exception], words: str
) -> None:
    prepare(small.folder / ENVIRONMENT / "rehearsal.json")
    with pytest.raises(error, match=words):
        small.run()


def test_bad_input_is_refused_before_anything_is_sent(small: Small) -> None:
    with pytest.raises(ScenarioError, match="rate"):
        small.run(rate=0)
    with pytest.raises(RehearsalError, match="8 people, the scenario 9"):
        small.run(people=9)
    with pytest.raises(RehearsalError, match="cell-z"):
        small.run(cell="cell-z")
    with pytest.raises(LoadError, match="65 workers"):
        small.run(workers=65)
    assert not small.seen()


def test_people_who_cannot_log_in_end_the_run_with_a_word(small: Small) -> None:
    small.tell(faults={"log-in": "broken"})
    with pytest.raises(LoadError, match=r"log-ins before the ramp.*503"):
        small.run()


def test_an_interrupted_run_leaves_no_process(small: Small) -> None:
    # A shell's background job ignores the signal, and what it starts does too, unless told otherwise.
    heeding = ["env", "--default-signal=INT", sys.executable]
    command = [*heeding, "-m", "loadtests.run", ENVIRONMENT, "--workers", "2", "--scenario"]
    path = small.folder / "scenario.json"
    path.write_text(scenario(hold_seconds=300).model_dump_json())
    log = small.folder / "run.log"
    process = start([*command, str(path)], log, PYTHONPATH=str(REPOSITORY), YIWANG_HOME=str(small.folder))
    wait_until(lambda: small.seen().get("file"), 60, "cases are filed")
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    process.send_signal(signal.SIGINT)
    assert process.wait(90) == 130, log.read_text()
    wait_until(lambda: not any(member.is_running() for member in family), 10, "every process of the run has ended")
