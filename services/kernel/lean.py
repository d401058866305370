"""What a lean route is made of: it answers a hot operation ahead of FastAPI, see `http.create_app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.types import Receive, Scope, Send

from services.kernel.problems import NotAuthenticated, Problem
from services.kernel.runtime import Kernel
from services.kernel.tokens import Principal

LeanRoute = Callable[[Kernel, Scope, Receive, Send], Awaitable[None]]


async def read_body(receive: Receive) -> bytes:
    """The body of a lean route's request. Raises a Problem when the client goes away amid it."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "incomplete", "The request ended before its body did.")
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


async def bearer(kernel: Kernel, scope: Scope) -> Principal:
    """The caller of a lean route. Raises NotAuthenticated."""
    scheme, _, token = header_of(scope["headers"], b"authorization").partition(" ")
    if scheme.lower() != "bearer":
        raise NotAuthenticated()
    return await kernel.verifier.verify(token)


async def answer_json(send: Send, status: int, content: bytes) -> None:
    """The answer of a lean route."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def header_of(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str:
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return ""
