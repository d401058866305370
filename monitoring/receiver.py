"""Where alerts and the gate's verdicts arrive and can be looked at: `python -m monitoring.receiver`.

`POST /alerts` takes what Alertmanager sends (webhook, version 4), `POST /verdicts` what the launch gate found; each is
acknowledged once it is on disk. `GET /alerts` and `GET /verdicts` give them back as JSON, the newest first; `/` is the
operator's page (`monitoring/operators/pages.py`), `/healthz` says that it lives. `/metrics`:

    yiwang_gate_verdict{scenario="launch"} 1            (GO 1, UNSURE 0.5, NO-GO 0)
    yiwang_gate_verdict_timestamp_seconds{scenario="launch"} 1.79e+09
    yiwang_notifications_total{status="firing"} 3       (since it started)

It keeps the newest few hundred of both, in `YIWANG_RECEIVER_FOLDER`; variables also `YIWANG_RECEIVER_PORT`,
`YIWANG_RECEIVER_PROMETHEUS`, `YIWANG_RECEIVER_ALERTMANAGER` and `YIWANG_RECEIVER_RUNBOOKS` (a folder).
Who is to be called at night is Alertmanager's business: another receiver there, beside this one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import structlog
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from monitoring.operators.alertmanager import Alertmanager
from monitoring.operators.pages import Pages, Watch, shown
from monitoring.prometheus import Prometheus
from services.kernel.problems import Problem
from services.kernel.telemetry import configure_logging

log = structlog.get_logger(__name__)

LARGEST_BODY = 1024 * 1024
LARGEST_FILE = 4 * 1024 * 1024
MOST_KEPT = 300
LONGEST_TEXT = 2000
MOST_REASONS = 200
CLOCKS_APART = 3600.0
VALUES = {"GO": 1.0, "UNSURE": 0.5, "NO-GO": 0.0}


class ReceiverSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="YIWANG_", extra="ignore", frozen=True)

    bind: str = "0.0.0.0"  # noqa: S104  (the controller must reach it; security groups close the rest)
    receiver_port: int = 9095
    receiver_folder: Path = Path("/var/lib/yiwang-receiver")
    receiver_prometheus: str = "http://127.0.0.1:9090"
    receiver_alertmanager: str = "http://127.0.0.1:9093"
    receiver_runbooks: Path = Path("/etc/prometheus/runbooks")


# --- what arrives ------------------------------------------------------------------------------------------------


# Cut rather than refused: an alert with a long annotation is an alert all the same.


def _cut_text(value: object) -> object:
    return value[:LONGEST_TEXT] if isinstance(value, str) else value


def _cut_list(value: object) -> object:
    return value[:MOST_REASONS] if isinstance(value, list) else value


Text = Annotated[str, BeforeValidator(_cut_text)]
Texts = Annotated[dict[Text, Text], Field(max_length=64)]


Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]


class Arrival(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    WHAT: ClassVar[str]


class Alert(Arrival):
    """An alert as Alertmanager sends it, names and all."""

    status: Literal["firing", "resolved"]
    labels: Texts
    annotations: Texts = Field(default_factory=dict)
    startsAt: Moment

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def since(self) -> str:
        return _shown(self.startsAt.timestamp())


class Notification(Arrival):
    """One call of Alertmanager's: some alerts that belong together."""

    WHAT = "notification of Alertmanager's (webhook, version 4)"
    version: Literal["4"]
    receiver: Text
    status: Literal["firing", "resolved"]
    groupLabels: Texts = Field(default_factory=dict)
    alerts: Annotated[list[Alert], Field(min_length=1, max_length=1000)]


class ReceivedNotification(Notification):
    received_at: float

    @property
    def moment(self) -> str:
        return _shown(self.received_at)


class Reason(BaseModel):
    """A verdict's reason; beside its sentence whatever figures the gate gives."""

    model_config = ConfigDict(extra="allow", frozen=True)

    sentence: Text

    def __str__(self) -> str:
        return self.sentence


class Verdict(Arrival):
    """What the launch gate found; `at` in seconds since the epoch."""

    WHAT = "verdict of the launch gate"
    scenario: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    verdict: Literal["GO", "NO-GO", "UNSURE"]
    at: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    reasons: Annotated[list[Text | Reason], BeforeValidator(_cut_list)] = Field(default_factory=list)

    @field_validator("at")
    @classmethod
    def _has_been(cls, at: float) -> float:
        if at > time.time() + CLOCKS_APART:
            raise ValueError("lies in the future; it counts seconds since the epoch")
        return at

    @property
    def moment(self) -> str:
        return _shown(self.at)


def _shown(at: float) -> str:
    return shown(datetime.fromtimestamp(at, UTC))


# --- what is kept ------------------------------------------------------------------------------------------------

Kept = TypeVar("Kept", bound=BaseModel)


