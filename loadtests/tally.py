"""What a generator process has seen. Tallies add up: each process sends what is new, the master merges all.

Only journeys that were to begin in the hold count for operations, tenants and failures, with all their steps, however
late these are answered; `seconds` tell of the whole run by the time of the answer. `journeys_ended` and
`in_flight_seconds` tell of the hold by the clock: what a system carries is what it ends, not what it lets in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from loadtests.histogram import Histogram
from loadtests.result import Failure, Operation, Second, TenantResult
from loadtests.scenario import JOURNEYS

FailureKind = Literal["no answer", "status", "wrong answer"]
Kind = Literal["fine", "limited"] | FailureKind
MOST_FAILURES = 200
LONGEST_DETAIL = 120


def service_of(operation: str) -> str:
    """The service that answers `citizen.file` and its like."""
    journey, _, step = operation.partition(".")
    return JOURNEYS[journey].service_of(step)


@dataclass
class Counts:
    requests: int = 0
    failed: int = 0
    limited: int = 0
    wrong: int = 0
    times: Histogram = field(default_factory=Histogram)

    def add(self, kind: Kind, seconds: float) -> None:
        """A refusal by the tenant's limit is quick, and says nothing of how quick answers are."""
        self.requests += 1
        self.failed += kind in ("no answer", "status")
        self.limited += kind == "limited"
        self.wrong += kind == "wrong answer"
        if kind != "limited":
            self.times.add(seconds)

    def merge(self, other: Counts) -> None:
        self.requests += other.requests
        self.failed += other.failed
        self.limited += other.limited
        self.wrong += other.wrong
        self.times.merge(other.times)

    def as_list(self) -> list[Any]:
        return [self.requests, self.failed, self.limited, self.wrong, self.times.counts, self.times.largest]

    @classmethod
    def from_list(cls, given: list[Any]) -> Counts:
        requests, failed, limited, wrong, counts, largest = given
        return cls(requests, failed, limited, wrong, Histogram(dict(counts), largest))


Key = TypeVar("Key")


def _add(mine: dict[Key, Counts], others: dict[Key, Counts]) -> None:
    for key, counts in others.items():
        mine.setdefault(key, Counts()).merge(counts)


