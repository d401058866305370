"""Running a service: uvicorn on uvloop and httptools; SIGTERM finishes what was begun."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.kernel.http import Service
from services.kernel.problems import Problem
from services.kernel.telemetry import configure_logging


class GatheringTransport:
    """A transport whose writes of one turn of the event loop leave together.

    uvicorn writes an answer's head and body apart: two system calls here, two wake-ups of the gateway.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._transport.write(b"".join(waiting))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


MALFORMED = Problem(400, "malformed-request", "This is no HTTP request that is understood here.").document("")


class GatheringProtocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, GatheringTransport(transport, self.loop)))

    def on_headers_complete(self) -> None:
        self.url = with_path(self.url)
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        body = MALFORMED.model_dump_json(exclude_defaults=True).encode()
        head = f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head.encode() + body)
        self.transport.close()


def with_path(target: bytes) -> bytes:
    """A request's target; a host without a path is its root (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or not scheme.isalpha() or b"/" in rest.partition(b"?")[0]:
        return target
    host, query, asked = rest.partition(b"?")
    return scheme + separator + host + b"/" + query + asked


def serve(service: Service) -> None:
    settings = service.kernel.settings
    configure_logging(settings.service, settings.log_level)
    uvicorn.run(
        service,
        host=settings.bind,
        port=settings.port,
        loop="uvloop",
        http=GatheringProtocol,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.drain_seconds,
        backlog=4096,
    )
