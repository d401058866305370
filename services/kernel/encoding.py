"""Text of a request is UTF-8, or the request is refused: what cannot be decoded is never kept as something else.

Clients that speak GBK exist: their 材料, read as Latin-1, would be kept as `²ÄÁÏ`. JSON is decoded strictly by
its parsers; addresses and forms are by nobody but us.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from starlette import formparsers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from services.kernel.problems import Problem

URLENCODED = b"application/x-www-form-urlencoded"
CHARSET = re.compile(rb"charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
ADVICE = "Text must be UTF-8."


def misaddressed(scope: Scope) -> Problem | None:
    """What to say of a request whose path or query holds bytes, escaped or bare, that are no text."""
    parts = (scope.get("raw_path") or b"", scope["query_string"])
    is_text = all(_is_text(part) for part in parts if b"%" in part or not part.isascii())
    return None if is_text else Problem(400, "not-utf-8", ADVICE)


def decoded(receive: Receive, headers: Sequence[tuple[bytes, bytes]]) -> Receive:
    """`receive`, which refuses a body in another charset and a form that is no text."""
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    if b"charset" in kind.lower() and not _is_utf8(kind):
        return _refusing(415)
    return _checked(receive) if kind[: len(URLENCODED)].lower() == URLENCODED else receive


def _checked(receive: Receive) -> Receive:
    """Forms are small: their length is limited before they come here."""
    read = bytearray()

    async def checked() -> Message:
        message = await receive()
        read.extend(message.get("body", b""))
        if message["type"] == "http.request" and not message.get("more_body") and not _is_text(bytes(read)):
            raise HTTPException(400, ADVICE)
        return message

    return checked


def _refusing(status: int) -> Receive:
    async def refusing() -> Message:
        raise HTTPException(status, ADVICE)

    return refusing


def _is_text(escaped: bytes) -> bool:
    try:
        unquote_to_bytes(escaped).decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(content_type: bytes) -> bool:
    named = CHARSET.search(content_type)
    try:
        return named is None or codecs.lookup(named[1].decode("latin-1")).name == "utf-8"
    except LookupError:
        return False


def _strictly(src: bytes | bytearray, codec: str) -> str:
    try:
        return src.decode()
    except UnicodeDecodeError as error:
        raise formparsers.MultiPartException(ADVICE) from error


# Starlette reads the text of a part that is not UTF-8 as Latin-1, and offers no other way.
formparsers._user_safe_decode = _strictly