class Board(Generic[Kept]):
    """The newest entries, in a file that is always whole: written beside it, then put in its place."""

    def __init__(self, path: Path, kind: type[Kept]) -> None:
        self._path = path
        self._list = TypeAdapter(list[kind])  # type: ignore[valid-type]
        self._entries: list[Kept] = self._read()

    @property
    def entries(self) -> Sequence[Kept]:
        """The newest first."""
        return self._entries

    def add(self, entry: Kept) -> None:
        """Keep it; on return it is on disk. Raises OSError when the disk does not take it; then nothing changed."""
        entries = list(_bounded([entry, *self._entries]))
        self._write(self._list.dump_json(entries))
        self._entries = entries

    def _write(self, content: bytes) -> None:
        beside = self._path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self) -> list[Kept]:
        """What was kept before. A file that somebody broke is put aside: alerts must get through all the same."""
        try:
            entries: list[Kept] = self._list.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except ValueError as error:
            aside = self._path.with_suffix(".unreadable")
            self._path.replace(aside)
            log.error("receiver.unreadable", file=str(self._path), aside=str(aside), error=type(error).__name__)
            return []
        return entries


def _bounded(entries: list[Kept]) -> Iterator[Kept]:
    size = 0
    for entry in entries[:MOST_KEPT]:
        size += len(entry.model_dump_json())
        if size > LARGEST_FILE:
            return
        yield entry


class Verdicts(Collector):
    """The newest verdict of each scenario as metrics: as many series as there are scenarios among what is kept."""

    def __init__(self, board: Board[Verdict]) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        value = GaugeMetricFamily("yiwang_gate_verdict", "1 GO, 0 NO-GO, 0.5 UNSURE.", labels=["scenario"])
        at = GaugeMetricFamily("yiwang_gate_verdict_timestamp_seconds", "When it was given.", labels=["scenario"])
        newest: dict[str, Verdict] = {}
        for verdict in sorted(self._board.entries, key=lambda verdict: verdict.at):
            newest[verdict.scenario] = verdict
        for scenario, verdict in newest.items():
            value.add_metric([scenario], VALUES[verdict.verdict])
            at.add_metric([scenario], verdict.at)
        yield from (value, at)


# --- the application ---------------------------------------------------------------------------------------------

Body = TypeVar("Body", bound=Arrival)


async def _body(request: Request, kind: type[Body]) -> Body:
    """The request's body. Raises Problem: 413 when it is too large, 422 with the places that do not fit."""
    if "origin" in request.headers:
        raise Problem(403, "not-for-browsers", "Programs send this; a page that a browser has open may not.")
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_BODY:
            raise Problem(413, "too-large", f"At most {LARGEST_BODY} bytes.")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        places = [
            {"where": ".".join(map(str, fault["loc"])) or "body", "what": fault["msg"]}
            for fault in error.errors(include_url=False, include_input=False, include_context=False)[:20]
        ]
        raise Problem(422, "invalid", f"This is no {kind.WHAT}.", errors=places) from None


async def _answer_problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    document = problem.document("").model_dump(exclude_defaults=True)
    return JSONResponse(document, problem.status, problem.headers, "application/problem+json")


async def _answer_full_disk(request: Request, error: Exception) -> Response:
    """Alertmanager sends again what was not taken."""
    log.error("receiver.not_kept", error=repr(error))
    problem = Problem(503, "not-kept", "It could not be written to disk.", headers={"Retry-After": "5"})
    return await _answer_problem(request, problem)


def watch_of(settings: ReceiverSettings) -> Watch:
    prometheus, alertmanager = settings.receiver_prometheus, settings.receiver_alertmanager
    return Watch(Prometheus(prometheus), Alertmanager(alertmanager), settings.receiver_runbooks)


def create(folder: Path, watch: Watch | None = None) -> FastAPI:
    notifications = Board(folder / "notifications.json", ReceivedNotification)
    verdicts = Board(folder / "verdicts.json", Verdict)
    registry = CollectorRegistry()
    registry.register(Verdicts(verdicts))
    ProcessCollector(registry=registry)
    received = Counter("yiwang_notifications", "Notifications received, by status.", ["status"], registry=registry)
    for status in ("firing", "resolved"):
        received.labels(status)
    pages = Pages(
        watch or watch_of(ReceiverSettings()),
        lambda: {"verdicts": verdicts.entries, "notifications": notifications.entries},
    )

    app = FastAPI(title="Receiver", docs_url=None, redoc_url=None)
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(OSError, _answer_full_disk)

    @app.post("/alerts", status_code=201)
    async def take_notification(request: Request) -> None:
        notification = await _body(request, Notification)
        notifications.add(ReceivedNotification(**notification.model_dump(), received_at=time.time()))
        received.labels(notification.status).inc()

    @app.get("/alerts", response_model=dict[str, list[ReceivedNotification]])
    async def alerts(request: Request) -> Any:
        if "text/html" in request.headers.get("accept", ""):  # a person, by Prometheus' old address
            return RedirectResponse("/#alerts")
        return {"notifications": list(notifications.entries)}

    @app.post("/verdicts", status_code=201)
    async def take_verdict(request: Request) -> None:
        verdicts.add(await _body(request, Verdict))

    @app.get("/verdicts")
    async def given() -> dict[str, list[Verdict]]:
        return {"verdicts": list(verdicts.entries)}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    app.include_router(pages.router())
    return app


def main() -> None:
    settings = ReceiverSettings()
    configure_logging("receiver")
    app = create(settings.receiver_folder, watch_of(settings))
    uvicorn.run(app, host=settings.bind, port=settings.receiver_port, access_log=False, log_config=None)


if __name__ == "__main__":
    main()
