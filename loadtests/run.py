"""A load run: Locust headless, as processes of its own, bounded in time.

    python -m loadtests.run local --scenario launch [--rate R] [--hold S] [--workers N]

The environment's kit must be there (`yiwang rehearsal prepare`). The result is written into the folder given, by
default `load/<UTC stamp>-<scenario>` in the environment's folder, together with Locust's own log.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from infra.errors import ExpectedError
from infra.folder import EnvironmentFolder
from loadtests import machine
from loadtests.protocol import FAILURE, PROGRESS, RUN_END_SECONDS, RUN_READY_SECONDS
from loadtests.rehearsal import load_kit
from loadtests.result import LoadResult, Machine
from loadtests.scenario import Scenario, load

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
REPOSITORY = LOCUSTFILE.parent.parent
GRACE_SECONDS = 10.0
MOST_WORKERS = 64


class LoadError(ExpectedError):
    """The run did not come to a result; the message says why and what to do."""


def check_workers(workers: int) -> None:
    """
    Raises:
        LoadError: so many generator processes cannot run here.
    """
    if not 0 <= workers <= MOST_WORKERS:
        raise LoadError(f"{workers} workers: between 0 and {MOST_WORKERS} can run on this machine")


def run(
    scenario: Scenario,
    environment: str,
    folder: Path,
    *,
    workers: int = 0,
    rate: float | None = None,
    say: Callable[[str], None] = print,
) -> LoadResult:
    """Runs the scenario and leaves `result.json`, `scenario.json` and `locust.log` in `folder`.

    Raises:
        ScenarioError: the rate does not fit the scenario.
        RehearsalError: there is no kit, or it does not fit the scenario.
        LoadError: Locust failed or hung; nothing of the run goes on.
    """
    scenario = scenario.changed(rate=rate)
    check_workers(workers)
    path = EnvironmentFolder(environment).rehearsal
    load_kit(path).tenants_of(scenario)
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    (folder / "scenario.json").write_text(scenario.model_dump_json(indent=1) + "\n", "utf-8")
    variables = {
        "YIWANG_REHEARSAL": str(path),
        "YIWANG_SCENARIO": str(folder / "scenario.json"),
        "YIWANG_RESULT": str(result),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    before = machine.speed()
    limit = RUN_READY_SECONDS + scenario.ramp_seconds + scenario.hold_seconds + RUN_END_SECONDS
    _drive(_command(workers), variables, folder / "locust.log", limit, say)
    try:
        load_result = LoadResult.model_validate_json(result.read_bytes())
    except (OSError, ValidationError) as error:
        raise LoadError(f"Locust ended without a result ({error}); see {folder / 'locust.log'}") from None
    load_result = load_result.model_copy(update={"machine": Machine(before=before, after=machine.speed())})
    result.write_text(load_result.model_dump_json(indent=1) + "\n", "utf-8")
    return load_result


def _command(workers: int) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    if workers:
        port = str(_free_port())
        command += ["--processes", str(workers), "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
        command += ["--master-host", "127.0.0.1", "--master-port", port, "--expect-workers-max-wait", "30"]
    return command


def _drive(command: list[str], variables: dict[str, str], log: Path, limit: float, say: Callable[[str], None]) -> None:
    """Runs Locust to its end, or ends all of it: when the time is over, and on Ctrl-C."""
    cleared = {name: value for name, value in os.environ.items() if name not in ("YIWANG_RATE", "YIWANG_HOLD")}
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            env=cleared | variables,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
        timer = threading.Timer(limit, _end, [process])
        timer.daemon = True
        timer.start()
        failure = ""
        try:
            assert process.stdout is not None
            for line in process.stdout:
                output.write(line)
                output.flush()
                if line.startswith(PROGRESS):
                    say(line.removeprefix(PROGRESS).rstrip())
                elif line.startswith(FAILURE):
                    failure = line.removeprefix(FAILURE).rstrip()
            code = process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            hung = not timer.is_alive() and timer.finished.is_set()
            timer.cancel()
            _end(process)
    if failure:
        raise LoadError(f"{failure}; see {log}")
    if hung:
        raise LoadError(f"Locust did not end within {limit:.0f} s and was ended; see {log}")
    if code not in (0, 1):
        raise LoadError(f"Locust ended with code {code}: {_last_words(log)}; see {log}")


def _end(process: subprocess.Popen[str]) -> None:
    """Ends Locust with all its workers: they are one process group."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no word"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("environment", help="local, test-… or a production environment, as prod")
    parser.add_argument("--scenario", default="launch", help="a name in loadtests/scenarios, or a file")
    parser.add_argument("--rate", type=float, help="journeys a second, instead of the scenario's")
    parser.add_argument("--hold", type=float, help="seconds, instead of the scenario's")
    workers = os.environ.get("WORKERS", "0")
    parser.add_argument("--workers", type=int, default=workers, help="generator processes beside a master (or WORKERS)")
    parser.add_argument("--folder", type=Path, help="where the result goes")
    given = parser.parse_args()
    try:
        scenario = load(given.scenario).changed(hold_seconds=given.hold)
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{scenario.name}"
        folder = given.folder or EnvironmentFolder(given.environment).root / "load" / stamp
        result = run(scenario, given.environment, folder, workers=given.workers, rate=given.rate)
    except (ExpectedError, ValueError, OSError) as error:
        print(f"loadtests.run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("loadtests.run: interrupted; nothing of it goes on", file=sys.stderr)
        return 130
    for operation in result.operations:
        times = operation.latencies
        print(
            f"{operation.name:<18} {operation.requests:>7}  failed {operation.failed}  limited {operation.limited}  "
            f"wrong {operation.wrong}  "
            f"p50 {times.p50 * 1000:.0f} ms  p95 {times.p95 * 1000:.0f} ms  p99 {times.p99 * 1000:.0f} ms"
        )
    for failure in result.failures[:10]:
        print(f"  {failure.count} × {failure.operation} at {failure.tenant}: {failure.kind}, {failure.detail}")
    generator, speeds = result.generator, result.machine
    if speeds is not None:
        print(f"machine: {speeds.before.whole:.0f} MiB/s hashed before the run, {speeds.after.whole:.0f} after it")
    print(f"generator: {generator.cpu_share:.2f} of a core, {generator.lateness_p99 * 1000:.1f} ms late (p99)")
    print(folder / "result.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
