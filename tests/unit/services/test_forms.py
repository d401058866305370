"""Which forms are ours, and whose: what a browser says of the sender, and what a form's token proves."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from services.pages.forms import (
    BROWSER_LENGTH,
    COOKIE,
    SESSION_COOKIE,
    ForgedForm,
    Form,
    StrangeForm,
    form_token,
    keep_form_token,
    read_anybodys_form,
    read_form,
    receive_form,
    token_text,
)

HERE = "https://here.test:8443"
BROWSER = "b" * BROWSER_LENGTH


def request(headers: dict[str, str], log_in: str = "a", browser: str = BROWSER, **fields: str) -> Request:
    cookies = f"{COOKIE}={browser}" + (f"; {SESSION_COOKIE}={log_in}" if log_in else "")
    sent = {"host": "here.test:8443", "content-type": "application/x-www-form-urlencoded", "cookie": cookies, **headers}

    async def receive() -> Message:
        return {"type": "http.request", "body": urlencode(fields).encode()}

    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def received(headers: dict[str, str]) -> Form:
    return asyncio.run(receive_form(request(headers, csrf=token_text(BROWSER, "a", "citizen-1"), name="沈小禾")))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": HERE},
        {"origin": HERE, "sec-fetch-site": "same-origin"},
        {"origin": "null", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
    ],
)
def test_what_a_browser_sends_from_our_page_is_taken(headers: dict[str, str]) -> None:
    assert received(headers).fields == {"name": "沈小禾"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null"},
        {"origin": "https://thief.test"},
        {"origin": "http://here.test:8443"},
        {"origin": "https://thief.test", "sec-fetch-site": "same-origin"},
        {"origin": HERE, "sec-fetch-site": "same-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
    ],
)
def test_what_another_site_makes_a_browser_send_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ForgedForm):
        received(headers)


@pytest.mark.parametrize(
    "token", ["", "x", BROWSER[:-1], token_text("c" * BROWSER_LENGTH, "a", "citizen-1"), "é..", ".."]
)
def test_a_form_without_this_browsers_token_is_refused(token: str) -> None:
    with pytest.raises(ForgedForm):
        asyncio.run(receive_form(request({}, csrf=token)))


def test_a_form_of_the_release_before_is_taken_and_says_of_nobody_that_they_wrote_it() -> None:
    """Its token was the browser's secret. Such pages are open when a release is rolled out."""
    form = asyncio.run(receive_form(request({}, csrf=BROWSER, name="沈小禾")))
    assert (form.fields, form.of_this_log_in, form.written_by("")) == ({"name": "沈小禾"}, True, True)
    with pytest.raises(ForgedForm):
        asyncio.run(receive_form(request({"origin": "https://thief.test"}, csrf=BROWSER)))


@pytest.mark.parametrize("browser", ["", "short"])
def test_no_token_is_good_without_a_browsers_secret(browser: str) -> None:
    with pytest.raises(ForgedForm):
        asyncio.run(receive_form(request({}, browser=browser, csrf=token_text(browser, "a"))))


@pytest.mark.parametrize("now", ["b", ""])
def test_a_form_of_another_log_in_acts_for_nobody(now: str) -> None:
    token = token_text(BROWSER, "a", "citizen-1")
    with pytest.raises(StrangeForm) as strange:
        asyncio.run(read_form(request({}, log_in=now, csrf=token, reason="x")))
    assert strange.value.form.fields == {"reason": "x"}
    assert strange.value.form.written_by("citizen-1")
    assert not strange.value.form.written_by("citizen-2")
    assert asyncio.run(read_anybodys_form(request({}, log_in=now, csrf=token, reason="x"))) == {"reason": "x"}


def test_a_token_tells_nothing_that_it_was_made_of() -> None:
    text = token_text(BROWSER, "the-session", "citizen-1")
    assert not any(secret in text for secret in (BROWSER, "the-session", "citizen-1"))
    assert len({token_text(BROWSER, *made) for made in (("a", "b"), ("b", "a"), ("a", ""), ("", "a"))}) == 4


def test_the_browsers_secret_is_kept_as_long_as_a_log_in() -> None:
    """A telephone puts its browser away and brings the page back: its form is still ours."""
    response = Response()
    keep_form_token(response, form_token(request({}, browser="")))
    [cookie] = response.headers.getlist("set-cookie")
    assert re.fullmatch(
        rf"{COOKIE}=[\w-]{{{BROWSER_LENGTH}}}; HttpOnly; Max-Age=43200; Path=/; SameSite=lax; Secure", cookie
    )


def test_every_form_that_is_posted_holds_the_token() -> None:
    templates = sorted(Path(__file__).parents[3].glob("services/**/templates/*.html"))
    forms = [
        (template.name, form)
        for template in templates
        for form in re.findall(r"<form\b.*?</form>", template.read_text(encoding="utf-8"), re.DOTALL)
        if 'method="post"' in form
    ]
    assert len(forms) >= 15
    assert not [name for name, form in forms if "csrf" not in form]
