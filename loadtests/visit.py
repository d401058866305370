"""One person's visit: a browser of its own, requests that are checked and counted, and the log-in.

A step is one call of `Visit.step`. It tells Locust (so that its web page is right) and the generator's tally of it,
and raises `StepFailed` when the journey cannot go on. The first step's time counts from the intended start.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

from gevent import GreenletExit
from gevent.lock import BoundedSemaphore
from locust.contrib.fasthttp import FastHttpSession
from pydantic import BaseModel, ValidationError

from loadtests.rehearsal import KitPerson, KitTenant
from loadtests.tally import Kind

ANSWER_SECONDS = 20.0
REFRESH_BEFORE_SECONDS = 60.0
SCOPE = "openid profile phone roles"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CSRF = re.compile(r'name="csrf" value="([^"]+)"')
NEXT = re.compile(r'name="next" value="([^"]*)"')

Answer = TypeVar("Answer", bound=BaseModel)
Count = Callable[[str, str, str, Kind, float, str, int], None]
"""Method, operation, tenant's code, kind, seconds, detail, length of the answer."""


class StepFailed(Exception):
    """The journey cannot go on; what went wrong has been counted."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class Misfit(Exception):
    """An answer does not fit what was asked; the message says in what."""


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Misfit(otherwise)


@dataclass
class Token:
    """What a site knows of somebody who logged in by it."""

    tenant: KitTenant
    access: str
    refresh: str
    expires_at: float


@dataclass
class Visitor:
    """A person of the kit in this process. `token` is kept from visit to visit when they log in once a run."""

    person: KitPerson
    token: Token | None = None
    refreshing: BoundedSemaphore = field(default_factory=BoundedSemaphore)
    filed: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Number → (monotonic time, item) of the newest cases that this process filed for the person."""

    def remember(self, number: str, item: str) -> None:
        self.filed[number] = (time.monotonic(), item)
        while len(self.filed) > 40:
            del self.filed[next(iter(self.filed))]


