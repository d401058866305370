"""The portal's promises: log-in, sessions, forms, and what a page says when a service is out."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
import structlog

from services.identity.settings import IdentitySettings
from services.kernel.calendar import today
from services.kernel.http import UNKEEPABLE
from services.kernel.settings import ServiceSettings
from services.portal import renewal
from services.portal.store import sessions
from tests.integration.backends import Postgres
from tests.integration.network import COUNTY, NEIGHBOUR, Network
from tests.integration.portal_site import (
    CITIZEN,
    CLERK,
    HERE,
    ISSUER,
    PLACES,
    THERE,
    Person,
    Sites,
    running,
    site,
)

NUMBER = f"{HERE}2026112400000017"
ITEM = {
    "code": "XK-SPJY",
    "version": 1,
    "name": "食品经营许可",
    "kind": "行政许可",
    "basis": "《中华人民共和国食品安全法》第三十五条",
    "levels": ["county"],
    "department": "市场监督管理局",
    "legal_working_days": 20,
    "promised_working_days": 5,
    "standard_promised_working_days": 7,
    "materials": [{"name": "申请书", "required": True, "note": ""}],
    "materials_note": "",
    "fields": [{"name": "place", "label": "经营场所", "kind": "text", "required": True, "options": [], "hint": ""}],
    "fee": "不收费",
    "fee_note": "",
    "offered": True,
}
CASE: dict[str, Any] = {
    "number": NUMBER,
    "version": 1,
    "status": "filed",
    "holder": HERE,
    "in_transit_to": None,
    "path": [HERE],
    "item": "XK-SPJY",
    "item_name": "食品经营许可",
    "applicant_name": "沈小禾",
    "applicant_phone": "13900001111",
    "form": {"place": "江南大道 1 号"},
    "filed_at": "2026-11-24T01:00:00Z",
    "changed_at": "2026-11-24T01:00:00Z",
    "accept_by": "2026-12-01",
    "due": None,
    "due_provisional": False,
    "outcome": None,
    "steps": [{"version": 1, "tenant": HERE, "status": "filed", "at": "2026-11-24T01:00:00Z"}],
    "check_code": "ABCDEFGH2345",
    "traces": [],
    "materials": [],
    "actions": ["acceptance"],
}
INDEXED = {
    name: CASE[name] for name in ("number", "item", "item_name", "status", "holder", "filed_at", "changed_at")
} | {
    "holder_name": "滨江区",
    "tenant": HERE,
    "tenant_name": "滨江区",
    "site": site(HERE),
    "due": None,
    "steps": [{"tenant": HERE, "tenant_name": "滨江区", "status": "filed", "at": CASE["filed_at"]}],
}
TYPED = {"name": "沈小禾", "phone": "13900001111", "form-place": "江南大道 1 号"}
FIGURES = {"filed": 206, "accepted": 31, "moved": 7, "due_soon": 5, "overdue": 4}
RECEIPT = {"number": NUMBER, "check_code": "ABCDEFGH2345", "status": "filed", "filed_at": CASE["filed_at"]}


def step(version: int, tenant: str, status: str, reason: str = "") -> dict[str, Any]:
    return {"version": version, "tenant": tenant, "status": status, "at": CASE["filed_at"], "reason": reason}


@pytest.fixture
async def sites(portal_settings: ServiceSettings, postgres: Postgres) -> AsyncIterator[Sites]:
    for code in PLACES:
        postgres.run("TRUNCATE portal.session", f"t{code}")
    async with running(portal_settings, postgres) as started:
        started.world.says("GET", "/api/affairs/items", 200, {"items": [ITEM]})
        started.world.says("GET", "/api/affairs/items/XK-SPJY", 200, ITEM)
        started.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, CASE)
        started.world.says("POST", "/api/affairs/cases", 201, RECEIPT | {"duplicate": False})
        yield started


async def csrf(browser: httpx.AsyncClient, path: str = "/progress") -> str:
    match = re.search(r'name="csrf" value="([^"]+)"', (await browser.get(path)).text)
    assert match
    return match[1]


async def hidden_fields(browser: httpx.AsyncClient) -> dict[str, str]:
    """Form token and idempotency key of a fresh filing form."""
    page = await browser.get("/items/XK-SPJY/filing", follow_redirects=True)
    return dict(re.findall(r'name="(csrf|key)" value="([^"]+)"', page.text))


# --- log-in ------------------------------------------------------------------------------------------------------


async def test_log_in_comes_back_to_the_page_that_asked_for_it(sites: Sites) -> None:
    async with sites.browser() as browser:
        sent = await browser.get("/items/XK-SPJY/filing")
        assert sent.status_code == 303
        assert sent.headers["location"].startswith(f"{ISSUER}/authorize?")
        back = await browser.get(sites.world.grant(sent.headers["location"], CITIZEN))
        assert back.headers["location"] == "/items/XK-SPJY/filing"
        page = await browser.get(back.headers["location"], follow_redirects=True)
        assert page.status_code == 200
        assert 'value="沈小禾"' in page.text
        assert 'value="13900001111"' in page.text


async def test_the_session_cookie_is_for_this_site_alone(sites: Sites) -> None:
    async with sites.browser() as browser:
        cookies = (await sites.log_in(browser)).headers.get_list("set-cookie")
    session = next(cookie for cookie in cookies if cookie.startswith("__Host-yiwang-session="))
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=lax"):
        assert attribute in session
    assert "Domain" not in session


async def test_the_database_opens_no_session_and_shows_no_token(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        secret = browser.cookies["__Host-yiwang-session"]
    [row] = sites.rows("SELECT encode(id, 'escape') AS id, encode(sealed, 'escape') AS sealed FROM portal.session")
    for private in (secret, *sites.world.refresh_tokens, CITIZEN.name, CITIZEN.sub):
        assert private not in row["id"] + row["sealed"]


@pytest.mark.parametrize("error", ["login_required", "temporarily_unavailable"])
async def test_a_quiet_question_that_finds_nobody_leaves_the_visitor_as_they_are(sites: Sites, error: str) -> None:
    async with sites.browser() as browser:
        sent = await browser.get("/login?quiet=1&next=/places")
        asked = parse_qs(urlsplit(sent.headers["location"]).query)
        assert asked["prompt"] == ["none"]
        back = await browser.get("/callback", params={"error": error, "state": asked["state"][0]})
        assert back.headers["location"] == "/places"
        assert "__Host-yiwang-session" not in browser.cookies


@pytest.mark.parametrize(
    ("path", "back"),
    [
        ("/items?q=" + "x" * 2300, "/items?q=" + "x" * 2300),
        ("/items?q=" + "x" * 5000, "/items"),
        ("/items?q=" + "食" * 1000, "/items"),
        ("/items/" + "x" * 5000, "/"),
    ],
    ids=["kept", "long", "Chinese", "all too long"],
)
async def test_a_long_way_back_is_shortened_and_not_lost(sites: Sites, path: str, back: str) -> None:
    """A browser keeps no cookie of more than 4,096 characters, and without it the log-in would fail at its end."""
    async with sites.browser() as browser:
        sent = await browser.get("/login", params={"next": path})
        assert all(len(cookie) <= 4096 for cookie in sent.headers.get_list("set-cookie"))
        came = await browser.get(sites.world.grant(sent.headers["location"], CITIZEN))
        assert came.headers["location"] == back


@pytest.mark.parametrize("path", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"])
async def test_no_log_in_leads_to_another_site(sites: Sites, path: str) -> None:
    async with sites.browser() as browser:
        assert (await sites.log_in(browser, path=path)).headers["location"] == "/"


async def test_a_code_that_another_browser_asked_for_is_refused(sites: Sites) -> None:
    async with sites.browser() as attacker, sites.browser() as victim:
        sent = await attacker.get("/login")
        back = sites.world.grant(sent.headers["location"], CITIZEN)
        assert (await victim.get(back)).status_code == 400
        assert "__Host-yiwang-session" not in victim.cookies
        assert (await attacker.get(back)).status_code == 303


async def test_a_log_in_whose_answer_was_lost_goes_through_when_the_page_is_loaded_anew(sites: Sites) -> None:
    async with sites.browser() as browser:
        sent = await browser.get("/login", params={"next": "/cases"})
        back = sites.world.grant(sent.headers["location"], CITIZEN)
        sites.world.loses_answers = True
        assert (await browser.get(back)).status_code == 503
        sites.world.loses_answers = False
        anew = await browser.get(back)
        assert anew.status_code == 303 and anew.headers["location"].startswith(f"{ISSUER}/authorize?")
        came = await browser.get(sites.world.grant(anew.headers["location"], CITIZEN))
        assert came.headers["location"] == "/cases" and "__Host-yiwang-session" in browser.cookies


async def test_a_log_in_is_begun_anew_once(sites: Sites) -> None:
    async with sites.browser() as browser:
        sites.world.trouble = lambda _: httpx.Response(400, json={"error": "invalid_grant"})
        sent = await browser.get("/login")
        anew = await browser.get(sites.world.grant(sent.headers["location"], CITIZEN))
        assert anew.status_code == 303
        assert (await browser.get(sites.world.grant(anew.headers["location"], CITIZEN))).status_code == 400


@pytest.mark.parametrize(
    "claims",
    [{"nonce": "another"}, {"aud": THERE}, {"iss": "https://id.evil.example"}, {"exp": 1}],
    ids=["nonce", "audience", "issuer", "expired"],
)
async def test_an_id_token_for_something_else_is_refused(sites: Sites, claims: dict[str, Any]) -> None:
    sites.world.claims = claims
    async with sites.browser() as browser:
        assert (await sites.log_in(browser)).status_code == 400
        assert "__Host-yiwang-session" not in browser.cookies
    assert sites.rows("SELECT id FROM portal.session") == []


async def test_an_answer_of_another_provider_is_refused(sites: Sites) -> None:
    async with sites.browser() as browser:
        sent = await browser.get("/login")
        back = sites.world.grant(sent.headers["location"], CITIZEN)
        assert (await browser.get(back.replace(f"iss={ISSUER}", "iss=https://id.evil.example"))).status_code == 400


async def test_a_session_of_one_site_is_none_on_another(sites: Sites) -> None:
    async with sites.browser(HERE) as here, sites.browser(THERE) as there:
        await sites.log_in(here)
        there.cookies.set("__Host-yiwang-session", here.cookies["__Host-yiwang-session"])
        assert (await there.get("/cases")).headers["location"].startswith(f"{ISSUER}/authorize?")


async def test_log_out_ends_the_session_here_and_goes_on_to_identity(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        secret = browser.cookies["__Host-yiwang-session"]
        answer = await browser.post("/logout", data={"csrf": await csrf(browser)})
        farewell = urlsplit(answer.headers["location"])
        asked = parse_qs(farewell.query)
        assert f"{farewell.scheme}://{farewell.netloc}{farewell.path}" == f"{ISSUER}/end-session"
        assert asked["post_logout_redirect_uri"] == [f"{site(HERE)}/"]
        assert asked["client_id"] == [HERE]
        assert asked["id_token_hint"]
        browser.cookies.set("__Host-yiwang-session", secret)
        assert (await browser.get("/cases")).status_code == 303
    assert sites.rows("SELECT id FROM portal.session") == []


# --- sessions ----------------------------------------------------------------------------------------------------


async def test_many_requests_renew_a_token_once(sites: Sites) -> None:
    """A refresh token that came twice would end the session everywhere."""
    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.access_seconds = 600
        answers = await asyncio.gather(*(browser.get("/") for _ in range(12)))
        assert all(CITIZEN.name in answer.text for answer in answers)
        assert len(sites.world.spent) == 1


async def test_requests_with_an_expired_token_wait_for_the_one_that_renews_it(sites: Sites) -> None:
    sites.world.access_seconds = -1
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.access_seconds = 600
        answers = await asyncio.gather(*(browser.get(f"/cases/{NUMBER}") for _ in range(6)))
        assert [answer.status_code for answer in answers] == [200] * 6
        assert len(sites.world.spent) == 1


async def test_a_session_that_identity_ended_is_over_here(sites: Sites) -> None:
    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.refresh_tokens.clear()
        assert CITIZEN.name not in (await browser.get("/")).text
        assert (await browser.get("/cases")).status_code == 303
    assert sites.rows("SELECT id FROM portal.session") == []


async def test_a_client_secret_that_is_being_rotated_ends_no_session(sites: Sites) -> None:
    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.knows_no_client = True
        assert CITIZEN.name in (await browser.get("/")).text
        sites.world.knows_no_client = False
        assert CITIZEN.name in (await browser.get("/")).text
    assert len(sites.world.spent) == 1


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("cut", request=request)


def unanswered(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("late", request=request)


PASSING_TROUBLE = {
    "no answer": unanswered,
    "cut": broken,
    "a page in its place": lambda _: httpx.Response(200, text="<html>maintenance</html>"),
    "no tokens": lambda _: httpx.Response(200, json={"expires_in": "soon"}),
    "elsewhere": lambda _: httpx.Response(302, headers={"location": "https://elsewhere.test/"}),
    "500": lambda _: httpx.Response(500, json={"error": "server_error"}),
    "503": lambda _: httpx.Response(503, json={"error": "invalid_grant"}),
    "504": lambda _: httpx.Response(504, text="late"),
    "too many": lambda _: httpx.Response(429, text="slowly"),
    "bad request": lambda _: httpx.Response(400, json={"error": "invalid_request"}),
    "no words": lambda _: httpx.Response(400, json=["invalid_grant"]),
    "unknown client": lambda _: httpx.Response(401, json={"error": "invalid_client"}),
}


@pytest.mark.parametrize("trouble", PASSING_TROUBLE.values(), ids=PASSING_TROUBLE)
async def test_trouble_that_passes_ends_no_session(
    sites: Sites, trouble: Callable[[httpx.Request], httpx.Response]
) -> None:
    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.trouble = trouble
        assert CITIZEN.name in (await browser.get("/")).text, "the token is good for a while yet"
        sites.world.trouble, sites.world.access_seconds = None, 600
        assert CITIZEN.name in (await browser.get("/")).text
        assert (await browser.get(f"/cases/{NUMBER}")).status_code == 200


async def test_plain_refusal_alone_ends_a_session(sites: Sites) -> None:
    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.trouble = lambda _: httpx.Response(400, json={"error": "invalid_grant"})
        assert CITIZEN.name not in (await browser.get("/")).text
    assert sites.rows("SELECT id FROM portal.session") == []


async def test_renewal_whose_answer_was_lost_is_tried_on_without_a_visit(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person may come back when identity no longer gives the lost answer again."""
    monkeypatch.setattr(renewal, "PAUSES", (0.05,))
    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.loses_answers = True
        assert CITIZEN.name in (await browser.get("/")).text
        sites.world.loses_answers, sites.world.access_seconds = False, 600
        await asyncio.wait_for(sites.app.api.state.parts.renewals.settled(), 20)
        assert len(set(sites.world.spent)) == 1, "the same token each time"
        sites.world.out = {"identity"}
        assert (await browser.get(f"/cases/{NUMBER}")).status_code == 200, "the new tokens were kept"


