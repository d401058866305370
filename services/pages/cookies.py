"""Cookies, all alike: of one site alone (`__Host-`), over TLS alone, out of reach of scripts.

Lax, since the way back from a log-in begins on identity's site.
"""

from __future__ import annotations

from starlette.responses import Response


def keep_cookie(response: Response, name: str, value: str, seconds: int | None = None) -> None:
    """Without `seconds` it goes when the browser closes."""
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def drop_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
