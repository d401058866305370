"""One generator process: its share of the people and of the arrivals, and what it has seen of them.

Nothing here knows of other processes: the conductor tells its share, when to go and when to end, and asks for news.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import gevent
from gevent.event import Event
from gevent.pool import Group, Pool
from gevent.ssl import create_default_context
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment

from loadtests.arrivals import SEED, Draw, timetable
from loadtests.cases import OpenCases
from loadtests.companions import Companions, Walk
from loadtests.protocol import GENERATOR_DRAIN_SECONDS, GENERATOR_LOG_IN_SECONDS
from loadtests.rehearsal import Kit, KitTenant, RehearsalError
from loadtests.scenario import JOURNEYS, JourneyShare, Scenario
from loadtests.tally import Kind, Tally
from loadtests.visit import ANSWER_SECONDS, StepFailed, Visit, Visitor

LOG_INS_AT_ONCE = 4
LOG_IN_TRIES = 3
LOG_IN_REST_SECONDS = 2.0
GIVE_UP_LATE_SECONDS = 5.0
MOST_AT_ONCE = 4000
NOTHING_TO_DO_SECONDS = 1.0
URGENCY = -10


class StepRefused(Exception):
    """Locust's word for what went wrong, without the address."""


@dataclass(frozen=True)
class Share:
    """This process is number `index` of `count`."""

    index: int = 0
    count: int = 1


@dataclass(frozen=True)
class Window:
    """Times of the run, seconds since the epoch."""

    go: float
    hold: float
    end: float

    def holds(self, moment: float) -> bool:
        return self.hold <= moment < self.end

    def part_of_hold(self, began: float, ended: float) -> float:
        """Seconds between both that belong to the hold."""
        return max(min(ended, self.end) - max(began, self.hold), 0.0)


def walk_of(journey: str) -> Walk:
    walk: Walk = importlib.import_module(f"loadtests.journeys.{journey}.walk").walk
    return walk