async def test_new_tokens_that_could_not_be_kept_are_asked_for_again(
    sites: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site's own database hangs when identity has answered already."""
    monkeypatch.setattr(renewal, "PAUSES", (0.05,))
    portal = sites.app.api.state.parts
    keep = portal.sessions.keep

    async def hang_once(*_: object) -> None:
        monkeypatch.setattr(portal.sessions, "keep", keep)
        raise TimeoutError

    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        monkeypatch.setattr(portal.sessions, "keep", hang_once)
        monkeypatch.setattr(sessions, "RENEWAL", timedelta(0))
        assert (await browser.get("/")).status_code == 503
        sites.world.access_seconds = 600
        await asyncio.wait_for(portal.renewals.settled(), 20)
        sites.world.out = {"identity"}
        assert (await browser.get(f"/cases/{NUMBER}")).status_code == 200


async def test_trying_on_ends_and_gives_no_session_up(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "PAUSES", (0.05,))
    monkeypatch.setattr(renewal, "TRY_ON_SECONDS", 0.2)
    sites.world.access_seconds = 30
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.out = {"identity"}
        assert CITIZEN.name in (await browser.get("/")).text
        await asyncio.wait_for(sites.app.api.state.parts.renewals.settled(), 20)
        sites.world.out = set()
        assert CITIZEN.name in (await browser.get("/")).text


def test_trying_on_ends_before_identity_gives_no_lost_answer_again() -> None:
    one_try = 5.0 + renewal.WAIT_SECONDS
    assert renewal.TRY_ON_SECONDS + max(renewal.PAUSES) + one_try < IdentitySettings().refresh_grace.total_seconds()


@pytest.mark.parametrize(("column", "age"), [("expires_at", timedelta(0)), ("seen_at", timedelta(hours=2))])
async def test_old_sessions_are_over_and_swept_at_the_next_log_in(sites: Sites, column: str, age: timedelta) -> None:
    async with sites.browser() as old, sites.browser() as new:
        await sites.log_in(old)
        past = (datetime.now(UTC) - age - timedelta(seconds=1)).isoformat()
        sites.postgres.run(f"UPDATE portal.session SET {column} = '{past}'", f"t{HERE}")
        assert (await old.get("/cases")).status_code == 303
        await sites.log_in(new)
    assert len(sites.rows("SELECT id FROM portal.session")) == 1


async def test_the_migration_gives_the_application_what_it_needs_and_no_more(sites: Sites) -> None:
    granted = sites.rows(
        "SELECT privilege_type FROM information_schema.role_table_grants "
        f"WHERE table_schema = 'portal' AND grantee = 't{HERE}_portal'"
    )
    assert {row["privilege_type"] for row in granted} == {"SELECT", "INSERT", "UPDATE", "DELETE"}


# --- forms -------------------------------------------------------------------------------------------------------


async def test_a_form_sent_twice_carries_one_key_and_leads_to_one_receipt(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        hidden = await hidden_fields(browser)
        answers = [await browser.post("/items/XK-SPJY/filing", data=TYPED | hidden) for _ in range(2)]
        assert {answer.headers["location"] for answer in answers} == {f"/cases/{NUMBER}/receipt"}
        receipt = await browser.get(f"/cases/{NUMBER}/receipt")
    filings = [call for call in sites.world.calls if call.url.path == "/api/affairs/cases"]
    assert {call.headers["idempotency-key"] for call in filings} == {hidden["key"]}
    assert len(filings) == 2
    assert "ABCDEFGH2345" in receipt.text


async def test_the_check_code_is_there_again_in_another_browser(sites: Sites) -> None:
    """What receipt, my case and progress say of the check code: the applicant who logs in finds it."""
    sites.world.says("GET", f"/api/query/cases/{NUMBER}", 200, INDEXED)
    async with sites.browser() as browser:
        await sites.log_in(browser)
        for path in (f"/cases/{NUMBER}/receipt", f"/cases/{NUMBER}"):
            assert "ABCDEFGH2345" in (await browser.get(path)).text, path
        assert "在“我的办件”中打开" in (await browser.get(f"/cases/{NUMBER}/receipt")).text
        async with sites.browser(THERE) as elsewhere:
            await sites.log_in(elsewhere)
            assert "滨江区政务服务</p><h1>收件回执" in (await elsewhere.get(f"/cases/{NUMBER}/receipt")).text
        sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, CASE | {"check_code": None})
        assert "查询码已不能再次显示" in (await browser.get(f"/cases/{NUMBER}/receipt")).text
        sites.world.out = {"affairs"}
        assert "暂时读取不到" in (await browser.get(f"/cases/{NUMBER}")).text


async def test_a_case_that_has_closed_is_with_nobody_any_more(sites: Sites) -> None:
    granted = CASE | {"status": "granted", "actions": [], "outcome": {"result": "granted", "text": "准予"}}
    listed = {name: INDEXED[name] for name in INDEXED if name != "steps"}
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, granted)
    sites.world.says("GET", f"/api/query/cases/{NUMBER}", 200, INDEXED | {"status": "granted"})
    sites.world.says("GET", "/api/query/cases", 200, {"cases": [listed | {"status": "granted"}], "next": None})
    async with sites.browser() as browser, sites.browser() as clerk:
        await sites.log_in(browser)
        await sites.log_in(clerk, CLERK)
        pages = [
            await browser.get(f"/cases/{NUMBER}"),
            await clerk.get(f"/desk/{NUMBER}"),
            await browser.get("/cases"),
        ]
    assert [page.status_code for page in pages] == [200, 200, 200]
    assert not [page.url for page in pages if "现在由谁办理" in page.text]
    assert "决定单位" in pages[0].text and "决定单位" in pages[1].text


