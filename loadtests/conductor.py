"""Master and generators of one run: shares and times go out, news come back, and the master makes the result.

All is said in Locust's own messages. Without workers Locust hands these to the same process, so there is one way.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import psutil
from gevent.event import Event
from locust.env import Environment

from loadtests.generator import Generator, Share, Window
from loadtests.protocol import CONDUCTOR_NEWS_SECONDS, CONDUCTOR_READY_SECONDS, FAILURE, PROGRESS
from loadtests.rehearsal import Kit, RehearsalError
from loadtests.result import Generator as GeneratorResult
from loadtests.result import LoadResult
from loadtests.scenario import JOURNEYS, Scenario
from loadtests.tally import Tally
from loadtests.visit import StepFailed
from monitoring import objectives

SHARE, READY, GO, STOP, NEWS = (f"rehearsal-{word}" for word in ("share", "ready", "go", "stop", "news"))
LEAD_SECONDS = 0.5
NEWS_SECONDS = 1.0
PROGRESS_SECONDS = 5.0


class Player:
    """A generator process's side: does what the conductor says, and sends news each second."""

    def __init__(self, environment: Environment, kit: Kit, scenario: Scenario) -> None:
        self._environment = environment
        self._kit = kit
        self._scenario = scenario
        self._going = Event()
        self.generator: Generator | None = None
        runner = environment.runner
        assert runner is not None
        self._runner = runner
        for kind, listener in ((SHARE, self._on_share), (GO, self._on_go), (STOP, self._on_stop)):
            runner.register_message(kind, listener)
        listen: Callable[[Callable[..., None]], object] = environment.events.test_stop.add_listener
        listen(self._on_test_stop)

    def work(self) -> None:
        """The task of a Locust user of this process."""
        self._going.wait()
        assert self.generator is not None
        self.generator.work()

    def _on_share(self, msg: Any, **_: Any) -> None:
        self._going.clear()
        gevent.spawn(self._prepare, Share(**msg.data))

    def _prepare(self, share: Share) -> None:
        problem = ""
        try:
            self.generator = Generator(self._environment, self._kit, self._scenario, share)
            self.generator.prepare()
        except (StepFailed, RehearsalError, OSError) as error:
            problem = f"log-ins before the ramp: {error}" if isinstance(error, StepFailed) else str(error)
        self._runner.send_message(READY, {"problem": problem})

    def _on_go(self, msg: Any, **_: Any) -> None:
        assert self.generator is not None
        self.generator.go(Window(**msg.data))
        self._going.set()
        gevent.spawn(self._send_news, self.generator)

    def _send_news(self, generator: Generator) -> None:
        over = False
        while not over:
            over = bool(generator.done.wait(NEWS_SECONDS))
            news = {"gave_up": generator.gave_up, "cpu_share": generator.cpu_share, "over": over}
            self._runner.send_message(NEWS, news | {"tally": generator.news()})

    def _on_stop(self, msg: Any, **_: Any) -> None:
        if self.generator is not None:
            self.generator.stop(msg.data["at"])

    def _on_test_stop(self, **_: Any) -> None:
        if self.generator is not None:
            self.generator.abort()


