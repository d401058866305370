"""The receiver takes what Alertmanager and the gate send, keeps it whole and bounded, and refuses everything else."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitoring import receiver
from monitoring.receiver import Board, Verdict, create

ALERT = {
    "status": "firing",
    "labels": {"alertname": "TargetDown", "host": "cell-a-gateway-2", "tenant": "330106"},
    "annotations": {"summary": "cell-a-gateway-2 answers nobody", "runbook_url": "https://example.org/target-down"},
    "startsAt": "2026-11-24T08:00:00.123Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "c1d2",
}
NOTIFICATION: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="TargetDown"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "board",
    "groupLabels": {"alertname": "TargetDown"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager",
    "alerts": [ALERT],
}


def verdict(kind: str = "GO", at: float = 1_790_000_000, scenario: str = "launch", **more: Any) -> dict[str, Any]:
    return {"scenario": scenario, "verdict": kind, "at": at, "reasons": [], **more}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    return time.time()


class Client:
    """Asks an application without a network."""

    def __init__(self, folder: Path) -> None:
        self._app = create(folder)

    def get(self, path: str) -> httpx.Response:
        return asyncio.run(self._ask("GET", path))

    def post(self, path: str, **body: Any) -> httpx.Response:
        return asyncio.run(self._ask("POST", path, **body))

    async def _ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
            return await client.request(method, path, **body)


@pytest.fixture
def board(tmp_path: Path, now: float) -> Client:
    return Client(tmp_path)


def samples(client: Client) -> list[str]:
    return [
        line
        for line in client.get("/metrics").text.splitlines()
        if line.startswith("yiwang_") and "_created" not in line
    ]


def test_a_notification_is_told_with_its_alerts_and_counted(board: Client, now: float) -> None:
    assert board.post("/alerts", json=NOTIFICATION).status_code == 201
    assert board.post("/alerts", json=NOTIFICATION | {"status": "resolved"}).status_code == 201
    newest, first = board.get("/alerts").json()["notifications"]
    assert (newest["status"], first["status"], first["received_at"]) == ("resolved", "firing", now)
    assert first["alerts"][0]["labels"] == ALERT["labels"] and first["alerts"][0]["status"] == "firing"
    assert 'yiwang_notifications_total{status="firing"} 1.0' in samples(board)


def test_verdicts_are_metrics_of_the_newest_of_each_scenario(board: Client) -> None:
    assert samples(board) == [
        'yiwang_notifications_total{status="firing"} 0.0',
        'yiwang_notifications_total{status="resolved"} 0.0',
    ]
    reason = {"sentence": "p95 at affairs 0.7 s, limit 0.5 s", "component": "cell-a application hosts", "figure": 0.7}
    board.post("/verdicts", json=verdict("GO", 1_790_000_000))
    board.post("/verdicts", json=verdict("NO-GO", 1_790_000_900, reasons=["too few requests", reason]))
    board.post("/verdicts", json=verdict("GO", 1_790_000_300))
    board.post("/verdicts", json=verdict("UNSURE", scenario="cell"))
    told = samples(board)
    assert 'yiwang_gate_verdict{scenario="launch"} 0.0' in told and 'yiwang_gate_verdict{scenario="cell"} 0.5' in told
    assert 'yiwang_gate_verdict_timestamp_seconds{scenario="launch"} 1.7900009e+09' in told
    given = board.get("/verdicts").json()["verdicts"]
    assert len(given) == 4 and given[2]["reasons"] == ["too few requests", reason]


def test_the_page_shows_both_and_runs_nothing_of_what_it_was_sent(board: Client) -> None:
    assert "还没有告警" in board.get("/").text
    script = "<script>alert(1)</script>"
    alert = ALERT | {"annotations": {"summary": script}, "labels": {"alertname": script}}
    assert board.post("/alerts", json=NOTIFICATION | {"alerts": [alert, ALERT]}).status_code == 201
    assert board.post("/verdicts", json=verdict("NO-GO", reasons=[script, {"sentence": script}])).status_code == 201
    page = board.get("/")
    assert page.text.count("&lt;script&gt;") == 4 and "<script" not in page.text
    assert "不可上线" in page.text and "host=cell-a-gateway-2" in page.text and "2026-11-24 16:00:00" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/alerts", b"", "body"),
        ("/alerts", b"not json", "body"),
        ("/alerts", b"[]", "body"),
        ("/alerts", NOTIFICATION | {"version": "3"}, "version"),
        ("/alerts", NOTIFICATION | {"alerts": []}, "alerts"),
        ("/alerts", NOTIFICATION | {"alerts": [{"status": "on fire"}]}, "alerts.0.status"),
        ("/alerts", NOTIFICATION | {"alerts": [ALERT | {"startsAt": "9999-12-31T23:59:59Z"}]}, "alerts.0.startsAt"),
        ("/alerts", b'{"version": "4", "receiver": "\\ud800"}', "body"),
        ("/verdicts", {}, "scenario"),
        ("/verdicts", verdict("MAYBE"), "verdict"),
        ("/verdicts", verdict(at=1_790_000_000_000), "at"),
        ("/verdicts", b'{"scenario": "launch", "verdict": "GO", "at": NaN}', "at"),
        ("/verdicts", verdict(scenario='x"} 1\n'), "scenario"),
        ("/verdicts", verdict(reasons=[{"figure": 1}]), "reasons.0"),
    ],
)
def test_a_bad_body_is_refused_with_the_place_and_nothing_is_kept(
    board: Client, path: str, body: Any, where: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = board.post(path, content=content)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert any(error["where"].startswith(where) and error["what"] for error in answer.json()["errors"]), answer.text
    assert board.get("/alerts").json()["notifications"] == [] and board.get("/verdicts").json()["verdicts"] == []


def test_too_much_is_refused_and_long_texts_are_cut(board: Client) -> None:
    long = ALERT | {"annotations": {"summary": "长" * 5000}}
    assert board.post("/alerts", json=NOTIFICATION | {"alerts": [long]}).status_code == 201
    kept = board.get("/alerts").json()["notifications"][0]["alerts"][0]["annotations"]["summary"]
    assert kept == "长" * receiver.LONGEST_TEXT
    assert board.post("/verdicts", json=verdict("NO-GO", reasons=["too slow"] * 3200)).status_code == 201
    assert len(board.get("/verdicts").json()["verdicts"][0]["reasons"]) == receiver.MOST_REASONS
    assert board.post("/alerts", content=b" " * (receiver.LARGEST_BODY + 1)).status_code == 413


def test_what_was_kept_outlives_a_restart_and_stays_bounded(
    tmp_path: Path, now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "MOST_KEPT", 5)
    client = Client(tmp_path)
    for number in range(8):
        client.post("/verdicts", json=verdict(at=1000 + number))
        client.post("/alerts", json=NOTIFICATION)
    monkeypatch.setattr(receiver, "LARGEST_FILE", 1500)
    client = Client(tmp_path)
    assert [kept["at"] for kept in client.get("/verdicts").json()["verdicts"]] == [1007, 1006, 1005, 1004, 1003]
    assert len(client.get("/alerts").json()["notifications"]) == 5
    client.post("/alerts", json=NOTIFICATION)
    assert 0 < len(client.get("/alerts").json()["notifications"]) < 5
    assert (tmp_path / "notifications.json").stat().st_size < 2000


class InPlace(Board[Verdict]):
    """Known to be bad: writes over the file itself."""

    def _write(self, content: bytes) -> None:
        with self._path.open("wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            os.fsync(file.fileno())
            file.write(content[len(content) // 2 :])


def left_by_a_cut(kind: type[Board[Verdict]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of three kept verdicts are there after a fourth was cut in the middle of its writing."""
    path = folder / "verdicts.json"
    board = kind(path, Verdict)
    for number in range(3):
        board.add(Verdict.model_validate(verdict(at=number)))

    def cut(_: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", cut)
        with pytest.raises(OSError, match="no space"):
            board.add(Verdict.model_validate(verdict(at=3)))
    assert len(board.entries) == 3
    return len(Board(path, Verdict).entries)


def test_a_cut_in_mid_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_by_a_cut(Board, tmp_path, monkeypatch) == 3


def test_a_board_that_writes_in_place_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert left_by_a_cut(InPlace, tmp_path, monkeypatch) == 0


def test_what_the_disk_does_not_take_is_not_acknowledged(board: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        refused = board.post("/alerts", json=NOTIFICATION)
    assert refused.status_code == 503 and refused.headers["retry-after"]
    assert board.get("/alerts").json()["notifications"] == []
    assert board.post("/alerts", json=NOTIFICATION).status_code == 201


def test_a_file_that_somebody_broke_is_put_aside(tmp_path: Path, now: float) -> None:
    (tmp_path / "notifications.json").write_text('[{"version": "4"')
    client = Client(tmp_path)
    assert client.get("/alerts").json()["notifications"] == []
    assert client.post("/alerts", json=NOTIFICATION).status_code == 201
    assert (tmp_path / "notifications.unreadable").read_text().startswith('[{"version"')