async def test_the_record_of_a_hand_over_names_who_received_it_and_who_sent_it(sites: Sites) -> None:
    brought = {"at": CASE["filed_at"], "action": "received", "actor_name": "余杭区", "department": "", "basis": ""}
    brought |= {"details": "属下级权限", "seconds_since_change": 60.0}
    received = CASE | {"status": "accepted", "path": [THERE, HERE], "actions": ["outcome"], "traces": [brought]}
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, received)
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        page = (await clerk.get(f"/desk/{NUMBER}")).text
    record = page.partition(">接收<")[2].partition("</li>")[0]
    assert "滨江区" in record and "由余杭区移送；属下级权限" in record


async def test_a_limit_that_holidays_may_still_move_is_told_as_provisional(sites: Sites) -> None:
    running = CASE | {"status": "accepted", "due": "2090-01-09", "actions": ["outcome"]}
    for case, provisional in ((running, True), (running | {"due": "2026-12-01"}, False)):
        sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, case)
        sites.world.says("GET", f"/api/query/cases/{NUMBER}", 200, INDEXED | {"status": "accepted", "due": case["due"]})
        async with sites.browser() as browser, sites.browser() as clerk:
            await sites.log_in(browser)
            await sites.log_in(clerk, CLERK)
            pages = [await browser.get(f"/cases/{NUMBER}"), await clerk.get(f"/desk/{NUMBER}")]
        assert [f"{case['due']}（暂定" in page.text for page in pages] == [provisional, provisional]


