"""The operator's page: what fires is seen and silenced there, its runbooks open, and nobody else's page can use it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import structlog
from rich.console import Console

from monitoring import render
from monitoring.objectives import load
from monitoring.operators import forms
from monitoring.operators.alertmanager import Alertmanager
from monitoring.operators.forms import UnfitForm, matchers_of, wanted
from monitoring.operators.pages import Watch
from monitoring.prometheus import Prometheus
from monitoring.receiver import create
from tests.support.watched import watched
from tools.commands.environments import _show_sight

PAGE = "http://10.0.1.16:9095"
SILENCE = "0e5b3c1a-6f6e-4f63-9d8c-1f5f3f0a9b11"
ALERT: dict[str, Any] = {
    "fingerprint": "c1d2e3f4a5b60718",
    "labels": {"alertname": "TargetDown", "severity": "page", "environment": "local", "cell": "cell-a", "job": "host",
               "host": "cell-a-gateway-2", "instance": "10.0.0.11:9100", "component": "host", "role": "gateway"},
    "annotations": {"summary": "host on cell-a-gateway-2 does not answer", "description": "0%"},
    "startsAt": "2026-11-24T08:00:00.123Z",
    "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
}  # fmt: skip
FORM = {"matchers": "alertname=TargetDown\nhost=cell-a-gateway-2", "hours": "2", "by": "王工", "reason": "更换网卡"}


class Neighbours:
    """Alertmanager and Prometheus, as their APIs answer; `out` ones refuse the connection."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = [ALERT]
        self.silences: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.out: set[str] = set()
        self.refuses = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.host in self.out:
            raise httpx.ConnectError("refused")
        self.asked.append(f"{request.method} {request.url.path}")
        if request.url.host == "prometheus":
            target = {"labels": {"job": "host", "host": "cell-a-gateway-2"}, "health": "down", "lastError": "no route",
                      "lastScrapeDuration": 0.5}  # fmt: skip
            return httpx.Response(200, json={"status": "success", "data": {"activeTargets": [target]}})
        if request.method == "GET":
            return httpx.Response(200, json=self.alerts if request.url.path.endswith("alerts") else self.silences)
        if self.refuses:
            return httpx.Response(400, text="silence invalid")
        if request.method == "POST":
            silence = json.loads(request.content)
            self.silences.append(
                silence | {"id": SILENCE, "status": {"state": "active"}, "updatedAt": ALERT["startsAt"]}
            )
            return httpx.Response(200, json={"silenceID": SILENCE})
        self.silences[0]["status"]["state"] = "expired"
        return httpx.Response(200)


class Operator:
    """A browser at the page: it says where its forms come from."""

    def __init__(self, folder: Path, neighbours: Neighbours) -> None:
        client = httpx.Client(transport=httpx.MockTransport(neighbours.answer))
        watch = Watch(Prometheus("http://prometheus", client), Alertmanager("http://alertmanager", client), folder)
        for name, text in render.files(watched(), load()).items():
            if name.startswith("runbooks/"):
                (folder / Path(name).name).write_text(text)
        self._app = create(folder, watch)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return asyncio.run(self._ask("GET", path, headers=headers))

    def post(self, path: str, fields: dict[str, str] | bytes = b"", base: str = PAGE, **headers: str) -> httpx.Response:
        content = fields if isinstance(fields, bytes) else urlencode(fields).encode()
        own = {"origin": base, "content-type": "application/x-www-form-urlencoded"}
        return asyncio.run(self._ask("POST", path, base, content=content, headers={**own, **headers}))

    async def _ask(self, method: str, path: str, base: str = PAGE, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url=base) as client:
            return await client.request(method, path, **more)


