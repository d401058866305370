"""What a site may ask for, parameter by parameter: each is supported, ignored as the standards allow, or refused.

The core judges what it is made for; here is what it passes over in silence or answers at the wrong place. As long as we
do not know the site and its address, what is wrong is told on a page, and from then on to the site. The whole table is
`docs/openid-connect.md`; a test holds it, the discovery document and what really happens together.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from authlib.oauth2.base import OAuth2Error

from services.identity.protocol.clients import Client
from services.identity.protocol.requests import ProtocolRequest
from services.identity.sessions.browser import is_way
from services.identity.sessions.store import Session

RESPONSE_TYPES = ("code",)
RESPONSE_MODES = ("query",)
PROMPTS = ("none", "login")
# prompts that a standard knows and we do not offer, and what it wants to be answered
REFUSED_PROMPTS = {"consent": "consent_required", "select_account": "account_selection_required"}
REFUSED = {
    "request": "request_not_supported",
    "request_uri": "request_uri_not_supported",
    "registration": "registration_not_supported",
}
AUTHORIZATION = frozenset(
    {
        "acr_values",
        "claims",
        "claims_locales",
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "display",
        "id_token_hint",
        "login_hint",
        "max_age",
        "nonce",
        "prompt",
        "redirect_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "ui_locales",
        *REFUSED,
    }
)
TOKEN = frozenset(
    {
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_verifier",
        "grant_type",
        "redirect_uri",
        "refresh_token",
        "scope",
    }
)
SECRETS_IN_FORM = {"client_secret", "client_assertion"}
Wrong = tuple[str, str]
"""The error's word in the standards, and a sentence."""
AGE = re.compile(r"[0-9]{1,9}")
NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class Asker:
    """The site that asks, at an address that is proved to be its own: whatever is wrong is told there."""

    address: str
    state: str | None

    def refusal(self, error: str, description: str) -> OAuth2Error:
        return OAuth2Error(description, error=error, redirect_uri=self.address, state=self.state)


@dataclass(frozen=True)
class Wish:
    """An authorization request that may be granted, once the right person has logged in."""

    asker: Asker
    quiet: bool
    """No page may be shown."""
    afresh: bool
    max_age: int | None
    hint: str | None
    onward: str
    """The request as an address to come back to after log-in."""

    def is_content_with(self, session: Session) -> bool:
        """Whether the person need not log in anew."""
        age = time.time() - session.began_at.timestamp()
        return not self.afresh and (self.max_age is None or age <= self.max_age)


def read_wish(request: ProtocolRequest, find: Callable[[str], Client | None]) -> Wish:
    """Raises OAuth2Error; it has an address where the site is known and is to be told."""
    sent = request.args
    asker = Asker(_address(request, find), sent.get("state"))
    onward = _onward(sent)
    wrong = _unsupported_request(sent) or _malformed(request, AUTHORIZATION) or _wrong(sent)
    if wrong is None and not is_way(onward):
        wrong = "invalid_request", "The request is too long to come back to after log-in."
    if wrong is not None:
        raise asker.refusal(*wrong)
    prompts, max_age = sent.get("prompt", "").split(), sent.get("max_age")
    age = None if max_age is None else int(max_age)
    return Wish(
        asker=asker,
        quiet="none" in prompts,
        afresh="login" in prompts or age == 0,
        max_age=age,
        hint=sent.get("id_token_hint"),
        onward=onward,
    )


def check_token_request(request: ProtocolRequest) -> None:
    """Raises OAuth2Error (invalid_request): what is wrong with it whatever grant it is."""
    wrong = _malformed(request, TOKEN)
    if wrong is None and "grant_type" not in request.form:
        wrong = "invalid_request", "'grant_type' is missing."
    if wrong is None and "Authorization" in request.headers and request.form.keys() & SECRETS_IN_FORM:
        wrong = "invalid_request", "The client proves itself in two ways."
    if wrong is not None:
        error, description = wrong
        raise OAuth2Error(description, error=error)


def _address(request: ProtocolRequest, find: Callable[[str], Client | None]) -> str:
    """Raises OAuth2Error without an address: for a page."""
    names, addresses = (request.payload.datalist.get(name, []) for name in ("client_id", "redirect_uri"))
    client = find(names[0]) if len(names) == 1 else None
    if client is None:
        raise OAuth2Error("The request names no site of ours.", error="invalid_client")
    if len(addresses) != 1 or not client.check_redirect_uri(addresses[0]):
        raise OAuth2Error("The 'redirect_uri' is not the site's.", error="invalid_request")
    return str(addresses[0])


def _unsupported_request(sent: dict[str, str]) -> Wrong | None:
    """Whole requests by another way, which replace everything else in them."""
    return next(((error, f"'{name}' is not supported.") for name, error in REFUSED.items() if name in sent), None)


def _malformed(request: ProtocolRequest, parameters: frozenset[str]) -> Wrong | None:
    """Of the parameters that we know; others are ignored (RFC 6749, 3.1 and 3.2)."""
    for name, values in request.payload.datalist.items():
        if name in parameters:
            if len(values) > 1:
                return "invalid_request", f"'{name}' is there more than once."
            if NO_TEXT.search(values[0]):
                return "invalid_request", f"'{name}' is no text."
    return None


def _wrong(sent: dict[str, str]) -> Wrong | None:
    """What the core would pass over, or take for something else."""
    if "response_type" not in sent:
        return "invalid_request", "'response_type' is missing."
    if sent["response_type"] not in RESPONSE_TYPES:
        return "unsupported_response_type", "Only 'code' is supported."
    if sent.get("response_mode", "query") not in RESPONSE_MODES:
        return "invalid_request", "Of 'response_mode' only 'query' is supported."
    if "openid" not in sent.get("scope", "").split():
        return "invalid_scope", "The scope must hold 'openid'."
    prompts = set(sent.get("prompt", "").split())
    if unknown := sorted(prompts - set(PROMPTS)):
        error = next((REFUSED_PROMPTS[word] for word in unknown if word in REFUSED_PROMPTS), "invalid_request")
        return error, "Of 'prompt' only 'none' and 'login' are supported."
    if len(prompts) > 1:
        return "invalid_request", "'prompt' is 'none' and more."
    if "max_age" in sent and not AGE.fullmatch(sent["max_age"]):
        return "invalid_request", "'max_age' is no number of seconds."
    return None


def _onward(sent: dict[str, str]) -> str:
    """A demand for a fresh log-in is met by the log-in to which it leads, so it is not made again."""
    kept = [(name, value) for name, value in sent.items() if name in AUTHORIZATION - {"prompt", "max_age"}]
    return f"/authorize?{urlencode(kept)}"
