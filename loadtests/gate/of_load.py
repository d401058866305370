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
        operations = [operation for operation in load.operations if operation.service == service]
        requests = sum(operation.requests for operation in operations)
        if not requests:
            if operations:
                yield absent(
                    "requests", "run", service, f"The scenario asks {service}, and nobody asked it in the hold."
                )
            continue
        bad = sum(operation.failed for operation in operations)
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
        bad = sum(operation.wrong for operation in operations)
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
    limited = sum(operation.limited for operation in load.operations)
    if load.requests:
        hardest = max(load.tenants, key=lambda tenant: (tenant.limited, tenant.code), default=None)
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
    timed = [operation for operation in operations if operation.requests > operation.limited]
    name = f"latency of {service}, as people saw it"
    if not timed or len({operation.latencies.bounds for operation in timed}) != 1:
        return absent(name, "promise", service, f"How long {service} took is not known.")
    bounds = timed[0].latencies.bounds
    within = [sum(counts) for counts in zip_longest(*(operation.latencies.within for operation in timed), fillvalue=0)]
    count = sum(operation.requests - operation.limited for operation in timed)
    largest = max(operation.latencies.largest for operation in timed)
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
    worst = max(operations, key=lambda operation: int(getattr(operation, what)))
    count = int(getattr(worst, what))
    return f", {count} of them {worst.name}" if count else ""


def _slowest(operations: list[Operation]) -> str:
    slowest = max(operations, key=lambda operation: operation.latencies.p95)
    return f" (slowest: {slowest.name}, p95 {shown(slowest.latencies.p95, 'seconds')})"


def _restlessness(load: LoadResult) -> tuple[Ratios, Ratios, Ratios]:
    """How each half of the hold compares to all of it: failures, wrong answers, p95. Seconds are not told by service,
    so each service's figure is taken to have moved as all together."""
    middle = (load.hold_started_at + load.hold_ended_at) / 2
    hold = [second for second in load.seconds if load.hold_started_at <= second.at < load.hold_ended_at]
    halves = [second for second in hold if second.at < middle], [second for second in hold if second.at >= middle]
    p95 = [(second.requests, second.p95) for second in hold if second.p95 is not None]
    whole = _mean(p95)
    slow = tuple(_mean([(second.requests, second.p95) for second in half if second.p95 is not None]) for half in halves)
    ratios = tuple(value / whole if value is not None and whole else None for value in slow)
    return (
        _moved([[(second.failed, second.requests) for second in half] for half in halves]),
        _moved([[(second.wrong, second.requests) for second in half] for half in halves]),
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
    weight = sum(requests for requests, _ in weighted)
    return sum(requests * value for requests, value in weighted) / weight if weight else None


def _scaled(value: float, ratios: Ratios) -> Ratios:
    first, second = (None if ratio is None else value * ratio for ratio in ratios)
    return first, second