class Fields(HTMLParser):
    """The fields of a page's form, as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._in = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "textarea":
            self._in = given["name"] or ""
        elif tag == "input":
            self.found[given["name"] or ""] = given.get("value") or ""
        elif tag == "option" and "selected" in given:
            self.found["hours"] = given["value"] or ""

    def handle_data(self, data: str) -> None:
        if self._in:
            self.found[self._in] = self.found.get(self._in, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._in = "" if tag == "textarea" else self._in


@pytest.fixture
def neighbours() -> Neighbours:
    return Neighbours()


@pytest.fixture
def operator(tmp_path: Path, neighbours: Neighbours) -> Operator:
    return Operator(tmp_path, neighbours)


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with structlog.testing.capture_logs() as logs:
        yield logs


def test_what_fires_is_seen_with_its_runbook_and_what_does_not_answer(operator: Operator) -> None:
    page = operator.get("/").text
    assert "TargetDown" in page and "host=cell-a-gateway-2" in page and "2026-11-24 16:00:00" in page
    assert 'href="/runbooks/TargetDown"' in page and "1 个目标，1 个没有回答" in page
    assert f'href="/silences/new?alert={ALERT["fingerprint"]}"' in page
    assert 'href="http://10.0.1.16:9090/classic/graph"' in page
    assert "no route" in operator.get("/targets").text


def test_every_alerts_link_opens_a_runbook(operator: Operator) -> None:
    rules = "".join(text for name, text in render.files(watched(), load()).items() if name.startswith("rules/"))
    links = set(re.findall(r"runbook_url: (\S+)", rules))
    assert len(links) > 20 and all(link.startswith(f"{PAGE}/runbooks/") for link in links)
    for link in sorted(links):
        page = operator.get(link.removeprefix(PAGE))
        assert page.status_code == 200 and "## Mend" in page.text, link
    assert operator.get("/runbooks/NothingLikeIt").status_code == 404
    assert operator.get("/runbooks/..%2f..%2fetc%2fpasswd").status_code == 404
    assert operator.get("/runbooks").text.count('href="/runbooks/') == len(links)


def test_an_alert_is_silenced_seen_as_such_and_let_go(operator: Operator, neighbours: Neighbours) -> None:
    filled = Fields(operator.get(f"/silences/new?alert={ALERT['fingerprint']}").text).found
    assert filled["matchers"].strip() == "alertname=TargetDown\ncell=cell-a\nhost=cell-a-gateway-2\njob=host"
    sent = operator.post("/silences", filled | {"by": "王工", "reason": "更换网卡", "hours": "4"})
    assert sent.status_code == 303 and sent.headers["location"] == "/#silences"
    kept = neighbours.silences[0]
    assert {"name": "host", "value": "cell-a-gateway-2", "isRegex": False, "isEqual": True} in kept["matchers"]
    hours = datetime.fromisoformat(kept["endsAt"]) - datetime.fromisoformat(kept["startsAt"])
    assert round(hours.total_seconds() / 3600, 3) == 4 and kept["createdBy"] == "王工"
    neighbours.alerts = [ALERT | {"status": {"state": "suppressed", "silencedBy": [SILENCE], "inhibitedBy": []}}]
    page = operator.get("/").text
    assert "已静默" in page and "更换网卡" in page and f'action="/silences/{SILENCE}/end"' in page
    assert operator.post(f"/silences/{SILENCE}/end").status_code == 303
    assert f"DELETE /api/v2/silence/{SILENCE}" in neighbours.asked and "更换网卡" not in operator.get("/").text


@pytest.mark.parametrize(
    ("base", "headers"),
    [
        (PAGE, {"origin": "https://elsewhere.example"}),
        (PAGE, {"origin": "null"}),
        (PAGE, {"origin": ""}),
        (PAGE, {"origin": "http://10.0.1.16:9096"}),
        (PAGE, {"origin": "http://[10.0.1.16:9095"}),
        ("http://elsewhere.example:9095", {}),  # a name of a stranger's that leads here
        (PAGE, {"origin": "http://[::1", "host": "[::1"}),
        (f"http://{socket.gethostname()}.elsewhere.example:9095", {}),
    ],
    ids=[
        "another site",
        "nowhere",
        "unsaid",
        "another port",
        "malformed",
        "rebound",
        "both malformed",
        "our first name",
    ],
)
def test_a_form_of_somebody_elses_page_does_nothing(
    operator: Operator, neighbours: Neighbours, base: str, headers: dict[str, str]
) -> None:
    for path in ("/silences", f"/silences/{SILENCE}/end"):
        refused = operator.post(path, FORM, base, **headers)
        assert refused.status_code == 403 and "表单没有被接受" in refused.text
    assert neighbours.silences == [] and not [request for request in neighbours.asked if not request.startswith("GET")]


@pytest.mark.parametrize(
    "base", [PAGE, "http://localhost:9095", "http://[::1]:9095", f"http://{socket.gethostname()}:9095"]
)
def test_the_page_works_by_every_way_that_leads_to_it(operator: Operator, base: str) -> None:
    assert operator.post("/silences", FORM, base).status_code == 303


def test_a_page_is_shown_whatever_the_request_calls_the_host(operator: Operator) -> None:
    for path in ("/", "/targets"):
        shown = operator.get(path, host="[::1")
        assert shown.status_code == 200 and 'href="http://localhost:9090/classic/' in shown.text


@pytest.mark.parametrize("path", ["/alerts", "/verdicts"])
def test_no_page_can_send_what_programs_send(operator: Operator, path: str) -> None:
    body = json.dumps({"scenario": "launch", "verdict": "GO", "at": 1.0}).encode()
    assert operator.post(path, body, origin="https://elsewhere.example").status_code == 403
    assert operator.get("/verdicts").json() == {"verdicts": []}


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"matchers": ""}, "1 至 10 个条件"),
        ({"matchers": "severity=page"}, "范围太大"),
        ({"matchers": "environment=local\nseverity=page"}, "范围太大"),
        ({"matchers": "host"}, "不是“标签=值”"),
        ({"matchers": "host="}, "不是“标签=值”"),
        ({"matchers": "9host=a"}, "不是“标签=值”"),
        ({"matchers": "host=a\u202eb"}, "不是“标签=值”"),
        ({"matchers": "host=" + "a" * 201}, "不是“标签=值”"),
        ({"matchers": "host=a\nhost=b"}, "只能写一次"),
        ({"matchers": "\n".join(f"host{number}=a" for number in range(11))}, "1 至 10 个条件"),
        ({"hours": "720"}, "请选择时长"),
        ({"hours": "-1"}, "请选择时长"),
        ({"by": " \u3000"}, "请填写经办人"),
        ({"reason": ""}, "请填写原因"),
        ({"reason": "长" * 201}, "请填写原因"),
    ],
)
def test_what_does_not_fit_is_said_and_what_was_typed_stays(
    operator: Operator, neighbours: Neighbours, change: dict[str, str], advice: str
) -> None:
    answer = operator.post("/silences", FORM | change)
    assert answer.status_code == 422 and advice in answer.text
    typed = Fields(answer.text).found
    assert typed["by"] == (FORM | change)["by"] and typed["matchers"].strip() == (FORM | change)["matchers"]
    assert neighbours.silences == []


def test_a_form_that_is_too_large_or_no_text_is_refused(operator: Operator) -> None:
    assert operator.post("/silences", FORM | {"reason": "a" * forms.LARGEST_FORM}).status_code == 422
    assert operator.post("/silences", b"matchers=%ff%fe").status_code == 422
    assert operator.post("/silences", b"&".join(b"a%d=1" % number for number in range(30))).status_code == 422


@pytest.mark.parametrize("out", ["alertmanager", "prometheus"])
def test_a_neighbour_that_is_out_is_said_and_the_rest_is_shown(
    operator: Operator, neighbours: Neighbours, out: str
) -> None:
    neighbours.out = {out}
    page = operator.get("/")
    assert page.status_code == 200
    assert ("Alertmanager 没有回答" in page.text) == (out == "alertmanager")
    assert ("Prometheus 没有回答" in page.text) == (out == "prometheus")
    assert ("没有告警。" in page.text) is False, "what is not known is no all-clear"
    assert operator.get("/targets").status_code == operator.get("/silences/new").status_code == 200


def test_a_silence_that_is_not_taken_is_no_success(operator: Operator, neighbours: Neighbours) -> None:
    neighbours.refuses = True
    refused = operator.post("/silences", FORM)
    assert refused.status_code == 503 and Fields(refused.text).found["reason"] == FORM["reason"]
    assert operator.post(f"/silences/{SILENCE}/end").status_code == 503
    assert operator.post("/silences/..%2falerts/end").status_code == 404


def test_prometheus_old_address_of_alerts_leads_a_person_on(operator: Operator) -> None:
    assert operator.get("/alerts", accept="text/html,application/xhtml+xml").headers["location"] == "/#alerts"
    assert operator.get("/alerts").json() == {"notifications": []}


def test_nothing_that_was_sent_runs(operator: Operator, neighbours: Neighbours) -> None:
    script = "<script>alert(1)</script>"
    neighbours.alerts = [ALERT | {"labels": {"alertname": script, "host": script}, "annotations": {"summary": script}}]
    page = operator.get("/")
    assert "<script" not in page.text and page.text.count("&lt;script&gt;") >= 3
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "same-origin", "with no-referrer a browser sends `Origin: null`"
    assert "<script" not in operator.get(f"/silences/new?alert={ALERT['fingerprint']}").text


@pytest.mark.parametrize(
    "alerts", [[], [{"name": "TargetDown", "summary": "host does not answer", "labels": {}}], None]
)
def test_status_names_the_page_whatever_fires(alerts: list[dict[str, Any]] | None) -> None:
    console = Console(width=200, file=io.StringIO(), highlight=False)
    _show_sight(console, {"prometheus": "http://10.0.1.16:9090", "receiver": PAGE, "alerts": alerts})
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert f"see and silence: {PAGE} " in told and "http://10.0.1.16:9090/classic/graph" in told
    assert (f"{PAGE}/runbooks/TargetDown" in told) == bool(alerts)


def test_matchers_are_read_line_by_line() -> None:
    matchers = matchers_of("\n host = cell-a-gateway-2 \r\n\nalertname=A=B\n")
    assert [str(matcher) for matcher in matchers] == ["host=cell-a-gateway-2", "alertname=A=B"]
    assert wanted(FORM | {"by": " 王工 "}).by == "王工"
    with pytest.raises(UnfitForm):
        wanted({})


def test_the_times_are_aware() -> None:
    alertmanager = Alertmanager("http://alertmanager", httpx.Client(transport=httpx.MockTransport(Neighbours().answer)))
    assert alertmanager.alerts()[0].startsAt == datetime(2026, 11, 24, 8, 0, 0, 123000, UTC)
