"""A real service with one known defect, for the gate to find.

Python imports this module before a program when its folder is on PYTHONPATH. `YIWANG_SPOILED` names the defect. What
watches the service is answered as ever: a gateway must not notice, only who uses it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive, Scope, Send

from services.kernel.http import WATCHED, Service
from services.kernel.lean import answer_json

Answer = Callable[[Service, Scope, Receive, Send], Awaitable[str]]

SLOWER_SECONDS = 0.3
FAILS_EVERY = 50
WRONG = b'{"unexpected": true}'
_count = itertools.count(1)
_answer: Answer = Service._answer


async def slow(service: Service, scope: Scope, receive: Receive, send: Send) -> str:
    await asyncio.sleep(SLOWER_SECONDS)
    return await _answer(service, scope, receive, send)


async def failing(service: Service, scope: Scope, receive: Receive, send: Send) -> str:
    """2 % are answered 500."""
    if next(_count) % FAILS_EVERY:
        return await _answer(service, scope, receive, send)
    await answer_json(send, 500, b'{"title": "Internal Server Error", "status": 500}')
    return "spoiled"


async def wrong(service: Service, scope: Scope, receive: Receive, send: Send) -> str:
    """A case that is read has the right code and a body that fits no schema."""
    if scope["method"] != "GET" or "/cases/" not in scope["path"]:
        return await _answer(service, scope, receive, send)

    async def send_wrong(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"content-length"]
            message["headers"] = [*kept, (b"content-length", str(len(WRONG)).encode())]
        elif message["type"] == "http.response.body":
            message = {"type": "http.response.body", "body": b"" if message.get("more_body") else WRONG}
            message["more_body"] = not message["body"]
        await send(message)

    return await _answer(service, scope, receive, send_wrong)


DEFECTS: dict[str, Answer] = {"slow": slow, "failing": failing, "wrong": wrong}


def spoil(defect: Answer) -> None:
    async def answer(service: Service, scope: Scope, receive: Receive, send: Send) -> str:
        bad = scope["path"] not in WATCHED
        return await (defect if bad else _answer)(service, scope, receive, send)

    setattr(Service, "_answer", answer)  # noqa: B010 - a method of another is replaced, which types rightly refuse


if "YIWANG_SPOILED" in os.environ:
    spoil(DEFECTS[os.environ["YIWANG_SPOILED"]])