async def test_a_case_that_was_declined_says_why_to_its_applicant(sites: Sites) -> None:
    steps = [*CASE["steps"], step(2, HERE, "declined", "不属于本机关职权范围")]
    declined = CASE | {"status": "declined", "actions": [], "steps": steps}
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, declined)
    sites.world.says("GET", f"/api/query/cases/{NUMBER}", 200, INDEXED | {"status": "declined"})
    async with sites.browser() as browser:
        await sites.log_in(browser)
        page = (await browser.get(f"/cases/{NUMBER}")).text
    assert "不予受理的理由" in page and "不属于本机关职权范围" in page


async def test_a_phone_with_full_width_digits_is_the_same_phone(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        hidden = await hidden_fields(browser)
        answer = await browser.post("/items/XK-SPJY/filing", data=TYPED | hidden | {"phone": "+86 139０0001111"})
    assert answer.headers.get("location") == f"/cases/{NUMBER}/receipt", answer.text
    sent = next(call for call in sites.world.calls if call.url.path == "/api/affairs/cases")
    assert json.loads(sent.content)["applicant"]["phone"] == "13900001111"


async def test_what_is_wrong_with_a_form_is_told_at_the_field_and_nothing_typed_is_lost(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        hidden = await hidden_fields(browser)
        answer = await browser.post("/items/XK-SPJY/filing", data=TYPED | hidden | {"phone": "12"})
    assert answer.status_code == 422
    assert 'href="#phone"' in answer.text
    assert "江南大道 1 号" in answer.text
    assert hidden["key"] in answer.text
    assert not [call for call in sites.world.calls if call.url.path == "/api/affairs/cases"]


async def test_a_form_sent_after_the_session_ended_leads_back_to_it(sites: Sites) -> None:
    form = f"{site(HERE)}/items/XK-SPJY/filing"
    async with sites.browser() as browser:
        token = await csrf(browser)
        data = TYPED | {"key": "k" * 24, "csrf": token}
        sent = await browser.post("/items/XK-SPJY/filing", data=data, headers={"referer": form})
        back = await browser.get(sites.world.grant(sent.headers["location"], CITIZEN))
        assert back.headers["location"] == "/items/XK-SPJY/filing"
    assert not [call for call in sites.world.calls if call.url.path == "/api/affairs/cases"]


@pytest.mark.parametrize("told", [NUMBER, "", "/evil"])
async def test_a_key_used_for_another_form_is_told_and_replaced(sites: Sites, told: str) -> None:
    conflict = {"type": "urn:yiwang:idempotency-conflict", "status": 409} | ({"existing": told} if told else {})
    sites.world.says("POST", "/api/affairs/cases", 409, conflict)
    async with sites.browser() as browser:
        await sites.log_in(browser)
        hidden = await hidden_fields(browser)
        answers = [await browser.post("/items/XK-SPJY/filing", data=TYPED | hidden) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [409, 409]
    page = answers[0].text
    assert "此前已经提交过" in page and TYPED["form-place"] in page and 'data-test="new-form"' in page
    before = f"/cases/{NUMBER}" if told == NUMBER else "/cases"
    assert f'href="{before}" target="_blank" data-test="filed-before"' in page
    assert hidden["key"] not in page
    keys = {key for answer in answers for key in re.findall(r'name="key" value="([^"]+)"', answer.text)}
    assert len(keys) == 1, "loaded again, the page has the key that it had"


async def test_a_form_sent_again_leads_to_its_receipt_which_says_so(sites: Sites) -> None:
    sites.world.says("POST", "/api/affairs/cases", 200, RECEIPT | {"duplicate": True})
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sent = await browser.post("/items/XK-SPJY/filing", data=TYPED | await hidden_fields(browser))
        assert sent.headers["location"] == f"/cases/{NUMBER}/receipt?again=true"
        again, first = [await browser.get(f"/cases/{NUMBER}/receipt{query}") for query in ("?again=true", "")]
    assert "没有产生第二件" in again.text and 'href="/items/XK-SPJY/filing"' in again.text
    assert "没有产生第二件" not in first.text


async def test_the_address_of_a_form_has_its_key(sites: Sites) -> None:
    """Whoever comes back to it in the browser's history gets the same form, with the same key."""
    path = "/items/XK-SPJY/filing"
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sent = await browser.get(f"{path}?from=item&from=x%26y")
        address = sent.headers["location"]
        assert sent.status_code == 303 and address.startswith(f"{path}?from=item&from=x%26y&form=")
        assert address != (await browser.get(f"{path}?from=item&from=x%26y")).headers["location"]
        assert (await browser.head(path)).status_code == 303
        key = address.rpartition("=")[2]
        pages = [await browser.get(address) for _ in range(2)]
        assert [re.findall(r'name="key" value="([^"]+)"', page.text) for page in pages] == [[key], [key]]
        # who has to log in again comes back to the same form
        sites.postgres.run("DELETE FROM portal.session", f"t{HERE}")
        out = await browser.get(address)
        back = await browser.get(sites.world.grant(out.headers["location"], CITIZEN))
        assert back.headers["location"] == address


@pytest.mark.parametrize("key", ["", "short", "k" * 23, "k" * 25, "k" * 23 + "%26", "k" * 23 + "%0A", "密" * 24])
async def test_what_is_no_key_of_a_form_is_replaced(sites: Sites, key: str) -> None:
    path = "/items/XK-SPJY/filing"
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sent = await browser.get(f"{path}?form={key}")
        assert sent.status_code == 303
        assert re.fullmatch(re.escape(path) + r"\?form=[A-Za-z0-9_-]{24}", sent.headers["location"])
        hidden = await hidden_fields(browser) | {"key": unquote(key)}
        answer = await browser.post(path, data=TYPED | hidden)
    assert answer.status_code == 422
    assert "请核对后再提交一次" in answer.text and TYPED["form-place"] in answer.text
    assert not [call for call in sites.world.calls if call.url.path == "/api/affairs/cases"]


@pytest.mark.parametrize("path", ["/items/XK-SPJY/filing", "/logout", "/progress"])
@pytest.mark.parametrize("twist", ["no token", "another's token", "another site"])
async def test_a_form_of_somebody_elses_page_does_nothing(sites: Sites, path: str, twist: str) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        token = await csrf(browser)
        data = TYPED | {"key": "k" * 24, "csrf": {"no token": "", "another's token": "x" * 43}.get(twist, token)}
        headers = {"origin": "https://evil.example"} if twist == "another site" else {}
        answer = await browser.post(path, data=data, headers=headers)
        assert answer.status_code == 403
        assert "页面已过期" in answer.text
        assert CITIZEN.name in (await browser.get("/")).text
    assert not [call for call in sites.world.calls if call.url.path == "/api/affairs/cases"]


async def test_text_from_people_is_never_markup(sites: Sites) -> None:
    evil = "<script>alert(1)</script>"
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, CASE | {"form": {"place": evil}, "item_name": evil})
    async with sites.browser() as browser:
        await sites.log_in(browser, Person("citizen-3", evil))
        page = await browser.get(f"/cases/{NUMBER}")
    assert evil not in page.text
    assert page.text.count(html.escape(evil)) >= 3
    assert "script-src 'self'" in page.headers["content-security-policy"]


# --- the clerk ---------------------------------------------------------------------------------------------------


async def test_the_desk_is_for_clerks_of_this_tenant(sites: Sites) -> None:
    sites.world.says("GET", "/api/affairs/desk", 200, {"cases": [], "next": None, "figures": FIGURES})
    async with sites.browser() as citizen, sites.browser(THERE) as elsewhere, sites.browser() as clerk:
        await sites.log_in(citizen)
        await sites.log_in(elsewhere, CLERK)
        await sites.log_in(clerk, CLERK)
        answers = [await browser.get("/desk") for browser in (citizen, elsewhere, clerk)]
        assert [answer.status_code for answer in answers] == [403, 403, 200]
        assert "办件台" in (await clerk.get("/")).text
        assert "办件台" not in (await citizen.get("/")).text
        assert (await clerk.get("/administration")).status_code == 403


def on_desk(number: str, accept_by: str) -> dict[str, Any]:
    names = ("item", "item_name", "status", "holder", "applicant_name", "filed_at", "changed_at", "due")
    return {name: CASE[name] for name in names} | {"number": number, "accept_by": accept_by}


async def test_the_desk_is_turned_by_cursor_and_counts_what_it_does_not_show(sites: Sites) -> None:
    """Each figure is the database's, each list's end within reach, an overdue case marked."""
    pages: dict[str | None, dict[str, Any]] = {
        None: {"cases": [on_desk(NUMBER, str(today() - timedelta(days=30)))], "next": "second+page"},
        "second+page": {"cases": [on_desk(NUMBER[:-1] + "8", str(today() + timedelta(days=30)))], "next": None},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["status"] == "filed"
        return httpx.Response(200, json=pages[request.url.params.get("cursor")] | {"figures": FIGURES})

    sites.world.answers["GET", "/api/affairs/desk"] = answer
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        first = (await clerk.get("/desk?status=filed")).text
        onward = re.search(r'href="([^"]+)" rel="next"', first)
        assert onward
        second = (await clerk.get(html.unescape(onward[1]))).text
        back = re.search(r'href="([^"]+)" data-test="first-page"', second)
    assert first.count("due--over") == 1 and NUMBER in first
    assert "共 206 件，本页 1 件" in first and "共 206 件，本页 1 件" in second
    assert NUMBER[:-1] + "8" in second and 'rel="next"' not in second
    assert back and html.unescape(back[1]) == "/desk?status=filed"
    for figure in FIGURES.values():
        assert f">{figure}</span>" in first


async def test_who_handed_a_case_over_and_why_stands_before_whoever_got_it(sites: Sites) -> None:
    steps = [
        *CASE["steps"],
        step(2, THERE, "in_transit", "涉及跨区经营，报请核查。"),
        step(3, HERE, "accepted"),
    ]
    brought = CASE | {"status": "accepted", "steps": steps, "path": [THERE, HERE], "actions": ["hand-over", "outcome"]}
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, brought)
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        page = (await clerk.get(f"/desk/{NUMBER}")).text
    assert "余杭区移送的事由" in page
    assert page.count("涉及跨区经营，报请核查。") == 2  # before the acts, and in the way
    assert "滨江区 → 余杭区 → 滨江区" in page


@pytest.mark.parametrize(
    ("panel", "form", "told"),
    [
        ("decline", {"accepted": "false", "reason": " "}, "请写明不予受理的理由"),
        ("hand-over", {"to": "", "reason": "按权限办理，报请核查"}, "请选择流转至哪里"),
        ("hand-over", {"to": THERE, "reason": ""}, "请写明流转的事由"),
        ("outcome", {"result": "", "text": "经审查符合条件"}, "请选择决定"),
    ],
)
async def test_an_act_that_lacks_something_is_told_where_it_was_tried(
    sites: Sites, panel: str, form: dict[str, str], told: str
) -> None:
    """The panel of what was just tried stands open, no other, and what was typed is still in it."""
    actions = ["acceptance"] if panel == "decline" else ["hand-over", "outcome"]
    status = "filed" if panel == "decline" else "accepted"
    case = CASE | {"status": status, "actions": actions, "path": [THERE, HERE]}
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, case)
    action = "acceptance" if panel == "decline" else panel
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        answer = await clerk.post(f"/desk/{NUMBER}/{action}", data=form | {"csrf": await csrf(clerk)})
    assert answer.status_code == 422
    opened = re.findall(r'<details class="act" name="act" open data-test="([^"]+)"', answer.text)
    assert opened == [f"act-{panel}"]
    assert told in answer.text
    for typed in (form.get("text", ""), form.get("reason", "").strip()):
        assert typed in answer.text
    assert not [call for call in sites.world.calls if call.method == "POST" and "/cases/" in call.url.path]


async def test_a_place_that_affairs_refuses_is_told_at_the_choice_of_the_place(sites: Sites) -> None:
    case = CASE | {"status": "accepted", "actions": ["hand-over", "outcome"], "path": [THERE, HERE]}
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, case)
    sites.world.says("POST", f"/api/affairs/cases/{NUMBER}/hand-over", 422, {"type": "urn:yiwang:not-in-the-way"})
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        form = {"csrf": await csrf(clerk), "to": THERE, "reason": "按权限办理"}
        answer = await clerk.post(f"/desk/{NUMBER}/hand-over", data=form)
    assert answer.status_code == 422
    assert 'id="to-error"' in answer.text and ">按权限办理</textarea>" in answer.text
    assert f'value="{THERE}" selected' in answer.text


