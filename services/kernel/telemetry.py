"""Logs as JSON lines on stdout, metrics for Prometheus. Histograms go by route, counters by tenant, never both.

A tenant's label is its code, or empty where no tenant is asked: at identity and query, and under a host that nobody
here has. Prometheus reads an empty label as an absent one: `{tenant!=""}` chooses the tenants. What watches a service
(`/healthz`, `/readyz`, `/metrics`) is neither counted nor logged.

Prometheus counts from the first value that it sees, so a counter that is born with an event hides that event, and a
burst hides whole. Every series whose labels are known beforehand therefore stands at 0 from the start: see `expect_…`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache

import asyncpg
import pydantic
import structlog
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics
from structlog.typing import EventDict, ExcInfo, WrappedLogger

request_id: ContextVar[str] = ContextVar("request_id", default="")
tenant_code: ContextVar[str] = ContextVar("tenant_code", default="")

_SECRETS = re.compile(r"[A-Za-z0-9_-]{43,}")
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody reads them, and each is a line of every scrape

REQUEST_SECONDS = Histogram("yiwang_request_seconds", "Time to answer, by route.", ["route"], buckets=BUCKETS)
REQUESTS = Counter("yiwang_requests", "Requests answered, by tenant and outcome.", ["tenant", "outcome"])
TENANT_SECONDS = Counter("yiwang_tenant_request_seconds", "Time spent answering, by tenant.", ["tenant"])
IN_FLIGHT = Gauge("yiwang_requests_in_flight", "Requests being answered now.")
DEPENDENCY_UP = Gauge("yiwang_dependency_up", "1 when the last check of a dependency went well.", ["dependency"])
BATCH_SIZE = Histogram(
    "yiwang_batch_size", "Calls that shared one commit.", ["batch"], buckets=(1, 2, 4, 8, 16, 32, 64, 128)
)
OUTBOX_SENT = Counter(
    "yiwang_outbox_messages", "Messages handed to a receiver, by sender and outcome.", ["tenant", "outcome"]
)
OUTBOX_LAG = Histogram(
    "yiwang_outbox_lag_seconds", "From a message's commit to its receiver's answer.", buckets=BUCKETS
)
OUTBOX_WAYS = Gauge("yiwang_outbox_ways", "Destinations for which messages waited at the last sweep.", ["tenant"])
INBOX_MESSAGES = Counter("yiwang_inbox_messages", "Messages received, by what became of them.", ["outcome"])
for _outcome in ("applied", "known", "rejected"):
    INBOX_MESSAGES.labels(_outcome)

OUTCOMES = {2: "ok", 3: "ok", 4: "refused", 5: "failed"}
EVERY_OUTCOME = ("ok", "refused", "limited", "failed")
SENT_OUTCOMES = ("applied", "rejected", "failed")


def expect_routes(routes: Iterable[str]) -> None:
    """The routes that may be asked."""
    for route in ("unmatched", *routes):
        route_seconds(route)


def expect_tenants(tenants: Iterable[str]) -> None:
    """The tenants whose sites may be asked, beside nobody's."""
    for tenant in ("", *tenants):
        TENANT_SECONDS.labels(tenant)
        for outcome_name in EVERY_OUTCOME:
            REQUESTS.labels(tenant, outcome_name)


def expect_senders(tenants: Iterable[str]) -> None:
    """The tenants whose outboxes are relayed here."""
    for tenant in tenants:
        OUTBOX_WAYS.labels(tenant)
        for outcome_name in SENT_OUTCOMES:
            OUTBOX_SENT.labels(tenant, outcome_name)


def outcome(status: int) -> str:
    """A bounded word for an answer: ok, refused (the caller's fault), limited, failed."""
    return "limited" if status == 429 else OUTCOMES.get(status // 100, "failed")


def configure_logging(service: str, level: str = "INFO") -> None:
    """Send structlog's and the standard library's records to stdout, a JSON object a line."""

    def add_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        if identifier := request_id.get():
            event["request_id"] = identifier
        if code := tenant_code.get():
            event.setdefault("tenant", code)
        return event

    shared: list[structlog.typing.Processor] = [
        add_context,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(written),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "botocore", "aiobotocore", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def written(exc_info: ExcInfo) -> str:
    """A traceback for the log. What somebody typed, or a row that a database refuses, is not quoted in it."""
    told = traceback.TracebackException(*exc_info)
    each: traceback.TracebackException | None = told
    error: BaseException | None = exc_info[1]
    while each and error:
        each._str = _without_content(error)  # type: ignore[attr-defined]
        each, error = (each.__cause__, error.__cause__) if each.__cause__ else (each.__context__, error.__context__)
    return "".join(told.format()).rstrip("\n")


def _without_content(error: BaseException) -> str:
    if isinstance(error, pydantic.ValidationError):
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        places = [f"{'.'.join(map(str, fault['loc']))} {fault['type']}" for fault in faults]
        return f"{error.title}: {', '.join(places)}"
    if isinstance(error, asyncpg.PostgresError):  # its own text has its DETAIL, which is the row
        return str(error.args[0]) if error.args else ""
    return str(error)


def shown(path: str) -> str:
    """A path for the log, without a part that is as long as a secret: an invitation's opens an office."""
    return _SECRETS.sub("SECRET", path)


@cache
def route_seconds(route: str) -> Histogram:
    """The histogram of one route; looking it up by label each time costs more than observing."""
    return REQUEST_SECONDS.labels(route)


@cache
def requests_of(tenant: str, status: int) -> Counter:
    return REQUESTS.labels(tenant, outcome(status))


@cache
def seconds_of(tenant: str) -> Counter:
    return TENANT_SECONDS.labels(tenant)


class AccessLog:
    """A line a request, written many at once: a write for each line would cost a hot route dear.

    A killed process loses the lines of its last twentieth of a second; what was done is in the databases.
    """

    SECONDS = 0.05

    def __init__(self, service: str) -> None:
        self._service = service
        self._lines: list[str] = []

    def write(self, route: str, path: str, status: int, seconds: float, tenant: str, request: str) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(self.SECONDS, self.flush)
        self._lines.append(
            f'{{"event": "request", "service": "{self._service}", "route": "{route}", "path": {json.dumps(shown(path))}'
            f', "status": {status}, "milliseconds": {seconds * 1000:.2f}, "tenant": "{tenant}", '
            f'"request_id": "{request}", "timestamp": {time.time():.3f}}}\n'
        )

    def flush(self) -> None:
        lines, self._lines = self._lines, []
        sys.stdout.write("".join(lines))
        sys.stdout.flush()
