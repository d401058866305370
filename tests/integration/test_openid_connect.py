"""`docs/openid-connect.md`, line by line: what it says of a parameter is what happens, and what discovery tells."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx
import pytest

from services.identity.app import create
from services.identity.protocol.discovery import metadata
from services.identity.protocol.parameters import AUTHORIZATION, TOKEN
from services.kernel.problems import Unavailable
from services.kernel.settings import ServiceSettings
from tests.integration.identity_site import IdentitySite, RelyingParty, log_in
from tests.integration.network import REPOSITORY
from tests.integration.test_identity_protocol import claims_of

DOCUMENT = (REPOSITORY / "docs" / "openid-connect.md").read_text()
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
PLAIN = re.compile(r"`(?P<name>\w+)(?:=(?P<value>[^`]*))?`(?P<how>, not there|, twice|)$")
MOST_HOPS = 8
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Line:
    """One line of the document's tables."""

    parameter: str
    outcome: str

    @property
    def refusal(self) -> str:
        """Where and with what it is refused; empty for what is supported or ignored."""
        said = re.match(
            r"refused at the site: `\w+`|refused on a page|refused: \d{3} `[\w-]+`|asked on a page", self.outcome
        )
        assert said or re.match(r"(supported|ignored)\b", self.outcome), self
        return said[0] if said else ""

    @property
    def shows_log_in(self) -> bool:
        return "the log-in page, once" in self.outcome


def lines(section: str) -> list[Line]:
    text = DOCUMENT.split(f"## {section}\n")[1].split("\n## ")[0]
    return [Line(row[0], row[2]) for row in ROW.findall(text) if row[1] not in ("from", "---")]