async def test_an_act_that_came_too_late_is_told_on_the_case(sites: Sites) -> None:
    sites.world.says("POST", f"/api/affairs/cases/{NUMBER}/acceptance", 409, {"type": "urn:yiwang:not-possible-now"})
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        form = {"csrf": await csrf(clerk), "accepted": "true"}
        answer = await clerk.post(f"/desk/{NUMBER}/acceptance", data=form)
    assert answer.status_code == 409
    assert "办件状态已经变化" in answer.text


# --- when something is out ---------------------------------------------------------------------------------------


async def test_identity_out_leaves_pages_for_everybody_and_good_tokens(sites: Sites) -> None:
    sites.world.says("GET", "/api/query/cases", 200, {"cases": [], "next": None})
    async with sites.browser() as browser, sites.browser() as stranger:
        await sites.log_in(browser)
        sites.world.out = {"identity"}
        assert (await browser.get("/cases")).status_code == 200
        assert (await stranger.get("/")).status_code == 200
        assert (await stranger.get("/items/XK-SPJY")).status_code == 200


async def test_identity_out_and_the_token_expired_says_what_still_works(sites: Sites) -> None:
    sites.world.access_seconds = -1
    async with sites.browser() as browser:
        await sites.log_in(browser)
        sites.world.out = {"identity"}
        assert (await browser.get("/")).status_code == 200
        page = await browser.get("/cases")
    assert page.status_code == 503
    assert "统一身份认证暂时无法使用" in page.text
    assert "凭编号和查询码查进度仍可" in page.text


