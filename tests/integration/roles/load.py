"""Requests through gateways while something happens to the hosts behind them."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


def ask(
    address: str,
    site: str,
    path: str = "/",
    method: str = "GET",
    headers: dict[str, str] | None = None,
    port: int = 8080,
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one request."""
    connection = http.client.HTTPConnection(address, port, timeout=40)
    try:
        body = b"{}" if method == "POST" else None
        connection.request(method, path, body, {"Host": site, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, json.loads(content) if content.startswith(b"{") else content
    finally:
        connection.close()


@dataclass
class Load:
    """Filings sent by a few threads to one site until `end`, each with its own idempotency key."""

    gateways: list[str]
    site: str
    path: str
    answers: Counter[str] = field(default_factory=Counter)
    trees: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        sent = 0
        while not self._over.wait(0.2):
            sent += 1
            gateway = self.gateways[(number + sent) % len(self.gateways)]
            try:
                key = {"Idempotency-Key": f"{number}-{sent}"}
                status, _, content = ask(gateway, self.site, self.path, "POST", key)
            except (OSError, http.client.HTTPException) as error:
                self.answers[repr(error)] += 1
                continue
            self.answers[str(status)] += 1
            if status == 200:
                self.trees[content["tree"]] += 1

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