class Visit:
    def __init__(
        self, issuer: str, session: FastHttpSession, visitor: Visitor, journey: str, count: Count, late: float = 0.0
    ) -> None:
        self.visitor = visitor
        self.journey = journey
        self._issuer = issuer
        self._session = session
        self._count = count
        self._late = late
        self._token = visitor.token

    def close(self) -> None:
        self._session.client.clientpool.close()

    def step(
        self,
        step: str,
        tenant: KitTenant,
        method: str,
        url: str,
        fits: type[Answer],
        check: Callable[[Answer], None],
        allowed: tuple[int, ...] = (200,),
        absent: bool = False,
        **content: Any,
    ) -> Answer | None:
        """Sends one request as this person and checks its answer by the schema and by `check`.

        `absent`: 404 is a fine answer as well, and gives None.

        Raises:
            StepFailed: there was no answer, a code that the step does not allow, or the answer does not fit.
        """
        headers = {"Authorization": f"Bearer {self._access(tenant)}", **content.pop("headers", {})}
        started = time.perf_counter()
        outcome = _Outcome()
        try:
            answer = self._send(method, url, headers=headers, **content)
            outcome.length = len(answer.content or b"")
            if absent and answer.status_code == 404:
                return None
            _demand(answer, allowed)
            document = fits.model_validate_json(answer.content or b"")
            check(document)
            return document
        except StepFailed as failed:
            outcome.fail(failed.kind, failed.detail)
            raise
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            outcome.fail("wrong answer", f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
            raise StepFailed("wrong answer", outcome.detail) from None
        except Misfit as misfit:
            outcome.fail("wrong answer", str(misfit))
            raise StepFailed("wrong answer", outcome.detail) from None
        except GreenletExit:
            outcome.fail("no answer", "none when the run was over")
            raise
        finally:
            self._told(method, f"{self.journey}.{step}", tenant, started, outcome)

    def fail(self, step: str, tenant: KitTenant, detail: str) -> NoReturn:
        """Counts a step as wrongly answered though nothing was sent: what should have come by now has not."""
        self._told("", f"{self.journey}.{step}", tenant, time.perf_counter(), _Outcome("wrong answer", detail))
        raise StepFailed("wrong answer", detail)

    # ---- log-in ----

    def log_in(self, tenant: KitTenant, keep: bool) -> None:
        """Logs in by a tenant's site: one operation, from the site's redirect to the tokens. `keep`: for later visits.

        Raises:
            StepFailed: as `step`.
        """
        self._token = self._identify("log-in", tenant, lambda: self._authorize(tenant))
        if keep:
            self.visitor.token = self._token

    def use(self, token: Token) -> None:
        """Goes on with a token that was got elsewhere."""
        self._token = token

    def _access(self, tenant: KitTenant) -> str:
        token = self._token
        if token is None:
            self.log_in(tenant, keep=False)
            token = self._token
            assert token is not None
        if time.monotonic() < token.expires_at - REFRESH_BEFORE_SECONDS:
            return token.access
        with self.visitor.refreshing:
            # another visit of the same person may have renewed the token meanwhile
            if time.monotonic() >= token.expires_at - REFRESH_BEFORE_SECONDS:
                renewed = self._identify("refresh", token.tenant, lambda: self._refresh(token))
                token.access, token.refresh, token.expires_at = renewed.access, renewed.refresh, renewed.expires_at
        return token.access

    def _identify(self, step: str, tenant: KitTenant, how: Callable[[], Token]) -> Token:
        started = time.perf_counter()
        outcome = _Outcome()
        try:
            return how()
        except StepFailed as failed:
            outcome.fail(failed.kind, failed.detail)
            raise
        except (Misfit, KeyError, IndexError, ValueError) as error:
            outcome.fail("wrong answer", str(error) or repr(error))
            raise StepFailed("wrong answer", outcome.detail) from None
        except GreenletExit:
            outcome.fail("no answer", "none when the run was over")
            raise
        finally:
            self._told("POST", f"{self.journey}.{step}", tenant, started, outcome)

    def _authorize(self, tenant: KitTenant) -> Token:
        """Authorization code with PKCE, as a browser and a tenant's site go through it together."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        back = f"{tenant.url}/callback"
        wish = {
            "response_type": "code",
            "client_id": tenant.code,
            "redirect_uri": back,
            "scope": SCOPE,
            "state": state,
            "nonce": secrets.token_urlsafe(16),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        location = self._redirect("GET", f"{self._issuer}/authorize?{urlencode(wish)}")
        if urlsplit(location).path == "/login":
            location = self._fill_in_form(location)
        sent = urlsplit(location)
        expect(location.startswith(f"{back}?"), f"sent to {sent.netloc}{sent.path} and not back to the site")
        came = {name: values[0] for name, values in parse_qs(sent.query).items()}
        expect(came.get("state") == state and "code" in came, f"came back with {', '.join(sorted(came))}")
        form = {
            "grant_type": "authorization_code",
            "code": came["code"],
            "redirect_uri": back,
            "code_verifier": verifier,
        }
        return self._ask_token(tenant, form)

    def _fill_in_form(self, location: str) -> str:
        page = self._send("GET", f"{self._issuer}{location}")
        _demand(page, (200,))
        text = page.text or ""
        csrf, onward = CSRF.search(text), NEXT.search(text)
        if csrf is None or onward is None:
            raise Misfit("the log-in page has no form")
        fields = {"csrf": csrf[1], "next": html.unescape(onward[1])}
        fields |= {"login": self.visitor.person.username, "password": self.visitor.person.password}
        # as a browser says where a form comes from
        sent = FORM | {"Origin": self._issuer, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
        location = self._redirect("POST", f"{self._issuer}/login", data=urlencode(fields), headers=sent)
        return self._redirect("GET", f"{self._issuer}{location}")

    def _refresh(self, token: Token) -> Token:
        return self._ask_token(token.tenant, {"grant_type": "refresh_token", "refresh_token": token.refresh})

    def _ask_token(self, tenant: KitTenant, form: dict[str, str]) -> Token:
        answer = self._send(
            "POST",
            f"{self._issuer}/token",
            data=urlencode(form),
            headers=FORM,
            auth=(tenant.code, tenant.client_secret),
        )
        _demand(answer, (200,))
        given = json.loads(answer.content)
        life = float(given["expires_in"])
        return Token(tenant, given["access_token"], given["refresh_token"], time.monotonic() + life)

    def _redirect(self, method: str, url: str, **content: Any) -> str:
        answer = self._send(method, url, **content)
        _demand(answer, (302, 303))
        location: str = answer.headers["location"]
        return location

    # ---- one request ----

    def _send(self, method: str, url: str, **content: Any) -> Any:
        """An answer, whatever its code. With `catch_response` Locust leaves it to us to tell of it."""
        answer: Any = self._session.request(method, url, catch_response=True, allow_redirects=False, **content)
        if answer.status_code == 0:
            raise StepFailed("no answer", _reason(answer.error))
        if (error := answer.request_meta["exception"]) is not None and answer.content is None:
            raise StepFailed("no answer", _reason(error))
        return answer

    def _told(self, method: str, operation: str, tenant: KitTenant, started: float, outcome: _Outcome) -> None:
        seconds = time.perf_counter() - started + self._late
        self._late = 0.0
        self._count(method, operation, tenant.code, outcome.kind, seconds, outcome.detail, outcome.length)


@dataclass
class _Outcome:
    kind: Kind = "fine"
    detail: str = ""
    length: int = 0

    def fail(self, kind: Kind, detail: str) -> None:
        self.kind, self.detail = kind, detail


def _demand(answer: Any, allowed: tuple[int, ...]) -> None:
    code: int = answer.status_code
    if code == 429:
        raise StepFailed("limited", "429")
    if code not in allowed:
        raise StepFailed("status", f"{code} {_problem(answer.content)}".strip())


def _problem(content: bytes | None) -> str:
    """The kind of problem that an answer names, if it names one."""
    try:
        return str(json.loads(content or b"")["type"])
    except (ValueError, KeyError, TypeError):
        return ""


def _reason(error: object) -> str:
    """A connection's trouble without its address, so that the same trouble has the same words."""
    text = getattr(error, "text", "") or str(error)
    return f"{type(error).__name__} {text}".strip()