async def test_identity_out_a_log_in_is_answered_by_a_page_of_ours(sites: Sites) -> None:
    sites.world.out = {"identity"}
    async with sites.browser() as browser:
        answers = [await browser.get("/login"), await browser.get("/cases")]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert all("统一身份认证暂时无法使用" in answer.text for answer in answers)


async def test_what_is_out_is_a_line_in_the_log_and_a_bug_is_an_error_with_its_trace(sites: Sites) -> None:
    async with sites.browser() as browser:
        with structlog.testing.capture_logs() as logs:
            sites.world.out = {"affairs"}
            assert (await browser.get("/items")).status_code == 503
            sites.world.out = set()
            sites.world.says("GET", "/api/affairs/items", 200, {"items": "no list"})
            assert (await browser.get("/items")).status_code == 500
    said = [(line["event"], line["log_level"], "exc_info" in line) for line in logs if line["event"] != "request"]
    assert said[:2] == [("request.unavailable", "warning", False), ("request.problem", "error", True)]


async def test_affairs_out_leaves_a_home_page_that_says_so(sites: Sites) -> None:
    sites.world.out = {"affairs"}
    async with sites.browser() as browser:
        home, items = await browser.get("/"), await browser.get("/items")
    assert (home.status_code, items.status_code) == (503, 503)
    assert "办事事项暂时读取不到" in home.text
    assert "办事服务暂时无法使用" in items.text