class Generator:
    def __init__(self, environment: Environment, kit: Kit, scenario: Scenario, share: Share) -> None:
        self.scenario = scenario
        self.share = share
        self.gave_up = ""
        self.done = Event()
        self._environment = environment
        self._kit = kit
        self._tenants = kit.tenants_of(scenario)
        self._by_code = {tenant.code: tenant for tenant in self._tenants}
        if len(kit.citizens[: scenario.people]) < share.count:
            raise RehearsalError(f"{scenario.people} people are too few for {share.count} workers")
        self.citizens = [Visitor(person) for person in kit.citizens[: scenario.people][share.index :: share.count]]
        # in turn, so that nobody logs in several times at once: identity counts that as guessing
        self._next_citizen = cycle(self.citizens)
        self._clerks = {code: Visitor(kit.clerks[code]) for code in self._by_code}
        self._draw = Draw(scenario, self._tenants, SEED + 1 + share.index)
        self._random = random.Random(SEED + share.index)  # noqa: S311 - nothing here is a secret
        self._cases = OpenCases(time.monotonic)
        self._trust = create_default_context(cafile=kit.ca_file)
        self._tally = Tally()
        self._walks: dict[str, Walk] = {share.journey: walk_of(share.journey) for share in scenario.journeys}
        self._journeys = Group()
        self.window: Window | None = None
        self._cpu_seconds = 0.0
        self._cares: list[gevent.Greenlet] = []

    # ---- before the ramp ----

    def prepare(self) -> None:
        """Logs in everybody who does so once a run; of this nothing is counted.

        Raises:
            StepFailed: somebody could not, several times.
        """
        pool = Pool(LOG_INS_AT_ONCE)
        jobs = []
        once = {JOURNEYS[share.journey].who for share in self.scenario.journeys if share.log_in == "once"}
        if "citizen" in once:
            jobs += [pool.spawn(self._log_in, "citizen", visitor, self._draw.tenant()) for visitor in self.citizens]
        if "clerk" in once:
            jobs += [
                pool.spawn(self._log_in, "clerk", visitor, self._by_code[code])
                for code, visitor in self._clerks.items()
            ]
        too_long = StepFailed("no answer", f"log-ins took over {GENERATOR_LOG_IN_SECONDS:g} s")
        with gevent.Timeout(GENERATOR_LOG_IN_SECONDS, too_long):
            for job in jobs:
                job.get()

    def _log_in(self, journey: str, visitor: Visitor, tenant: KitTenant) -> None:
        for left in reversed(range(LOG_IN_TRIES)):
            visit = Visit(self._kit.issuer, self._session(), visitor, journey, lambda *_: None)
            try:
                visit.log_in(tenant, keep=True)
                return
            except StepFailed:
                if not left:
                    raise
                gevent.sleep(LOG_IN_REST_SECONDS)
            finally:
                visit.close()

    # ---- the run ----

    def go(self, window: Window) -> None:
        self.window = window
        gc.collect()
        gc.freeze()  # what is there now stays: without walks over it fewer journeys begin late
        with contextlib.suppress(PermissionError):
            os.nice(URGENCY - os.nice(0))  # on a machine shared with what it loads, its clock comes first
        self._cares = [gevent.spawn(self._measure_cpu), gevent.spawn(self._conclude)]
        if self.scenario.arrival == "open":
            self._cares.append(gevent.spawn(self._walk))

    def stop(self, at: float) -> None:
        """Ends the hold now: what was to begin later is not begun, nor intended."""
        assert self.window is not None
        self.window = Window(self.window.go, min(self.window.hold, at), min(self.window.end, at))

    def work(self) -> None:
        """The task of a Locust user: with a closed arrival the next journey. With an open one a greenlet of its own
        walks the timetable, and each journey is one too, however many there are at once.
        """
        assert self.window is not None
        now = time.time()
        if self.scenario.arrival == "open" or now >= self.window.end:
            self.done.wait()
            gevent.sleep(NOTHING_TO_DO_SECONDS)
        elif now < self.window.go:
            gevent.sleep(self.window.go - now)
        else:
            self._tally.note_intended(now, self.window.holds(now))
            self._journeys.spawn(self._visit, self._draw.journey(), self._draw.tenant(), now).join()

    def abort(self) -> None:
        """Whoever watched stopped the run: nothing goes on."""
        gevent.killall(self._cares, block=False)
        self._journeys.kill(block=False)
        self.done.set()

    def news(self) -> dict[str, Any]:
        """What is new since the last time, for `Tally.from_message`."""
        tally, self._tally = self._tally, Tally()
        return tally.as_message()

    @property
    def cpu_share(self) -> float:
        """Of one core, in the hold."""
        assert self.window is not None
        return self._cpu_seconds / max(self.window.end - self.window.hold, 1e-3)

    def _walk(self) -> None:
        window = self.window
        assert window is not None
        for arrival in timetable(self.scenario, self._tenants):
            if arrival.number % self.share.count != self.share.index:
                continue
            intended = window.go + arrival.at
            if (wait := intended - time.time()) > 0:
                gevent.sleep(wait)
            elif arrival.number % 16 == 0:
                gevent.sleep(0)  # behind time: let the journeys that have begun go on
            if intended >= self.window.end:  # type: ignore[union-attr] # it may have been brought forward
                return
            self._tally.note_intended(intended, self.window.holds(intended))  # type: ignore[union-attr]
            if self.gave_up:
                continue
            if -wait > GIVE_UP_LATE_SECONDS:
                self.gave_up = f"the generator fell {-wait:.1f} s behind its timetable"
            elif len(self._journeys) >= MOST_AT_ONCE:
                self.gave_up = f"{MOST_AT_ONCE} journeys of one generator process waited for answers at once"
            else:
                self._journeys.spawn(self._visit, arrival.share, arrival.tenant, intended)

    def _visit(self, share: JourneyShare, tenant: KitTenant, intended: float) -> None:
        """One journey from its intended start to its end."""
        assert self.window is not None
        begun = time.time()
        in_hold = self.window.holds(intended)
        self._tally.note_begun(begun, begun - intended, in_hold)
        steps = _Steps(self, in_hold, max(begun - intended, 0.0))
        try:
            self._walks[share.journey](self._companions(share, steps), tenant)
            self._tally.note_completed(in_hold, self.window.holds(time.time()))
        except StepFailed:
            pass  # it has been counted
        except Exception as error:  # what no check foresaw must not pass for a journey that nobody began
            operation = f"{share.journey}.{next(iter(JOURNEYS[share.journey].steps))}"
            self._tally.note_step(operation, tenant.code, "wrong answer", 0.0, time.time(), in_hold, repr(error))
        finally:
            steps.close()

    def _companions(self, share: JourneyShare, steps: _Steps) -> Companions:
        return Companions(
            share=share,
            kit=self._kit,
            tenants=self._by_code,
            cases=self._cases,
            draw=self._random,
            citizen=lambda: steps.visit("citizen", next(self._next_citizen)),
            clerk=lambda code: steps.visit("clerk", self._clerks[code]),
        )

    # ---- parts of visits ----

    def _session(self) -> FastHttpSession:
        """A browser of its own: connections are made anew for each visit, as they are by people."""
        return FastHttpSession(
            base_url=None,
            request_event=self._environment.events.request,
            user=None,
            insecure=False,
            ssl_context_factory=self._trusting,
            network_timeout=ANSWER_SECONDS,
            connection_timeout=ANSWER_SECONDS,
            concurrency=2,
            max_retries=0,
        )

    def _trusting(self, **_: Any) -> ssl.SSLContext:
        context: ssl.SSLContext = self._trust
        return context

    def new_visit(self, journey: str, visitor: Visitor, late: float, in_hold: bool) -> Visit:
        tell: Callable[..., None] = self._environment.events.request.fire

        def count(method: str, operation: str, tenant: str, kind: Kind, seconds: float, detail: str, size: int) -> None:
            assert self.window is not None
            now = time.time()
            self._tally.note_step(operation, tenant, kind, seconds, now, in_hold, detail)
            self._tally.note_in_flight(self.window.part_of_hold(now - seconds, now))
            tell(
                request_type=method,
                name=operation,
                response_time=seconds * 1000,
                response_length=size,
                response=None,
                context={"tenant": tenant},
                exception=None if kind == "fine" else StepRefused(f"{kind}: {detail}"),
            )

        return Visit(self._kit.issuer, self._session(), visitor, journey, count, late)

    # ---- the end ----

    def _measure_cpu(self) -> None:
        assert self.window is not None
        gevent.sleep(max(self.window.hold - time.time(), 0))
        before = time.process_time()
        while not self.done.is_set() and time.time() < self.window.end:
            self.done.wait(min(0.5, max(self.window.end - time.time(), 0.01)))
            self._cpu_seconds = time.process_time() - before

    def _conclude(self) -> None:
        """After the hold its journeys end by themselves, within bounds; then everything has been seen."""
        while (left := self.window.end - time.time()) > 0:  # type: ignore[union-attr] # it may be brought forward
            gevent.sleep(min(left, 0.2))
        self._journeys.join(timeout=GENERATOR_DRAIN_SECONDS)
        self._journeys.kill(timeout=5)
        self.done.set()


class _Steps:
    """The visits of one journey. What the first of them comes late counts for its first step."""

    def __init__(self, generator: Generator, in_hold: bool, late: float) -> None:
        self._generator = generator
        self._in_hold = in_hold
        self._late = late
        self._visits: list[Visit] = []

    def visit(self, journey: str, visitor: Visitor) -> Visit:
        visit = self._generator.new_visit(journey, visitor, self._late, self._in_hold)
        self._late = 0.0
        self._visits.append(visit)
        return visit

    def close(self) -> None:
        for visit in self._visits:
            visit.close()
