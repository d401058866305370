"""One request to a gateway or straight to a host."""

from __future__ import annotations

import http.client
import json
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