async def test_the_index_out_shows_the_case_from_its_first_tenant(sites: Sites) -> None:
    sites.world.out = {"query"}
    async with sites.browser() as browser:
        await sites.log_in(browser)
        assert "江南大道 1 号" in (await browser.get(f"/cases/{NUMBER}")).text
        page = await browser.get("/cases")
    assert page.status_code == 503
    assert "办件查询暂时无法使用" in page.text


async def test_errors_are_pages_with_a_request_number(sites: Sites) -> None:
    async with sites.browser() as browser:
        page = await browser.get("/nothing-here")
        assert page.status_code == 404
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["x-request-id"] in page.text
        await sites.log_in(browser)
        assert CITIZEN.name in (await browser.get("/nothing-here")).text
        unknown = await browser.get("/", headers={"host": "nobody.zj.localhost:8443"})
        assert unknown.status_code == 421


@pytest.mark.parametrize(
    ("path", "heading", "onward"),
    [
        ("/cases/3301082026112400000018", "没有找到这个办件", "/cases"),
        ("/cases/12345", "没有找到这个办件", "/cases"),
        ("/cases/3301082026112400000018%3Fx=1/receipt", "没有找到这个办件", "/cases"),
        ("/cases/9901082026112400000018", "没有找到这个办件", "/cases"),
        ("/desk/3301082026112400000018", "没有找到这个办件", "/desk"),
        ("/items/XK-NONE", "没有找到这个事项", "/items"),
        ("/items/食品", "没有找到这个事项", "/items"),
        ("/nowhere", "没有找到这个页面", "/"),
    ],
)
async def test_what_is_missing_is_named_and_the_way_on_leads_to_its_list(
    sites: Sites, path: str, heading: str, onward: str
) -> None:
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        page = await clerk.get(path)
    assert page.status_code == 404
    assert heading in page.text
    assert f'href="{onward}" data-test="error-back"' in page.text


