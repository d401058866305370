"""Checks of the load run: whether it says anything, and what people saw in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from loadtests.gate.checks import absent, held
from loadtests.gate.standing import Measured, exactly, percentile, share
from loadtests.gate.verdict import Check, shown
from loadtests.result import LoadResult, Operation
from loadtests.scenario import Scenario
from monitoring.objectives import Objectives

GENERATOR = "generator"
MINIMUM = "minimum of requests"
Ratios = tuple[float | None, float | None]


def run_checks(objectives: Objectives, scenario: Scenario, load: LoadResult) -> Iterator[Check]:
    limits, generator = objectives.gate, load.generator
    yield Check(
        limit=MINIMUM,
        kind="run",
        component=GENERATOR,
        figure=load.requests,
        limit_value=limits.minimum_requests,
        unit="count",
        outcome="kept" if load.requests >= limits.minimum_requests else "broken",
        sentence=f"The hold had {load.requests} requests; fewer than {limits.minimum_requests} say nothing.",
    )
    if load.scenario != scenario.name or (load.target_rate != scenario.rate and load.arrival == "open"):
        said = f"The run was {load.scenario} at {load.target_rate:g}/s, not {scenario.name} at {scenario.rate:g}/s."
        yield Check(limit="scenario", kind="run", component=GENERATOR, outcome="broken", sentence=said)
    short = 1 - load.journeys_begun / load.journeys_intended if load.journeys_intended else 1.0
    offered = f"{load.journeys_begun} of {load.journeys_intended} intended journeys were begun"
    yield held(
        "offered load",
        "run",
        GENERATOR,
        exactly(max(short, 0.0)),
        round(1 - limits.offered_share, 9),
        0.0,
        f"{offered}; {{figure}} were not, and {{limit}} may be missing.",
    )
    cpu = "The busiest generator process used {figure} of a core; beyond {limit} it is the limit itself."
    late = "A journey in a hundred began {figure} late or later; beyond {limit} the generator is the limit itself."
    yield held(
        "generator's CPU", "run", GENERATOR, exactly(generator.cpu_share), limits.generator_cpu_share, 0.0, cpu, "use"
    )
    yield held(
        "generator's lateness",
        "run",
        GENERATOR,
        exactly(generator.lateness_p99),
        limits.generator_lateness_seconds,
        0.0,
        late,
        "seconds",
    )
    said = (
        f"The generator was the limit, so the run says nothing of the environment: {generator.reason or 'no reason'}."
    )
    if generator.limited:
        yield Check(limit="generator", kind="run", component=GENERATOR, outcome="broken", sentence=said)


def seen_by_people(objectives: Objectives, load: LoadResult) -> Iterator[Check]:
    noise, gate = objectives.gate.noise, objectives.gate
    failed, wrong, slow = _restlessness(load)
    for service, wanted in objectives.services.items():
        operations = [one for one in load.operations if one.service == service]
        requests = sum(one.requests for one in operations)
        if not requests:
            if operations:
                yield absent(
                    "requests", "run", service, f"The scenario asks {service}, and nobody asked it in the hold."
                )
            continue
        bad = sum(one.failed for one in operations)
        yield held(
            f"availability of {service}, as people saw it",
            "promise",
            service,
            share(bad, requests, _scaled(bad / requests, failed)),
            round(1 - wanted.availability.target, 9),
            noise,
            f"{{figure}} of the {requests} requests to {service} failed{_worst(operations, 'failed')}; "
            "{limit} may fail.",
        )
        bad = sum(one.wrong for one in operations)
        yield held(
            f"right answers of {service}",
            "promise",
            service,
            share(bad, requests, _scaled(bad / requests, wrong)),
            gate.wrong_answers,
            noise,
            f"{{figure}} of the {requests} answers of {service} were wrong{_worst(operations, 'wrong')}; "
            "{limit} may be.",
        )
        yield _latency(service, operations, wanted.latency.seconds, wanted.latency.target, slow, noise)
    limited = sum(one.limited for one in load.operations)
    if load.requests:
        hardest = max(load.tenants, key=lambda one: (one.limited, one.code), default=None)
        yield held(
            "answers that are not refused by a limit",
            "promise",
            "gateway",
            share(limited, load.requests),
            gate.limited_answers,
            noise,
            "{figure} of the answers were refusals by a tenant's own limit (429); {limit} may be.",
            tenant=hardest.code if hardest is not None and hardest.limited else None,
        )
    for tenant in load.tenants:
        if tenant.requests:
            yield held(
                "right answers of a tenant, as people saw them",
                "promise",
                "services",
                share(tenant.failed + tenant.limited + tenant.wrong, tenant.requests),
                objectives.tenants.failed_share,
                noise,
                f"{{figure}} of the {tenant.requests} requests to {tenant.code} failed, were refused by its limit or "
                "answered wrongly; {limit} may be.",
                tenant=tenant.code,
            )


def _latency(
    service: str,
    operations: list[Operation],
    seconds: float,
    target: float,
    slow: tuple[float | None, float | None],
    noise: float,
) -> Check:
    timed = [one for one in operations if one.requests > one.limited]
    name = f"latency of {service}, as people saw it"
    if not timed or len({one.latencies.bounds for one in timed}) != 1:
        return absent(name, "promise", service, f"How long {service} took is not known.")
    bounds = timed[0].latencies.bounds
    within = [sum(counts) for counts in zip_longest(*(one.latencies.within for one in timed), fillvalue=0)]
    count = sum(one.requests - one.limited for one in timed)
    largest = max(one.latencies.largest for one in timed)
    plain = percentile(bounds, within, count, target, largest)
    measured = Measured(plain.value, plain.low, plain.high, _scaled(plain.value, slow))
    return held(
        name,
        "promise",
        service,
        measured,
        seconds,
        noise,
        f"{target * 100:g} % of the {count} answers of {service} took {{figure}} or less from the intended start"
        f"{_slowest(timed)}; {{limit}} is promised.",
        "seconds",
    )


def _worst(operations: list[Operation], what: str) -> str:
    """The operation that has most of what is bad."""
    worst = max(operations, key=lambda one: int(getattr(one, what)))
    count = int(getattr(worst, what))
    return f", {count} of them {worst.name}" if count else ""


def _slowest(operations: list[Operation]) -> str:
    slowest = max(operations, key=lambda one: one.latencies.p95)
    return f" (slowest: {slowest.name}, p95 {shown(slowest.latencies.p95, 'seconds')})"


def _restlessness(load: LoadResult) -> tuple[Ratios, Ratios, Ratios]:
    """How each half of the hold compares to all of it: failures, wrong answers, p95. Seconds are not told by service,
    so each service's figure is taken to have moved as all together."""
    middle = (load.hold_started_at + load.hold_ended_at) / 2
    hold = [one for one in load.seconds if load.hold_started_at <= one.at < load.hold_ended_at]
    halves = [one for one in hold if one.at < middle], [one for one in hold if one.at >= middle]
    p95 = [(one.requests, one.p95) for one in hold if one.p95 is not None]
    whole = _mean(p95)
    slow = tuple(_mean([(one.requests, one.p95) for one in half if one.p95 is not None]) for half in halves)
    ratios = tuple(value / whole if value is not None and whole else None for value in slow)
    return (
        _moved([[(one.failed, one.requests) for one in half] for half in halves]),
        _moved([[(one.wrong, one.requests) for one in half] for half in halves]),
        (ratios[0], ratios[1]),
    )


def _moved(halves: list[list[tuple[int, int]]]) -> Ratios:
    """Each half's share against that of the whole."""
    bad = [sum(hits for hits, _ in half) for half in halves]
    count = [sum(requests for _, requests in half) for half in halves]
    if not sum(bad) or not all(count):
        return None, None
    whole = sum(bad) / sum(count)
    return bad[0] / count[0] / whole, bad[1] / count[1] / whole


def _mean(weighted: list[tuple[int, float]]) -> float | None:
    weight = sum(one for one, _ in weighted)
    return sum(one * value for one, value in weighted) / weight if weight else None


def _scaled(value: float, ratios: Ratios) -> Ratios:
    first, second = (None if ratio is None else value * ratio for ratio in ratios)
    return first, second
