"""The receiver as a process: what it acknowledged is there after any kill."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.backends import free_port, listening, start, stop
from tests.integration.network import REPOSITORY
from tests.support.waiting import wait_until

KILLS = 6
SEED = 9

# Known to be bad: acknowledges what it has in its memory alone.
LATE = """
import monitoring.receiver as receiver
receiver.Board._write = lambda board, content: None
receiver.main()
"""


class Receiver:
    def __init__(self, folder: Path, *program: str) -> None:
        self._folder = folder
        self._program = program
        self.port = free_port()
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        log = self._folder / "receiver.log"
        environment = {"YIWANG_RECEIVER_PORT": str(self.port), "YIWANG_RECEIVER_FOLDER": str(self._folder)}
        self.process = start([sys.executable, *self._program], log, PYTHONPATH=str(REPOSITORY), **environment)
        wait_until(lambda: listening(self.port) or self.process.poll() is not None, 30, "the receiver listens")
        assert self.process.poll() is None, log.read_text()[-3000:]

    def kill(self) -> None:
        stop(self.process, signal.SIGKILL)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10, trust_env=False)

    def kept(self) -> set[float]:
        with self.client() as client:
            return {verdict["at"] for verdict in client.get("/verdicts").json()["verdicts"]}


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(*program: str) -> Receiver:
        made.append(Receiver(tmp_path, *program))
        made[-1].start()
        return made[-1]

    yield make
    for started in made:
        started.kill()


def lost_over_kills(receiver: Receiver, kills: int) -> int:
    """Verdicts that were acknowledged and are gone, over kills at random moments while others arrive."""
    chance = random.Random(SEED)
    acknowledged: set[float] = set()
    at = 0.0
    for _ in range(kills):
        killer = threading.Timer(chance.uniform(0.01, 0.2), receiver.process.kill)
        killer.start()
        with receiver.client() as client, contextlib.suppress(httpx.HTTPError):
            while True:
                at += 1
                body = {"scenario": "launch", "verdict": "GO", "at": at, "reasons": ["x" * 500]}
                if client.post("/verdicts", json=body).status_code == 201:
                    acknowledged.add(at)
        killer.join()
        receiver.kill()
        receiver.start()
        newest = {moment for moment in acknowledged if moment > at - 250}  # it keeps three hundred
        lost = newest - receiver.kept()
        if lost:
            return len(lost)
    assert acknowledged
    return 0


def test_what_was_acknowledged_outlives_kills(receiver: Callable[..., Receiver]) -> None:
    assert lost_over_kills(receiver("-m", "monitoring.receiver"), KILLS) == 0


def test_a_receiver_that_acknowledges_before_it_writes_is_caught(receiver: Callable[..., Receiver]) -> None:
    assert lost_over_kills(receiver("-c", LATE), KILLS) > 0


def test_it_ends_when_it_is_asked_to(receiver: Callable[..., Receiver]) -> None:
    running = receiver("-m", "monitoring.receiver")
    with running.client() as client:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert "process_cpu_seconds_total" in client.get("/metrics").text
    stop(running.process)
    assert running.process.returncode in (0, -signal.SIGTERM)