def by_line(section: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("line", lines(section), ids=lambda line: line.parameter)


def changed(line: Line, base: Pairs) -> Pairs | None:
    """The base with what the line's own words say; None when they need more than that."""
    said = PLAIN.match(line.parameter)
    if said is None:
        return None
    name, value = said["name"], said["value"]
    value = dict(base).get(name, "1") if value is None else value
    others = [pair for pair in base if pair[0] != name]
    return others + [(name, value)] * {", not there": 0, "": 1, ", twice": 2}[said["how"]]


# ---- the site, a person, a browser ----


@pytest.fixture(scope="module")
def party(identity_site: IdentitySite) -> RelyingParty:
    for name in ("asking", "somebody-else"):
        identity_site.person(name)
    return RelyingParty(identity_site)


@pytest.fixture(scope="module")
def stranger(party: RelyingParty) -> Iterator[httpx.Client]:
    with party.site.client(headers={"user-agent": BROWSER}) as browser:
        yield browser


@pytest.fixture(scope="module")
def browser(party: RelyingParty) -> Iterator[httpx.Client]:
    with party.site.client(headers={"user-agent": BROWSER}) as browser:
        assert log_in(browser, "asking").status_code == 303
        yield browser


@dataclass
class End:
    """Where a browser ends that follows every redirect and logs in where it is asked to."""

    what: str
    answer: dict[str, str]
    log_ins: int


def followed(party: RelyingParty, browser: httpx.Client, request: Pairs) -> End:
    site, url, log_ins = party.site, f"/authorize?{urlencode(request, errors='surrogateescape')}", 0
    referer = ""
    for _ in range(MOST_HOPS):
        response = browser.get(url, headers={"referer": referer} if referer else {})
        if 'data-test="login-form"' in response.text:
            log_ins += 1
            response = log_in(browser, "asking", path=url)
        if response.status_code not in (302, 303):
            return End("refused on a page" if response.status_code == 400 else response.text, {}, log_ins)
        # as browsers do: no more than 4,096 characters
        referer = site.issuer + (url if len(url) < 4000 else "/")
        url = response.headers["location"]
        if not urljoin(site.issuer, url).startswith(site.issuer):
            break
    else:
        raise AssertionError(f"no end after {MOST_HOPS} redirects: {url[:200]}")
    to = urlsplit(url)
    assert to._replace(query="").geturl() == party.redirect_uri
    answer = {name: values[0] for name, values in parse_qs(to.query).items()}
    return End(f"refused at the site: `{answer['error']}`" if "error" in answer else "", answer, log_ins)


# ---- the authorization request ----


def standard(party: RelyingParty) -> Pairs:
    return [(name, values[0]) for name, values in parse_qs(urlsplit(party.authorize_path()).query).items()]


def with_(base: Pairs, **changes: str) -> Pairs:
    return [pair for pair in base if pair[0] not in changes] + list(changes.items())


def make_older(party: RelyingParty) -> None:
    party.site.postgres.run("UPDATE identity.session SET created_at = created_at - interval '10 min'", "identity")


def token_of(party: RelyingParty, browser: httpx.Client, kind: str) -> str:
    return str(party.tokens_for(browser)[kind])


def hint_of(party: RelyingParty, browser: httpx.Client) -> str:
    return token_of(party, browser, "id_token")


def hint_of_somebody_else(party: RelyingParty) -> str:
    with party.site.client() as other:
        log_in(other, "somebody-else")
        return hint_of(party, other)


SPECIAL: dict[str, Callable[[RelyingParty, httpx.Client], dict[str, str]]] = {
    "`client_id`, unknown": lambda *_: {"client_id": "999999"},
    "`client_id`, a machine's": lambda *_: {"client_id": "operator"},
    "`redirect_uri`, not registered": lambda *_: {"redirect_uri": "https://thief.test/callback"},
    "`state`, of 4,500 characters": lambda *_: {"state": "x" * 4500},
    "`state`, of 4,500 characters, nobody logged in": lambda *_: {"state": "x" * 4500},
    "`state`, of 8,000 characters: all together too long": lambda *_: {"state": "x" * 8000},
    "`state`, of signs and Chinese": lambda *_: {"state": "a b+c&d=e%2F\"\\'<>;杭州\r\n"},
    "`state`, with control characters": lambda *_: {"state": "a\x00b\x1bc"},
    "`state`, with bytes that are no UTF-8": lambda *_: {"state": "\udcff\udcfe"},
    "`max_age`, of 5,000 digits": lambda *_: {"max_age": "1" * 5000},
    "`max_age=1`, the log-in older": lambda *_: {"max_age": "1"},
    "`max_age=1`, nobody logged in": lambda *_: {"max_age": "1"},
    "`max_age=1` with `prompt=none`, the log-in older": lambda *_: {"max_age": "1", "prompt": "none"},
    "`max_age=0` with `prompt=none`": lambda *_: {"max_age": "0", "prompt": "none"},
    "`prompt=none`, nobody logged in": lambda *_: {"prompt": "none"},
    "`prompt=none`, the database out": lambda *_: {"prompt": "none"},
    "`id_token_hint`, of who is logged in": lambda party, browser: {"id_token_hint": hint_of(party, browser)},
    "`id_token_hint`, nobody logged in": lambda party, browser: {"id_token_hint": hint_of(party, browser)},
    "`id_token_hint`, of somebody else": lambda party, _: {"id_token_hint": hint_of_somebody_else(party)},
    "`id_token_hint`, of another site": lambda party, browser: {
        "id_token_hint": hint_of(RelyingParty(party.site, "330112"), browser)
    },
    "`id_token_hint`, an access token": lambda party, browser: {
        "id_token_hint": token_of(party, browser, "access_token")
    },
}


@by_line("Authorization request")
def test_authorization_request(party: RelyingParty, browser: httpx.Client, stranger: httpx.Client, line: Line) -> None:
    request = changed(line, standard(party))
    if request is None:
        request = with_(standard(party), **SPECIAL[line.parameter](party, browser))
    if line.parameter.endswith("the log-in older"):
        make_older(party)
    if line.parameter.endswith("the database out"):
        end = asyncio.run(asked_without_a_database(party, request))
    elif line.parameter.endswith("nobody logged in"):
        stranger.cookies.clear()
        end = followed(party, stranger, request)
    else:
        end = followed(party, browser, request)
    assert end.what == line.refusal, end
    assert end.log_ins == line.shows_log_in
    if end.answer and line.parameter != "`state`, twice":
        assert end.answer["iss"] == party.site.issuer
        assert end.answer.get("state") == dict(request).get("state")
    if not line.refusal:
        holds_what_was_asked_for(party, dict(request), end)


def holds_what_was_asked_for(party: RelyingParty, request: dict[str, str], end: End) -> None:
    given = party.redeem(end.answer["code"]).json()
    claims = claims_of(given["id_token"])
    assert claims.get("nonce") == request.get("nonce")
    assert given["scope"].split() == [word for word in request["scope"].split() if word in PEOPLE]
    assert isinstance(claims["auth_time"], int) and "acr" not in claims
    if end.log_ins:
        assert claims["auth_time"] >= STARTED


PEOPLE = ("openid", "profile", "phone", "roles")
STARTED = int(time.time())


async def asked_without_a_database(party: RelyingParty, request: Pairs) -> End:
    variables = {name.removeprefix("YIWANG_").lower(): value for name, value in party.site.settings().items()}
    service = create(ServiceSettings.model_validate(variables))

    async def out(_: object) -> None:
        raise Unavailable("database")

    service.api.state.parts.session = out
    transport = httpx.ASGITransport(service)
    async with httpx.AsyncClient(transport=transport, base_url=party.site.issuer, trust_env=False) as client:
        answer = party.answered(await client.get(f"/authorize?{urlencode(request)}"))
    await service.kernel.close()
    return End(f"refused at the site: `{answer['error']}`", answer, 0)


def test_too_long_a_request_by_form_is_told_to_the_site(party: RelyingParty, browser: httpx.Client) -> None:
    sent = browser.post("/authorize", data=dict(with_(standard(party), state="x" * 9000)))
    assert party.answered(sent)["error"] == "invalid_request"


def test_circle_is_caught(party: RelyingParty) -> None:
    """What the old way did with `max_age=0`: a known-bad provider under the same check."""

    def circling(request: httpx.Request) -> httpx.Response:
        there = "/login" if request.url.path == "/authorize" else "/authorize"
        return httpx.Response(303, headers={"location": f"{there}?max_age=0"})

    old = httpx.Client(transport=httpx.MockTransport(circling), base_url=party.site.issuer)
    with old as browser, pytest.raises(AssertionError, match="no end"):
        followed(party, browser, standard(party))


# ---- the token request ----


@by_line("Token request")
def test_token_request(party: RelyingParty, browser: httpx.Client, line: Line) -> None:
    answer = ask_token(party, browser, line)
    outcome = "" if answer.status_code == 200 else f"refused: {answer.status_code} `{answer.json()['error']}`"
    assert outcome == line.refusal, answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store"


def ask_token(party: RelyingParty, browser: httpx.Client, line: Line) -> httpx.Response:
    by_code = [
        ("grant_type", "authorization_code"),
        ("code", party.code_for(browser)),
        ("redirect_uri", party.redirect_uri),
        ("code_verifier", party.verifier),
    ]
    refresh = [("grant_type", "refresh_token"), ("refresh_token", token_of(party, browser, "refresh_token"))]
    base = refresh if "refresh" in line.parameter else by_code
    secret = party.site.client_secrets[party.code]
    special: dict[str, tuple[Pairs, dict[str, Any]]] = {
        "`grant_type=refresh_token`": (refresh, {}),
        "`grant_type=client_credentials`": ([("grant_type", "client_credentials"), ("scope", "relay")], {}),
        "`redirect_uri`, another": (with_(by_code, redirect_uri="https://t330106.test/"), {}),
        "`code_verifier`, another": (with_(by_code, code_verifier="w" * 43), {}),
        "`refresh_token`, with bytes that are no UTF-8": (with_(refresh, refresh_token="\udcff"), {}),
        "`scope=openid` with a refresh token": (with_(refresh, scope="openid"), {}),
        "`scope=openid operator` with a refresh token": (with_(refresh, scope="openid operator"), {}),
        "`scope=openid` with a code": (with_(by_code, scope="openid"), {}),
        "`client_id` beside HTTP Basic": (with_(by_code, client_id=party.code), {}),
        "`client_secret` beside HTTP Basic": (with_(by_code, client_secret=secret), {}),
        "`client_secret` without HTTP Basic": (
            with_(by_code, client_id=party.code, client_secret=secret),
            {"auth": None},
        ),
        "`client_assertion`": (with_(by_code, client_assertion="x", client_assertion_type="x"), {"auth": None}),
        "no proof of the client": (by_code, {"auth": None}),
        "HTTP Basic with bytes that are no UTF-8": (by_code, {"auth": (b"\xff", b"\xff")}),
        "a body in JSON": (by_code, {"headers": {"content-type": "application/json"}}),
        "more than 50 fields": (by_code + [(f"field{number}", "x") for number in range(50)], {}),
    }
    form, how = special.get(line.parameter) or (changed(line, base), {})
    assert form is not None, line
    how = {"auth": (party.code, secret), "headers": {"content-type": "application/x-www-form-urlencoded"}} | how
    with party.site.client() as client:
        return client.post("/token", content=urlencode(form, errors="surrogateescape"), **how)


# ---- userinfo, and log-out ----


@by_line("Userinfo request")
def test_userinfo_request(party: RelyingParty, browser: httpx.Client, line: Line) -> None:
    token = {"access_token": token_of(party, browser, "access_token")}
    bearer = {"authorization": f"Bearer {token['access_token']}"}
    machine = {"authorization": f"Bearer {party.site.machine_token(party.code)}"}
    with party.site.client() as client:
        ask: dict[str, Callable[[], httpx.Response]] = {
            "`Authorization: Bearer` by GET": lambda: client.get("/userinfo", headers=bearer),
            "`Authorization: Bearer` by POST": lambda: client.post("/userinfo", headers=bearer),
            "`access_token` in a form": lambda: client.post("/userinfo", data=token),
            "`access_token` in the address": lambda: client.get("/userinfo", params=token),
            "`Authorization: Bearer` of a machine": lambda: client.get("/userinfo", headers=machine),
        }
        answer = ask[line.parameter]()
    kind = "" if answer.status_code == 200 else answer.json()["type"].removeprefix("urn:yiwang:")
    assert (f"refused: {answer.status_code} `{kind}`" if kind else "") == line.refusal


@by_line("Log-out request")
def test_log_out_request(party: RelyingParty, line: Line) -> None:
    home = f"https://t{party.code}.test/"
    with party.site.client() as browser:
        log_in(browser, "asking")
        tokens = party.tokens_for(browser)
        proved = [("id_token_hint", tokens["id_token"])]
        special = {
            "`id_token_hint`": proved,
            "`id_token_hint`, an access token": [("id_token_hint", tokens["access_token"])],
            "`id_token_hint`, not there": [("post_logout_redirect_uri", home)],
            "`client_id`, another than the hint's": with_(proved, client_id="330112"),
            "`post_logout_redirect_uri`": with_(proved, post_logout_redirect_uri=home),
            "`post_logout_redirect_uri`, not registered": with_(proved, post_logout_redirect_uri="https://thief.test/"),
            "`state`": with_(proved, post_logout_redirect_uri=home, state="s 1"),
        }
        asked = special.get(line.parameter) or changed(line, proved)
        assert asked is not None, line
        for answer in (
            browser.get(f"/end-session?{urlencode(asked)}"),
            browser.post("/end-session", content=urlencode(asked), headers=FORM),
        ):
            question = "asked on a page" if "要退出登录吗" in answer.text else ""
            assert question == line.refusal
            back = home in dict(asked).values() and not question
            assert answer.headers.get("location", "").startswith(home) == back
            if "state" in dict(asked):
                assert answer.headers["location"] == f"{home}?state=s+1"
            ended = "error" in followed(party, browser, with_(standard(party), prompt="none")).answer
            assert ended != bool(question)


FORM = {"content-type": "application/x-www-form-urlencoded"}


# ---- the document, discovery and the code are one ----


def supported(section: str, name: str) -> set[str]:
    """The values of a parameter that the table calls supported."""
    matches = (
        re.match(rf"`{name}=([^`]+)`$", line.parameter) for line in lines(section) if "supported" in line.outcome[:9]
    )
    return {match[1] for match in matches if match}


@pytest.mark.parametrize(
    ("member", "section", "name"),
    [
        ("response_types_supported", "Authorization request", "response_type"),
        ("response_modes_supported", "Authorization request", "response_mode"),
        ("prompt_values_supported", "Authorization request", "prompt"),
        ("ui_locales_supported", "Authorization request", "ui_locales"),
        ("code_challenge_methods_supported", "Authorization request", "code_challenge_method"),
        ("grant_types_supported", "Token request", "grant_type"),
    ],
)
def test_values_of_the_discovery_document_are_the_tables(member: str, section: str, name: str) -> None:
    assert set(metadata("https://id.test")[member]) == supported(section, name)


def test_switches_of_the_discovery_document_are_the_tables() -> None:
    document = metadata("https://id.test")
    told = {line.parameter.partition("=")[0].strip("`"): line.outcome for line in lines("Authorization request")}
    for name in ("claims", "request", "request_uri"):
        assert document[f"{name}_parameter_supported"] == told[name].startswith("supported")
    assert set(" ".join(supported("Authorization request", "scope")).split()) <= set(document["scopes_supported"])


def test_claims_of_the_discovery_document_are_what_comes(party: RelyingParty) -> None:
    party.site.person("asking-by-phone", phone="13800007777")
    with party.site.client() as browser:
        log_in(browser, "asking-by-phone")
        tokens = party.tokens_for(browser)
    with party.site.client(headers={"authorization": f"Bearer {tokens['access_token']}"}) as api:
        told = api.get("/userinfo").json()
    assert set(claims_of(tokens["id_token"])) | set(told) == set(metadata("https://id.test")["claims_supported"])


@pytest.mark.parametrize("prompt", ["login", "none", "consent"])
def test_no_answer_is_cached_or_told_on(party: RelyingParty, stranger: httpx.Client, prompt: str) -> None:
    stranger.cookies.clear()
    answer = stranger.get(party.authorize_path(prompt=prompt))
    assert answer.headers["cache-control"] == "no-store"
    assert prompt == "login" or answer.headers["referrer-policy"] == "no-referrer"


def test_every_parameter_and_member_has_a_line() -> None:
    for section, parameters in (
        ("Authorization request", AUTHORIZATION),
        ("Token request", TOKEN - {"client_assertion_type"}),
    ):
        named = {re.match(r"`(\w+)", line.parameter) for line in lines(section)}
        assert parameters <= {match[1] for match in named if match}, section
    described = set(re.findall(r"`(\w+)`", DOCUMENT.split("## The discovery document\n")[1]))
    assert set(metadata("https://id.test")) <= described


def test_what_is_not_offered_is_not_named_and_does_not_answer(party: RelyingParty) -> None:
    absent = re.findall(
        r"`(\w+_(?:endpoint|iframe|supported))`", DOCUMENT.split("## Not offered\n")[1].split("\n## ")[0]
    )
    assert len(absent) == 8 and not set(absent) & set(metadata("https://id.test"))
    with party.site.client() as client:
        for path in ("/revoke", "/introspect", "/register-client", "/par", "/device_authorization"):
            assert client.post(path).status_code in (404, 405)


def test_a_line_without_a_trial_is_noticed() -> None:
    assert changed(Line("`prompt`, on Sundays", "supported"), []) is None
    with pytest.raises(AssertionError):
        _ = Line("`prompt=login`", "perhaps").refusal
