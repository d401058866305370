from __future__ import annotations

import pytest
from starlette.types import Message, Receive

from services.kernel.lean import read_body
from services.kernel.problems import Problem


def receiving(*messages: Message) -> Receive:
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    return receive


def part(content: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


async def test_a_body_is_read_in_as_many_parts_as_it_comes() -> None:
    assert await read_body(receiving(part(b"a", True), part(b"b", True), part(b"", False))) == b"ab"
    assert await read_body(receiving({"type": "http.request"})) == b""


async def test_a_body_that_was_cut_off_is_never_taken_for_a_whole_one() -> None:
    with pytest.raises(Problem, match="400 incomplete"):
        await read_body(receiving(part(b'{"whole": 1}', True), {"type": "http.disconnect"}))