@dataclass
class Tally:
    operations: dict[str, Counts] = field(default_factory=dict)
    tenants: dict[str, Counts] = field(default_factory=dict)
    failures: dict[tuple[str, str, FailureKind, str], int] = field(default_factory=dict)
    seconds: dict[int, Counts] = field(default_factory=dict)
    intended: dict[int, int] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    lateness: Histogram = field(default_factory=Histogram)
    journeys_intended: int = 0
    journeys_begun: int = 0
    journeys_completed: int = 0
    journeys_ended: int = 0
    in_flight_seconds: float = 0.0

    def note_intended(self, at: float, in_hold: bool) -> None:
        self.intended[int(at)] = self.intended.get(int(at), 0) + 1
        self.journeys_intended += in_hold

    def note_begun(self, at: float, late: float, in_hold: bool) -> None:
        self.begun[int(at)] = self.begun.get(int(at), 0) + 1
        if in_hold:
            self.journeys_begun += 1
            self.lateness.add(max(late, 0.0))

    def note_completed(self, in_hold: bool, ended_in_hold: bool) -> None:
        self.journeys_completed += in_hold
        self.journeys_ended += ended_in_hold

    def note_in_flight(self, seconds: float) -> None:
        """Of the hold, that one request was waited for, whether its journey was to begin in the hold or before."""
        self.in_flight_seconds += seconds

    def note_step(
        self, operation: str, tenant: str, kind: Kind, seconds: float, ended_at: float, in_hold: bool, detail: str = ""
    ) -> None:
        self.seconds.setdefault(int(ended_at), Counts()).add(kind, seconds)
        if not in_hold:
            return
        self.operations.setdefault(operation, Counts()).add(kind, seconds)
        self.tenants.setdefault(tenant, Counts()).add(kind, seconds)
        if kind != "fine" and kind != "limited":
            self._fail((operation, tenant, kind, detail[:LONGEST_DETAIL]), 1)

    def _fail(self, key: tuple[str, str, FailureKind, str], count: int) -> None:
        if key not in self.failures and len(self.failures) >= MOST_FAILURES:
            key = (key[0], key[1], key[2], "others")
        self.failures[key] = self.failures.get(key, 0) + count

    def merge(self, other: Tally) -> None:
        _add(self.operations, other.operations)
        _add(self.tenants, other.tenants)
        _add(self.seconds, other.seconds)
        for numbers, more in ((self.intended, other.intended), (self.begun, other.begun)):
            for second, count in more.items():
                numbers[second] = numbers.get(second, 0) + count
        for failure, count in other.failures.items():
            self._fail(failure, count)
        self.lateness.merge(other.lateness)
        self.journeys_intended += other.journeys_intended
        self.journeys_begun += other.journeys_begun
        self.journeys_completed += other.journeys_completed
        self.journeys_ended += other.journeys_ended
        self.in_flight_seconds += other.in_flight_seconds

    # ---- between processes ----

    def as_message(self) -> dict[str, Any]:
        return {
            "operations": {name: counts.as_list() for name, counts in self.operations.items()},
            "tenants": {code: counts.as_list() for code, counts in self.tenants.items()},
            "failures": [[*key, count] for key, count in self.failures.items()],
            "seconds": {second: counts.as_list() for second, counts in self.seconds.items()},
            "intended": self.intended,
            "begun": self.begun,
            "lateness": [self.lateness.counts, self.lateness.largest],
            "journeys": [self.journeys_intended, self.journeys_begun, self.journeys_completed, self.journeys_ended],
            "in_flight_seconds": self.in_flight_seconds,
        }

    @classmethod
    def from_message(cls, given: dict[str, Any]) -> Tally:
        tally = cls(
            operations={name: Counts.from_list(counts) for name, counts in given["operations"].items()},
            tenants={code: Counts.from_list(counts) for code, counts in given["tenants"].items()},
            failures={(row[0], row[1], row[2], row[3]): row[4] for row in given["failures"]},
            seconds={second: Counts.from_list(counts) for second, counts in given["seconds"].items()},
            intended=dict(given["intended"]),
            begun=dict(given["begun"]),
            lateness=Histogram(dict(given["lateness"][0]), given["lateness"][1]),
            in_flight_seconds=given["in_flight_seconds"],
        )
        tally.journeys_intended, tally.journeys_begun, tally.journeys_completed, tally.journeys_ended = given[
            "journeys"
        ]
        return tally

    # ---- the result's parts ----

    def operation_results(self, expected: list[str]) -> list[Operation]:
        """One for each operation; one that was expected and never came has no requests."""
        names = [*expected, *sorted(set(self.operations) - set(expected))]
        operations = []
        for name in names:
            counts = self.operations.get(name, Counts())
            operations.append(
                Operation(
                    name=name,
                    service=service_of(name),
                    requests=counts.requests,
                    failed=counts.failed,
                    limited=counts.limited,
                    wrong=counts.wrong,
                    latencies=counts.times.latencies(),
                )
            )
        return operations

    def tenant_results(self) -> list[TenantResult]:
        return [
            TenantResult(
                code=code, requests=counts.requests, failed=counts.failed, limited=counts.limited, wrong=counts.wrong
            )
            for code, counts in sorted(self.tenants.items())
        ]

    def failure_results(self) -> list[Failure]:
        ordered = sorted(self.failures.items(), key=lambda item: -item[1])
        return [
            Failure(operation=operation, tenant=tenant, kind=kind, detail=detail, count=count)
            for (operation, tenant, kind, detail), count in ordered
        ]

    def second_results(self) -> list[Second]:
        every = sorted({*self.seconds, *self.intended, *self.begun})
        return [self._second(at) for at in range(every[0], every[-1] + 1)] if every else []

    def _second(self, at: int) -> Second:
        counts = self.seconds.get(at, Counts())
        return Second(
            at=at,
            intended=self.intended.get(at, 0),
            begun=self.begun.get(at, 0),
            requests=counts.requests,
            failed=counts.failed,
            wrong=counts.wrong,
            p95=counts.times.quantile(0.95) if counts.times.total else None,
        )
