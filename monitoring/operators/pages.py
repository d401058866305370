"""The operator's pages, without JavaScript:

    /                     what fires, what is silenced, what does not answer, verdicts, notifications
    /targets              everything that is scraped
    /silences/new         a silence to fill in; `?alert=` names the alert that it begins with
    /runbooks/{alert}     the alert's runbook, as text

Alertmanager and Prometheus run beside it. Where one of them does not answer the page says so and shows the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monitoring.operators import forms
from monitoring.operators.alertmanager import Alert, Alertmanager, AlertmanagerError, Silence
from monitoring.operators.forms import ForgedForm, UnfitForm
from monitoring.prometheus import Prometheus, PrometheusError, Target
from services.kernel.calendar import SHANGHAI

log = structlog.get_logger(__name__)

MOST_SHOWN = 300
PROMETHEUS_PORT = 9090
RUNBOOK = re.compile(r"[A-Z][A-Za-z]{0,63}")
SILENCE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # with `no-referrer` a browser would not say where a form comes from
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
Boards = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Watch:
    """What the pages are made from."""

    prometheus: Prometheus
    alertmanager: Alertmanager
    runbooks: Path


@dataclass(frozen=True)
class Sight:
    """What fires and what is silenced, or why that is not known."""

    alerts: list[Alert]
    silences: list[Silence]
    trouble: str = ""


def shown(moment: datetime) -> str:
    return moment.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M:%S")


class Pages:
    def __init__(self, watch: Watch, boards: Boards) -> None:
        self._watch = watch
        self._boards = boards
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["shown"] = shown

    def router(self) -> APIRouter:
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/", self.front, methods=["GET"])
        router.add_api_route("/targets", self.targets, methods=["GET"])
        router.add_api_route("/runbooks", self.runbooks, methods=["GET"])
        router.add_api_route("/runbooks/{name}", self.runbook, methods=["GET"])
        router.add_api_route("/silences/new", self.new_silence, methods=["GET"])
        router.add_api_route("/silences", self.add_silence, methods=["POST"])
        router.add_api_route("/silences/{identifier}/end", self.end_silence, methods=["POST"])
        return router

    def front(self, request: Request) -> Response:
        sight = self._sight()
        targets, trouble = self._targets()
        silenced = {silence.id: silence for silence in sight.silences}
        return self._page("front.html", sight=sight, silenced=silenced, targets=targets, most=MOST_SHOWN,
                          prometheus_trouble=trouble, prometheus=_prometheus(request), has_runbook=self._has_runbook,
                          **self._boards())  # fmt: skip

    def targets(self, request: Request) -> Response:
        targets, trouble = self._targets()
        return self._page("targets.html", targets=targets, trouble=trouble, prometheus=_prometheus(request))

    def runbooks(self) -> Response:
        return self._page("runbooks.html", names=sorted(path.stem for path in self._watch.runbooks.glob("[A-Z]*.md")))

    def runbook(self, name: str) -> Response:
        if not self._has_runbook(name):
            return self._problem(404, "没有这一页处置手册", "请从手册目录中选择。")
        text = (self._watch.runbooks / f"{name}.md").read_text("utf-8")
        return self._page("runbook.html", name=name, text=text)

    def new_silence(self, alert: str = "") -> Response:
        """Filled in with the alert's labels; empty where there is no such alert any more, as for planned work."""
        firing = next((firing for firing in self._sight().alerts if firing.fingerprint == alert), None)
        labels = firing.labels if firing else {}
        lines = [f"{name}={value}" for name, value in sorted(labels.items()) if name not in forms.BESIDE]
        return self._form({"matchers": "\n".join(lines)})

    async def add_silence(self, request: Request) -> Response:
        try:
            fields = await forms.read_form(request)
        except ForgedForm:
            return self._forged()
        except UnfitForm as error:
            return self._form({}, str(error), 422)
        try:
            wanted = forms.wanted(fields)
            until = datetime.now(UTC) + timedelta(hours=wanted.hours)
            ask = self._watch.alertmanager.silence
            identifier = await run_in_threadpool(ask, wanted.matchers, until, wanted.by, wanted.reason)
        except UnfitForm as error:
            return self._form(fields, str(error), 422)
        except AlertmanagerError as error:
            log.error("operators.not_silenced", error=str(error))
            return self._form(fields, "Alertmanager 没有接受，请稍后再提交", 503)
        log.info("operators.silenced", silence=identifier, by=wanted.by, matchers=list(map(str, wanted.matchers)))
        return RedirectResponse("/#silences", 303)

    async def end_silence(self, request: Request, identifier: str) -> Response:
        try:
            await forms.read_form(request)
        except (ForgedForm, UnfitForm):
            return self._forged()
        if not SILENCE.fullmatch(identifier):
            return self._problem(404, "没有这条静默", "它可能已经结束，请回到首页查看。")
        try:
            await run_in_threadpool(self._watch.alertmanager.expire, identifier)
        except AlertmanagerError as error:
            log.error("operators.not_ended", silence=identifier, error=str(error))
            return self._problem(503, "静默没有结束", "Alertmanager 没有接受，请回到首页查看后再试。")
        log.info("operators.ended", silence=identifier)
        return RedirectResponse("/#silences", 303)

    def _sight(self) -> Sight:
        try:
            return Sight(self._watch.alertmanager.alerts(), self._watch.alertmanager.silences())
        except AlertmanagerError as error:
            return Sight([], [], str(error))

    def _targets(self) -> tuple[list[Target], str]:
        try:
            targets = self._watch.prometheus.targets()
        except PrometheusError as error:
            return [], str(error)
        return sorted(targets, key=lambda target: (target.up, target.job, target.host)), ""

    def _has_runbook(self, name: str) -> bool:
        return bool(RUNBOOK.fullmatch(name)) and (self._watch.runbooks / f"{name}.md").is_file()

    def _form(self, fields: Mapping[str, str], trouble: str = "", status: int = 200) -> Response:
        typed = {name: fields.get(name, "") for name in ("matchers", "hours", "by", "reason")}
        return self._page("silence.html", status, typed=typed, trouble=trouble, limits=forms)

    def _forged(self) -> Response:
        return self._problem(403, "表单没有被接受", "它不是从本页提交的。请回到首页，再填写一次。")

    def _problem(self, status: int, heading: str, advice: str) -> Response:
        return self._page("problem.html", status, heading=heading, advice=advice)

    def _page(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(template).render(**context), status, HEADERS)


def _prometheus(request: Request) -> str:
    """Prometheus' own pages, as this page was reached: Debian's edition has its classic ones alone."""
    name = forms.netloc_of(f"//{request.headers.get('host', '')}").rpartition(":")[0] or "localhost"
    return f"http://{name}:{PROMETHEUS_PORT}/classic"
