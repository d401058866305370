"""Services: objectives as events and bad events, how fast the budget burns, and what breaks at once.

Availability is counted at the gateway: a service that is gone counts nothing itself, and its callers see a 503.
Latency and freshness are counted where they are measured, in the service's histograms. From the minute's rates on, all
three are one family, told apart by the label `objective`, so that a window is one rule and not one for each.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.utils import floatToGoString

from infra.services import NAMES
from monitoring.objectives import BurnRate, Latency, Objectives
from monitoring.rules.model import EVALUATION_SECONDS, Alert, Group, Recording

UNITS = {"m": 60, "h": 3600, "d": 86400}
DAYS_FROM_SECONDS = 12 * 3600
"""Windows beyond this are summed once a minute: they hold thousands of points and move slowly."""
BETWEEN_SERVICES = "POST .+/inbox"
"""Route of relays: what is in it is judged by freshness, and up to 200 messages share a request."""

TITLES = {
    "availability": ("ServiceAvailabilityBurn", "fails requests"),
    "latency": ("ServiceLatencyBurn", "answers slowly"),
    "freshness": ("ServiceFreshnessBurn", "delivers messages late"),
}


def seconds(window: str) -> int:
    return int(window[:-1]) * UNITS[window[-1]]


def bound(limit: float) -> str:
    """A bucket's label, as the services' own library writes it."""
    return str(floatToGoString(limit))  # type: ignore[no-untyped-call]


def groups(objectives: Objectives) -> list[Group]:
    windows = sorted({rate.long for rate in objectives.burn_rates} | {rate.short for rate in objectives.burn_rates})
    quick = [window for window in windows if seconds(window) <= DAYS_FROM_SECONDS]
    days = [window for window in windows if seconds(window) > DAYS_FROM_SECONDS]
    return [
        Group("service_days", [rule for window in days for rule in burn(objectives, window)], interval="1m"),
        Group(
            "services",
            [
                *events(objectives),
                *(rule for window in quick for rule in burn(objectives, window)),
                *burn_alerts(objectives),
                *fault_alerts(),
            ],
        ),
    ]


def events(objectives: Objectives) -> Iterator[Recording]:
    """What happened and what was bad of it, a second, over the last minute."""
    yield from _availability()
    for name, service in objectives.services.items():
        requests = f'job="{name}", route!~"{BETWEEN_SERVICES}"'
        yield from _measured(name, "latency", "yiwang_request_seconds", requests, service.latency)
        if service.freshness is not None:
            yield from _measured(name, "freshness", "yiwang_outbox_lag_seconds", f'job="{name}"', service.freshness)


def _availability() -> Iterator[Recording]:
    for record, codes in (("service:events:rate1m", ""), ("service:bad_events:rate1m", ', code="5xx"')):
        answers = f'haproxy_backend_http_responses_total{{proxy=~"{"|".join(NAMES)}"{codes}}}'
        named = f'label_replace(rate({answers}[1m]), "service", "$1", "proxy", "(.+)")'
        yield Recording(record, f"sum by (cell, service) ({named})", {"objective": "availability"})


def _measured(service: str, objective: str, histogram: str, selector: str, limit: Latency) -> Iterator[Recording]:
    labels = {"service": service, "objective": objective}
    count = f"sum by (cell) (rate({histogram}_count{{{selector}}}[1m]))"
    bucket = f'{histogram}_bucket{{{selector}, le="{bound(limit.seconds)}"}}'
    yield Recording("service:events:rate1m", count, labels)
    yield Recording("service:bad_events:rate1m", f"{count} - sum by (cell) (rate({bucket}[1m]))", labels)


def burn(objectives: Objectives, window: str) -> Iterator[Recording]:
    """Events in the window, and how many times too fast they use the budget up.

    Nothing where nothing happened, and nothing where too little of the window has been seen.
    """
    for events_name in ("events", "bad_events"):
        rate = f"service:{events_name}:rate1m"
        total = f"{rate} * 60" if window == "1m" else f"sum_over_time({rate}[{window}]) * {EVALUATION_SECONDS}"
        yield Recording(f"service:{events_name}:increase{window}", total)
    share = f"service:bad_events:increase{window} / (service:events:increase{window} > 0)"
    budget = "on (service, objective) group_left () service:budget:share"
    points = seconds(window) / EVALUATION_SECONDS * objectives.alerting.minimum_seen
    seen = f"count_over_time(service:events:rate1m[{window}]) >= {points:.0f}"
    yield Recording(f"service:budget_burn:ratio{window}", f"({share}) / {budget} and {seen}")


def burn_alerts(objectives: Objectives) -> Iterator[Alert]:
    for objective in TITLES:
        for rate in objectives.burn_rates:
            yield _burn_alert(objectives, objective, rate)


def _burn_alert(objectives: Objectives, objective: str, rate: BurnRate) -> Alert:
    name, what = TITLES[objective]
    of = f'{{objective="{objective}"}}'
    limits = objectives.alerting
    conditions = (
        f"service:budget_burn:ratio{rate.long}{of} > {rate.factor:g}",
        f"service:budget_burn:ratio{rate.short}{of} > {rate.factor:g}",
        f"service:events:increase{rate.long}{of} >= {limits.minimum_requests}",
        f"service:bad_events:increase{rate.short}{of} >= {limits.minimum_bad}",
    )
    return Alert(
        name,
        " and ".join(conditions),
        rate.severity,
        "{{ $labels.service }}",
        f"{{{{ $labels.service }}}} of {{{{ $labels.cell }}}} {what}",
        f'The {objective} budget burns {{{{ $value | printf "%.1f" }}}} times as fast as it may, over {rate.long} '
        f"and {rate.short} (limit {rate.factor:g}).",
        labels={"window": rate.long},
    )


def fault_alerts() -> Iterator[Alert]:
    yield Alert(
        "GatewayWithoutBackend",
        f'sum by (cell, role, host, proxy) (haproxy_backend_active_servers{{proxy=~"{"|".join(NAMES)}"}}) == 0',
        "page",
        "{{ $labels.proxy }}",
        "{{ $labels.host }} knows no healthy host of {{ $labels.proxy }}",
        "Checks of /readyz pass on {{ $value }} hosts; the gateway tries them all as a last resort.",
        lasting="30s",
    )
    yield Alert(
        "ServiceDependencyDown",
        # a service tells of the keys once they are needed: none is fetched before the first token
        "min by (cell, role, host, job, dependency) (yiwang_dependency_up) == 0",
        "page",
        "{{ $labels.job }}",
        "{{ $labels.job }} on {{ $labels.host }} does without its {{ $labels.dependency }}",
        "Its last check of {{ $labels.dependency }} failed (yiwang_dependency_up is {{ $value }}).",
        lasting="45s",
    )
    yield Alert(
        "RelayFailing",
        'sum by (cell, job, tenant) (increase(yiwang_outbox_messages_total{outcome="failed"}[10m])) > 2',
        "ticket",
        "{{ $labels.job }}",
        "Messages of {{ $labels.tenant }} reach no receiver",
        'The relay failed {{ $value | printf "%.0f" }} times in ten minutes; it goes on trying, nothing is lost.',
        lasting="30s",
    )
