"""Forms that only our own pages can send, and what a person typed into them.

A double-submit cookie: a random value in a `__Host-` cookie, which no sibling site can set, and the same value in each
form. A browser that says where the form came from must say: here.
"""

from __future__ import annotations

import secrets

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "__Host-yiwang-form"


class ForgedForm(Exception):
    """The form did not come from a page of this site, or its cookie is gone."""


def form_token(request: Request) -> str:
    """The value for a page's `csrf` field. Call `keep_form_token` on the response."""
    token = request.cookies.get(COOKIE, "")
    return token if len(token) == 43 else secrets.token_urlsafe(32)


def keep_form_token(response: Response, token: str) -> None:
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="lax")


async def read_form(request: Request) -> dict[str, str]:
    """The form's text fields, the first of each name, once it is proved to be ours.

    Raises:
        ForgedForm: it is not.
    """
    origin = request.headers.get("origin")
    if origin not in (None, f"https://{request.headers.get('host', '')}"):
        raise ForgedForm(f"origin {origin}")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ForgedForm("sent by another site")
    fields: dict[str, str] = {}
    async with request.form(max_files=0, max_fields=100) as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields.setdefault(name, value)
    kept = request.cookies.get(COOKIE, "")
    if not kept or not secrets.compare_digest(kept.encode(), fields.pop("csrf", "").encode()):
        raise ForgedForm("no form token")
    return fields