class Conductor:
    """The master's side. `tick` is asked each second by Locust's load shape."""

    def __init__(self, environment: Environment, kit: Kit, scenario: Scenario, result: Path | None) -> None:
        self._environment = environment
        self._kit = kit
        self._scenario = scenario
        self._result = result
        self._limits = objectives.load().gate
        runner = environment.runner
        assert runner is not None
        self._runner = runner
        runner.register_message(READY, self._on_ready)
        runner.register_message(NEWS, self._on_news)
        listen: Callable[[Callable[..., None]], object] = environment.events.test_stop.add_listener
        listen(self._on_test_stop)
        self._reset()

    def begin_again(self) -> None:
        """For the web page's next run. Locust says so twice; a run that goes on is left alone."""
        if self._over:
            self._reset()

    def _on_test_stop(self, **_: Any) -> None:
        self._over = True

    def _reset(self) -> None:
        self._members: list[str] = []
        self._ready: dict[str, str] = {}
        self._all_ready = Event()
        self._news: dict[str, dict[str, Any]] = {}
        self._tally = Tally()
        self._window: Window | None = None
        self._said_at = 0.0
        self._own_cpu = [0.0, 0.0]
        self._cores_at_hold: tuple[float, float] | None = None
        self._busy: float | None = None
        self._over = False

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate, or None when the run is over."""
        if self._over:
            return None
        try:
            if self._window is None:
                self._begin()
            self._watch()
        except RehearsalError as error:
            self._fail(str(error))
        if self._over:
            return None
        if self._scenario.arrival == "open":
            return len(self._members), float(len(self._members))
        assert self._scenario.users is not None
        return self._scenario.users, self._scenario.users / max(self._scenario.ramp_seconds, 1.0)

    def _begin(self) -> None:
        self._members = self._workers() or ["local"]
        many = len(self._members) > 1
        self._say(f"people log in, from {len(self._members)} generator {'processes' if many else 'process'}")
        for index, member in enumerate(self._members):
            self._runner.send_message(SHARE, {"index": index, "count": len(self._members)}, client_id=member)
        if not self._all_ready.wait(CONDUCTOR_READY_SECONDS):
            raise RehearsalError(f"{len(self._members) - len(self._ready)} generator processes did not get ready")
        problems = sorted({problem for problem in self._ready.values() if problem})
        if problems:
            raise RehearsalError("; ".join(problems))
        go = time.time() + LEAD_SECONDS
        hold = go + self._scenario.ramp_seconds
        self._window = Window(go, hold, hold + self._scenario.hold_seconds)
        for member in self._members:
            data = {"go": self._window.go, "hold": self._window.hold, "end": self._window.end}
            self._runner.send_message(GO, data, client_id=member)

    def _workers(self) -> list[str]:
        clients = getattr(self._runner, "clients", None)
        return [client.id for client in (*clients.ready, *clients.spawning, *clients.running)] if clients else []

    def _on_ready(self, msg: Any, **_: Any) -> None:
        self._ready[msg.node_id] = msg.data["problem"]
        if len(self._ready) >= len(self._members):
            self._all_ready.set()

    def _on_news(self, msg: Any, **_: Any) -> None:
        self._tally.merge(Tally.from_message(msg.data.pop("tally")))
        self._news[msg.node_id] = msg.data

    def _watch(self) -> None:
        """Progress, the generators' own limit, and the end."""
        window = self._window
        assert window is not None
        now = time.time()
        self._measure_cpu(now)
        if any(news["gave_up"] for news in self._news.values()) and window.end > now:
            self._stop(now)
        if len(self._news) == len(self._members) and all(news["over"] for news in self._news.values()):
            self._finish()
        elif now > window.end + CONDUCTOR_NEWS_SECONDS:
            silent = [member for member in self._members if not self._news.get(member, {}).get("over")]
            raise RehearsalError(f"{len(silent)} of {len(self._members)} generator processes went silent")
        elif now - self._said_at >= PROGRESS_SECONDS and now > window.go:
            self._said_at = now
            self._say(self._progress(now))

    def _stop(self, at: float) -> None:
        window = self._window
        assert window is not None
        self._window = Window(window.go, min(window.hold, at), at)
        for member in self._members:
            self._runner.send_message(STOP, {"at": at}, client_id=member)

    def _measure_cpu(self, now: float) -> None:
        assert self._window is not None
        if now < self._window.hold:
            self._own_cpu[0], self._cores_at_hold = time.process_time(), _cores()
        elif now <= self._window.end:
            self._own_cpu[1] = time.process_time() - self._own_cpu[0]
            if self._cores_at_hold is not None:
                used, had = (later - earlier for later, earlier in zip(_cores(), self._cores_at_hold, strict=True))
                self._busy = used / had if had else None

    def _progress(self, now: float) -> str:
        assert self._window is not None
        whole = self._window.end - self._window.go
        last = [self._tally.seconds[at] for at in range(int(now) - 6, int(now) - 1) if at in self._tally.seconds]
        begun = sum(self._tally.begun.get(at, 0) for at in range(int(now) - 6, int(now) - 1))
        p95 = max((second.times.quantile(0.95) for second in last), default=0.0)
        stage = "ramp" if now < self._window.hold else "hold" if now < self._window.end else "waits for last answers"
        every = self._tally.seconds.values()
        return (
            f"{min(now - self._window.go, whole):.0f} s of {whole:.0f} ({stage}): {begun / 5:.1f} journeys/s begin, "
            f"{sum(second.requests for second in last) / 5:.1f} steps/s, p95 up to {p95:.2f} s; so far "
            f"{sum(second.failed for second in every)} failed, {sum(second.wrong for second in every)} wrong, "
            f"{sum(second.limited for second in every)} limited"
        )

    # ---- the end ----

    def _finish(self) -> None:
        result = self.result()
        self._over = True
        if self._result is not None:
            self._result.write_text(result.model_dump_json(indent=1) + "\n", "utf-8")
        limited = f"; the generator was the limit: {result.generator.reason}" if result.generator.limited else ""
        self._say(
            f"done: {result.journeys_completed} of {result.journeys_intended} journeys, {result.requests} steps, "
            f"{result.failed} failed{limited}"
        )

    def result(self) -> LoadResult:
        window, scenario, tally = self._window, self._scenario, self._tally
        assert window is not None
        expected = [
            f"{share.journey}.{step}"
            for share in scenario.journeys
            for step in (*(("log-in",) if share.log_in == "each" else ()), *JOURNEYS[share.journey].steps)
            if step not in share.without
        ]
        return LoadResult(
            environment=self._kit.environment,
            scenario=scenario.name,
            arrival=scenario.arrival,
            target_rate=scenario.rate if scenario.arrival == "open" else None,
            users=scenario.users if scenario.arrival == "closed" else None,
            started_at=window.go,
            hold_started_at=window.hold,
            hold_ended_at=window.end,
            journeys_intended=tally.journeys_intended,
            journeys_begun=tally.journeys_begun,
            journeys_completed=tally.journeys_completed,
            journeys_ended=tally.journeys_ended,
            in_flight_seconds=tally.in_flight_seconds,
            operations=tally.operation_results(expected),
            tenants=tally.tenant_results(),
            failures=tally.failure_results(),
            seconds=tally.second_results(),
            generator=self._generator_result(),
            machine_busy=self._busy,
        )

    def _generator_result(self) -> GeneratorResult:
        assert self._window is not None
        distributed = self._members != ["local"]
        shares = [news["cpu_share"] for news in self._news.values()]
        if distributed:
            shares.append(self._own_cpu[1] / max(self._window.end - self._window.hold, 1e-3))
        lateness = self._tally.lateness.quantile(0.99)
        reasons = sorted({news["gave_up"] for news in self._news.values() if news["gave_up"]})
        if max(shares) > self._limits.generator_cpu_share:
            limit = self._limits.generator_cpu_share
            reasons.append(f"a generator process used {max(shares):.2f} of a core, more than {limit:g}: more workers")
        if lateness > self._limits.generator_lateness_seconds:
            limit = self._limits.generator_lateness_seconds
            reasons.append(f"1 % of journeys began over {lateness:.2f} s late, more than {limit:g} s")
        return GeneratorResult(
            processes=len(self._members) + distributed,
            cpu_share=max(shares),
            lateness_p99=lateness,
            limited=bool(reasons),
            reason="; ".join(reasons),
        )

    def _fail(self, why: str) -> None:
        self._over = True
        self._environment.process_exit_code = 1
        print(f"{FAILURE}{why}", flush=True)

    def _say(self, line: str) -> None:
        print(f"{PROGRESS}{line}", flush=True, file=sys.stdout)


def _cores() -> tuple[float, float]:
    """Seconds that the machine's cores were in use, and all that there were, since it started."""
    times = psutil.cpu_times()
    everything = sum(times[:8])  # what guests had is in the user's time already
    return everything - times.idle - getattr(times, "iowait", 0.0), everything