@pytest.mark.parametrize(
    ("path", "status"), [("/cases?after=rubbish", 422), ("/desk?after=rubbish", 422), ("/items?q=%B2%C4", 400)]
)
async def test_a_link_that_is_broken_is_not_called_a_form(sites: Sites, path: str, status: int) -> None:
    for service in ("/api/query/cases", "/api/affairs/desk"):
        sites.world.says("GET", service, 422, {"type": "urn:yiwang:invalid", "status": 422})
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        page = await clerk.get(path)
    assert page.status_code == status
    assert "这个链接打不开" in page.text and "提交" not in page.text
    assert f'href="{path.partition("?")[0]}" data-test="error-back"' in page.text


async def test_a_failure_of_ours_knows_who_is_logged_in(sites: Sites) -> None:
    sites.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, {"not": "a case"})
    sites.world.says("GET", "/api/affairs/items/XK-SPJY", 200, {"not": "an item"})
    async with sites.browser() as browser, sites.browser() as stranger:
        await sites.log_in(browser)
        page, nobodys = await browser.get(f"/cases/{NUMBER}/receipt"), await stranger.get("/items/XK-SPJY")
        sites.world.out = {"affairs"}
        out = await browser.get(f"/cases/{NUMBER}/receipt")
    assert (page.status_code, nobodys.status_code, out.status_code) == (500, 500, 503)
    for answer in (page, out):
        assert CITIZEN.name in answer.text and 'data-test="log-in"' not in answer.text
    assert 'data-test="log-in"' in nobodys.text


@pytest.mark.parametrize("unkeepable", UNKEEPABLE)
async def test_text_that_cannot_be_kept_is_refused_on_a_page(
    sites: Sites, monkeypatch: pytest.MonkeyPatch, unkeepable: type[Exception]
) -> None:
    error = UnicodeDecodeError("utf-8", b"", 0, 1, "no text") if unkeepable is UnicodeError else unkeepable("no text")

    async def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("services.portal.affairs.Affairs.item", refuse)
    async with sites.browser() as browser:
        page = await browser.get("/items/XK-SPJY")
    assert (page.status_code, page.headers["content-type"]) == (422, "text/html; charset=utf-8")


async def test_where_nobody_can_tell_who_visits_a_page_claims_neither(sites: Sites) -> None:
    """Sessions cannot be read: somebody with a cookie is neither named nor told that they are logged out."""
    async with sites.browser() as browser, sites.browser() as stranger:
        await sites.log_in(browser)
        sites.postgres.run("ALTER TABLE portal.session RENAME TO lost", f"t{HERE}")
        try:
            page, nobodys = await browser.get("/cases"), await stranger.get("/nowhere")
        finally:
            sites.postgres.run("ALTER TABLE portal.lost RENAME TO session", f"t{HERE}")
    assert (page.status_code, nobodys.status_code) == (500, 404)
    assert CITIZEN.name not in page.text and 'data-test="log-in"' not in page.text
    assert 'data-test="log-in"' in nobodys.text


# --- progress ----------------------------------------------------------------------------------------------------


async def test_progress_tells_the_visitors_address_under_the_tenants_token(sites: Sites) -> None:
    steps = [{"tenant": HERE, "tenant_name": "滨江区", "status": "filed", "at": CASE["filed_at"]}]
    sites.world.says("GET", "/api/query/progress", 200, {"number": NUMBER, "status": "filed", "steps": steps})
    async with sites.browser() as browser:
        wide = "".join(chr(ord(digit) + 0xFEE0) for digit in NUMBER)
        form = {"csrf": await csrf(browser), "number": wide, "check_code": "abcd efgh２345"}
        headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.7"}
        page = await browser.post("/progress", data=form, headers=headers)
    asked = next(call for call in sites.world.calls if call.url.path == "/api/query/progress")
    assert asked.headers["x-visitor-address"] == "203.0.113.7"
    assert asked.headers["authorization"] == f"Bearer relay-of-{HERE}"
    assert asked.url.params["check_code"] == "ABCDEFGH2345" and asked.url.params["number"] == NUMBER
    assert "滨江区" in page.text
    assert NUMBER not in str(page.url)


async def test_the_index_counts_attempts_by_the_visitor_whom_a_portal_names(network: Network) -> None:
    """So one visitor cannot lock out everybody behind the same portal; and nobody but a portal may name one."""
    attempt = {"check_code": "2" * 12}

    def limited_after(token: str | None, place: str, address: str) -> int:
        """How many wrong attempts, each at another number, until the address is limited."""
        with network.query(token) as client:
            for count in range(1, 70):
                params = attempt | {"number": f"{place}20200101{count:08d}"}
                headers = {"x-visitor-address": address, "x-forwarded-for": f"192.0.2.{place[-2:].lstrip('0')}"}
                if client.get("/progress", params=params, headers=headers).status_code == 429:
                    return count
        return 0

    portal = network.issuer.relay(COUNTY.code)
    assert limited_after(portal, COUNTY.code, "203.0.113.1") == 61
    with network.query(portal) as client:
        params = attempt | {"number": f"{COUNTY.code}2020010100000001"}
        other = client.get("/progress", params=params, headers={"x-visitor-address": "203.0.113.2"})
    assert other.status_code == 404
    with network.query() as client:
        forged = [
            client.get(
                "/progress",
                params=attempt | {"number": f"{NEIGHBOUR.code}20200101{count:08d}"},
                headers={"x-visitor-address": f"203.0.113.{count}", "x-forwarded-for": "192.0.2.77"},
            ).status_code
            for count in range(1, 63)
        ]
    assert forged[59] == 404
    assert forged[61] == 429
