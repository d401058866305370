"""Forms that only our own pages can send, and whose they are.

A random secret in a `__Host-` cookie, which no sibling site can set, stands for the browser. A form's token is made
with it: proof of the browser, of the log-in in which the page was made, and of the person who was logged in. So a form
is known as ours, as written in this log-in or in another, and by whom. Besides, a browser says where a form comes from,
and must say: from here.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from services.kernel.problems import Problem
from services.pages.cookies import keep_cookie

COOKIE = "__Host-yiwang-form"
SESSION_COOKIE = "__Host-yiwang-session"
"""The cookie of a log-in, on every site of the network."""
BROWSER_LENGTH = 43
COOKIE_SECONDS = 12 * 3600
"""As long as a log-in, from the last page on: a telephone that puts its browser away keeps the form that it shows."""


class ForgedForm(Problem):
    """The form did not come from a page of this site, or its cookie is gone."""

    def __init__(self, detail: str) -> None:
        super().__init__(403, "forged-form", detail)


class StrangeForm(Problem):
    """The form is ours, and was written in another log-in than the one in which it is sent."""

    def __init__(self, form: Form) -> None:
        super().__init__(409, "strange-form", "written in another log-in")
        self.form = form


@dataclass(frozen=True)
class FormToken:
    """`text` goes into the page's `csrf` field, `browser` into the cookie."""

    browser: str
    text: str


@dataclass(frozen=True)
class Form:
    """A form that is ours. `writer` proves who was logged in when its page was made, to `written_by` alone."""

    fields: dict[str, str]
    browser: str
    writer: str
    of_this_log_in: bool

    def written_by(self, person: str) -> bool:
        return hmac.compare_digest(self.writer, writer_of(self.browser, person))


def form_token(request: Request, person: str = "") -> FormToken:
    """The token of a page that is made for `person`. Call `keep_form_token` on the response."""
    browser = browser_of(request) or secrets.token_urlsafe(32)
    return FormToken(browser, token_text(browser, request.cookies.get(SESSION_COOKIE, ""), person))


def token_text(browser: str, log_in: str = "", person: str = "") -> str:
    return ".".join((_proof(browser, "browser"), _proof(browser, "log-in", log_in), writer_of(browser, person)))


def writer_of(browser: str, person: str) -> str:
    """A person in one browser, told without their name."""
    return _proof(browser, "person", person)


def browser_of(request: Request) -> str:
    """The browser's secret, or nothing."""
    kept = request.cookies.get(COOKIE, "")
    return kept if len(kept) == BROWSER_LENGTH else ""


def keep_form_token(response: Response, token: FormToken) -> None:
    keep_cookie(response, COOKIE, token.browser, COOKIE_SECONDS)


async def read_form(request: Request) -> dict[str, str]:
    """The text fields of a form that acts for whoever is logged in, the first of each name.

    Raises:
        ForgedForm: it is not ours.
        StrangeForm: it was written in another log-in.
    """
    form = await receive_form(request)
    if not form.of_this_log_in:
        raise StrangeForm(form)
    return form.fields


async def read_anybodys_form(request: Request) -> dict[str, str]:
    """The same for a form that does what it does whoever is logged in: log-in, look-up, log-out."""
    return (await receive_form(request)).fields


async def receive_form(request: Request) -> Form:
    """The form, once it is proved to be ours. Raises ForgedForm when it is not."""
    received_before: Form | None = getattr(request.state, "form", None)
    if received_before is not None:
        return received_before
    _check_sender(request)
    fields: dict[str, str] = {}
    async with request.form(max_files=0, max_fields=100) as form:
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields.setdefault(name, value)
    browser, token = browser_of(request), fields.pop("csrf", "").encode()
    if browser and hmac.compare_digest(browser.encode(), token):
        # of a page of the release before, which knew of no log-ins; to go when no such page can be open any more
        token = token_text(browser, request.cookies.get(SESSION_COOKIE, "")).encode()
    proof, log_in, writer = (token.split(b".") + [b""] * 3)[:3]
    if not browser or not hmac.compare_digest(_proof(browser, "browser").encode(), proof):
        raise ForgedForm("no form token")
    here = _proof(browser, "log-in", request.cookies.get(SESSION_COOKIE, ""))
    own = hmac.compare_digest(here.encode(), log_in)
    request.state.form = received = Form(fields, browser, writer.decode("ascii", "replace"), own)
    return received


def _check_sender(request: Request) -> None:
    """What the browser says of the page that sent the form.

    `Sec-Fetch-Site` is the browser's own word, which no page can set. A browser that says `same-origin` may keep the
    origin to itself (`null`: a page under `no-referrer`); one that says nothing else must name the origin.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        raise ForgedForm("sent by another site")
    allowed = [None, f"https://{request.headers.get('host', '')}"] + (["null"] if site else [])
    if origin not in allowed:
        raise ForgedForm(f"origin {origin}")


def _proof(browser: str, kind: str, value: str = "") -> str:
    digest = hmac.digest(browser.encode(), f"{kind} {value}".encode("utf-8", "replace"), "sha256")
    return base64.urlsafe_b64encode(digest[:18]).decode()
