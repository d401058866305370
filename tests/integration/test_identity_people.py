"""Registration, log-in and its limits, invitations, the operator's API: on real PostgreSQL through the whole way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from services.identity.passwords import Passwords
from services.identity.protocol.store import digest
from services.identity.sessions.log_in import LoggedIn, Refused
from services.identity.sessions.log_in import log_in as evaluate
from services.identity.sessions.store import PAGE, Attempt, Browser, Sessions
from services.identity.settings import IdentitySettings
from services.kernel.tenancy import Doors
from tests.integration.identity_site import PASSWORD, IdentitySite, RelyingParty, log_in, submit

SETTINGS = IdentitySettings()
LIMIT = SETTINGS.attempts_from_address
FORM = {"name": "李雷", "phone": "13900000001", "username": "lilei", "password": PASSWORD, "repeated": PASSWORD}


@pytest.fixture
def site(identity_site: IdentitySite) -> IdentitySite:
    identity_site.postgres.run("TRUNCATE identity.attempt, identity.device", "identity")
    return identity_site


@contextmanager
def evaluations(site: IdentitySite) -> Iterator[list[float]]:
    """How many hashes the service computes meanwhile; the number is in the list afterwards."""
    counted: list[float] = []
    before = _evaluations(site)
    yield counted
    counted.append(_evaluations(site) - before)


def _evaluations(site: IdentitySite) -> float:
    with httpx.Client(trust_env=False) as client:
        text = client.get(f"http://127.0.0.1:{site.port}/metrics").text
    match = re.search(r'yiwang_password_evaluations_total\{purpose="verify"\} (\S+)', text)
    return float(match[1]) if match else 0.0


# ---- registration ----


def test_registered_person_is_logged_in_and_can_log_in_again_by_name_or_phone(site: IdentitySite) -> None:
    with site.browser() as browser:
        done = submit(browser, "/register?next=/", **FORM | {"username": "LiLei", "phone": "+86 139-0000-0001"})
        assert done.status_code == 303, done.text
        assert "李雷" in browser.get("/").text
    logins = [
        "lilei",
        "LILEI",
        "ＬｉＬｅｉ\u200b",
        "13900000001",
        "+86 139-0000-0001",
        "139０0000001",
        " (+86) 139 0000 0001",
    ]
    for login in logins:
        with site.browser() as browser:
            assert log_in(browser, login).status_code == 303


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"username": "x"}, "用户名为"),
        ({"username": "13800138000"}, "用户名为"),
        ({"username": "a<b>c"}, "用户名为"),
        ({"phone": "12345"}, "11 位手机号"),
        ({"name": " "}, "真实姓名"),
        ({"name": "\u3000\u200b"}, "真实姓名"),
        ({"name": "李\u202e雷"}, "真实姓名"),
        ({"name": "李\n雷"}, "真实姓名"),
        ({"name": "<script>alert(1)</script>"}, "真实姓名"),
        ({"password": "short", "repeated": "short"}, "至少 8"),
        ({"password": "12345678", "repeated": "12345678"}, "太常见"),
        ({"repeated": "another one"}, "不一致"),
    ],
)
def test_bad_registration_is_told_at_its_field(site: IdentitySite, change: dict[str, str], message: str) -> None:
    with site.browser() as browser:
        form = FORM | {"username": "hanmeimei", "phone": "13900000002"} | change
        answer = submit(browser, "/register", **form)
    assert answer.status_code == 422 and message in answer.text
    assert "<script>" not in answer.text and PASSWORD not in answer.text
    assert 'aria-invalid="true"' in answer.text


def test_taken_name_and_phone_are_told(site: IdentitySite) -> None:
    site.person("taken", phone="13700000001")
    with site.browser() as browser:
        assert "已被使用" in submit(browser, "/register", **FORM | {"username": "taken", "phone": "13700000002"}).text
        assert "已注册" in submit(browser, "/register", **FORM | {"username": "untaken", "phone": "13700000001"}).text


def test_forms_of_other_sites_are_refused(site: IdentitySite) -> None:
    site.person("careful")
    form = {"login": "careful", "password": PASSWORD}
    with site.browser() as browser:
        assert browser.post("/login", data=form).status_code == 403, "no token"
        page = browser.get("/login").text
        token = re.search(r'name="csrf" value="([^"]+)"', page)
        assert token
        whole = form | {"csrf": token[1]}
        assert browser.post("/login", data=whole, headers={"origin": "https://thief.test"}).status_code == 403
        assert browser.post("/login", data=whole, headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert browser.post("/login", data=whole, headers={"origin": site.issuer}).status_code == 303


@pytest.mark.parametrize(
    "target", ["https://thief.test/", "//thief.test/", "/\\thief.test", "javascript:alert(1)", "/\t/x"]
)
def test_log_in_never_leads_off_the_site(site: IdentitySite, target: str) -> None:
    site.person("careful")
    with site.browser() as browser:
        page = browser.get("/login", params={"next": target})
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token
        form = {"login": "careful", "password": PASSWORD, "csrf": token[1], "next": target}
        assert browser.post("/login", data=form).headers["location"] == "/"


def test_cookies_are_for_this_host_alone(site: IdentitySite) -> None:
    site.person("careful")
    with site.browser() as browser:
        cookies = log_in(browser, "careful").headers.get_list("set-cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert cookie.startswith("__Host-")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; ")) and "Domain" not in cookie


# ---- log-in and its limits ----


@pytest.mark.parametrize("at_once", [1, 10, 100])
def test_brute_force_evaluates_no_more_than_the_limit(site: IdentitySite, at_once: int) -> None:
    site.person("victim")
    with evaluations(site) as counted, ThreadPoolExecutor(min(at_once, 25)) as threads:
        statuses = list(
            threads.map(lambda n: _guess(site, "victim", f"guess number {n}"), range(max(at_once, LIMIT + 3)))
        )
    assert counted[0] <= LIMIT
    assert statuses.count(401) <= LIMIT and set(statuses) <= {401, 429}
    with site.browser() as browser:
        limited = log_in(browser, "victim")
    assert limited.status_code == 429 and int(limited.headers["retry-after"]) > 0, "not even the right one now"


def _guess(site: IdentitySite, login: str, password: str) -> int:
    with site.browser() as browser:
        return log_in(browser, login, password).status_code


def test_limit_of_an_unknown_name_looks_alike(site: IdentitySite) -> None:
    with evaluations(site) as counted:
        statuses = [_guess(site, "nobody at all", f"guess {n}") for n in range(LIMIT + 2)]
    assert statuses == [401] * LIMIT + [429] * 2 and counted[0] == LIMIT, "as many hashes as for a real one"


@pytest.mark.parametrize("password", ["", "\x00", "x" * 10_000])
def test_passwords_that_are_none_never_pass(site: IdentitySite, password: str) -> None:
    site.person("victim")
    with evaluations(site) as counted:
        assert _guess(site, "victim", password) == 401
    assert counted[0] == 0


def test_form_with_two_passwords_or_none_never_passes(site: IdentitySite) -> None:
    site.person("victim")
    with site.browser() as browser:
        token = re.search(r'name="csrf" value="([^"]+)"', browser.get("/login").text)
        assert token
        for fields in ({"login": "victim"}, {"login": "victim", "password[]": PASSWORD}):
            assert browser.post("/login", data=fields | {"csrf": token[1]}).status_code == 401


def test_owner_is_not_locked_out(site: IdentitySite) -> None:
    """Neither of the session that lasts, nor of the browser that was used before."""
    site.person("owner")
    with site.browser() as browser:
        log_in(browser, "owner")
        for n in range(LIMIT + 2):
            _guess(site, "owner", f"guess {n}")
        assert _guess(site, "owner", PASSWORD) == 429, "a strange browser at this address"
        assert browser.get("/").status_code == 200, "the session lasts"
        RelyingParty(site).code_for(browser)
        assert log_in(browser, "owner", path="/login?again=1").status_code == 303, "and the known browser may log in"


def test_right_password_gives_its_attempt_back(site: IdentitySite) -> None:
    site.person("diligent")
    for _ in range(LIMIT + 3):
        with site.browser() as browser:
            assert log_in(browser, "diligent").status_code == 303


# ---- the limit itself, beside a known-bad twin ----


class CountingPasswords(Passwords):
    """Counts what is evaluated, and evaluates nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.evaluated = 0

    async def matches(self, stored: str | None, password: str) -> bool:
        self.evaluated += 1
        await asyncio.sleep(0.002)
        return False


class CheckThenIncrement(Sessions):
    """The known-bad twin: looks whether the limit is reached, and counts when the guess was wrong."""

    async def begin_log_in(self, login: str, browser: Browser) -> Attempt:
        async with self._doors.own_connection() as connection:
            made = await connection.fetchval("SELECT made FROM identity.attempt WHERE key = $1", login)
        return Attempt(60 if (made or 0) >= LIMIT else 0, None, None, [login])

    async def trace_failure(self, attempt: Attempt, browser: Browser) -> None:
        async with self._doors.own_connection() as connection:
            await connection.execute(
                "INSERT INTO identity.attempt AS a (key, made, window_ends_at) VALUES ($1, 1, now() + interval '1 h')"
                " ON CONFLICT (key) DO UPDATE SET made = a.made + 1",
                attempt.keys[0],
            )


async def evaluated(sessions: Sessions) -> int:
    """How many of a hundred guesses at once are evaluated."""
    passwords = CountingPasswords()
    browser = Browser("192.0.2.7", "test", "d" * 43)
    await asyncio.gather(*(evaluate(sessions, passwords, "victim", f"guess {n}", browser) for n in range(100)))
    return passwords.evaluated


@pytest.fixture
def doors(identity_doors: Doors) -> Doors:
    return identity_doors


async def test_hundred_guesses_at_once_are_no_more_than_the_limit(site: IdentitySite, doors: Doors) -> None:
    site.person("victim")
    assert await evaluated(Sessions(doors, SETTINGS)) == LIMIT


async def test_check_then_increment_is_caught(doors: Doors) -> None:
    assert await evaluated(CheckThenIncrement(doors, SETTINGS)) > LIMIT


async def test_account_has_a_limit_over_all_addresses(site: IdentitySite, doors: Doors) -> None:
    site.person("victim")
    passwords, sessions = CountingPasswords(), Sessions(doors, SETTINGS)
    for n in range(SETTINGS.attempts_of_account + 10):
        await evaluate(sessions, passwords, "victim", "guess", Browser(f"192.0.2.{n}", "test", "d" * 43))
    assert passwords.evaluated == SETTINGS.attempts_of_account


async def test_one_stopped_address_does_not_use_up_the_accounts_limit(site: IdentitySite, doors: Doors) -> None:
    site.person("victim")
    passwords, sessions = Passwords(), Sessions(doors, SETTINGS)
    for n in range(SETTINGS.attempts_of_account + 10):
        await evaluate(sessions, passwords, "victim", f"guess {n}", Browser("192.0.2.9", "test", "d" * 43))
    answer = await evaluate(sessions, passwords, "victim", PASSWORD, Browser("192.0.2.10", "test", "e" * 43))
    assert isinstance(answer, LoggedIn), "the owner, from elsewhere"


async def test_limit_ends_with_its_window(site: IdentitySite, doors: Doors) -> None:
    site.person("victim")
    passwords, sessions, browser = (
        CountingPasswords(),
        Sessions(doors, SETTINGS),
        Browser("192.0.2.8", "test", "d" * 43),
    )
    for _ in range(LIMIT + 1):
        answer = await evaluate(sessions, passwords, "victim", "guess", browser)
    assert isinstance(answer, Refused) and 0 < answer.wait <= SETTINGS.attempt_window.total_seconds()
    site.postgres.run("UPDATE identity.attempt SET window_ends_at = now()", "identity")
    await evaluate(sessions, passwords, "victim", "guess", browser)
    assert passwords.evaluated == LIMIT + 1


# ---- the operator's API ----


def test_people_are_made_once_by_username(site: IdentitySite) -> None:
    office = {"tenant": "330106", "department": "行政审批科", "role": "clerk"}
    body = {"username": "clerk.one", "password": PASSWORD, "name": "赵云", "phone": "13600000001", "roles": [office]}
    with site.operator() as operator:
        first = operator.post("/api/identity/people", json=body)
        again = operator.post("/api/identity/people", json=body)
        assert (first.status_code, again.status_code) == (201, 200) and first.json() == again.json()
        assert first.json()["roles"] == [office] and "password" not in first.text
        assert operator.get("/api/identity/people/clerk.one").json() == first.json()
        assert operator.get("/api/identity/people/nobody").status_code == 404
        said_otherwise = body | {"username": "Ｃlerk.one ", "name": "赵云\u3000", "phone": "+86 136-0000-0001"}
        assert operator.post("/api/identity/people", json=said_otherwise).json() == first.json()
        taken = operator.post("/api/identity/people", json=body | {"username": "clerk.two"})
        assert taken.status_code == 409
    trail = site.rows("SELECT person_id, event FROM identity.audit ORDER BY id")
    assert [row["event"] for row in trail if row["person_id"] == first.json()["id"]] == [
        "registered",
        "role_granted",
    ], "the second call changed nothing"


def test_people_without_a_phone_are_not_alike(site: IdentitySite) -> None:
    """The empty word is no phone, so two may have it; and nobody logs in by it."""
    for username in ("phoneless.one", "phoneless.two"):
        assert site.person(username, phone="")["phone"] is None
    assert _guess(site, "", PASSWORD) == 401


def test_every_session_is_on_a_page_of_the_account_and_all_are_counted(site: IdentitySite) -> None:
    """One more than a page holds: the oldest is reached, and can be ended, from the second page."""
    person = site.person("everywhere")
    site.postgres.run(
        "INSERT INTO identity.session (id, token_hash, person_id, address, browser, created_at, expires_at) "
        "SELECT gen_random_uuid(), sha256(serial::text::bytea), id, '203.0.113.9', 'browser ' || serial, "
        "now() - make_interval(mins => serial / 2 + 1), now() + interval '1 h' "
        f"FROM identity.person, generate_series(1, {PAGE}) AS serial WHERE username = 'everywhere'",
        "identity",
    )
    with site.client() as browser:
        log_in(browser, "everywhere")
        first = browser.get("/").text
        onward = re.search(r'href="([^"]+)" rel="next"', first)
        assert onward, person
        second = browser.get(onward[1]).text
        broken = browser.get("/?after=rubbish")
    assert broken.status_code == 422 and "这个链接打不开" in broken.text
    pages = [re.findall(r"<strong>(browser \d+)</strong>", page) for page in (first, second)]
    assert [len(page) for page in pages] == [PAGE - 1, 1]
    assert {*pages[0], *pages[1]} == {f"browser {serial}" for serial in range(1, PAGE + 1)}
    assert f"共 {PAGE + 1} 处登录" in first and f"共 {PAGE + 1} 处登录" in second


def test_new_password_ends_the_sessions_of_the_old_one(site: IdentitySite) -> None:
    site.person("changing")
    with site.browser() as browser:
        log_in(browser, "changing")
        site.person("changing", password="a quite different one")
        assert browser.get("/").status_code == 303
    assert _guess(site, "changing", "a quite different one") == 303


@pytest.mark.parametrize(
    "change",
    [
        {"roles": [{"tenant": "999999", "department": "x", "role": "clerk"}]},
        {"roles": [{"tenant": "330106", "department": "x", "role": "king"}]},
        {"username": "Bad Name"},
        {"password": "12345678"},
        {"password": ""},
        {"phone": "0571"},
        {"name": "a\x00b"},
        {"name": " "},
        {"name": "\u3000\u200b"},
        {"name": "赵\u202e云"},
        {"name": "赵\n云"},
        {"roles": [{"tenant": "330106", "department": "\u3000", "role": "clerk"}]},
        {"more": 1},
    ],
)
def test_bad_people_are_refused(site: IdentitySite, change: dict[str, Any]) -> None:
    body = {"username": "someone", "password": PASSWORD, "name": "某人"} | change
    with site.operator() as operator:
        answer = operator.post("/api/identity/people", json=body)
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert PASSWORD not in answer.text


def test_only_the_operator_may(site: IdentitySite) -> None:
    relay = {"authorization": f"Bearer {site.machine_token('330106')}"}
    for headers, status in (({}, 401), ({"authorization": "Bearer x.y.z"}, 401), (relay, 403)):
        with site.client(headers=headers) as client:
            assert client.post("/api/identity/people", json={}).status_code in (status, 422 if not headers else status)
            assert client.get("/api/identity/people/someone").status_code == status
            office = {"tenant": "330106", "department": "x", "role": "clerk", "name": "某人"}
            assert client.post("/api/identity/invitations", json=office).status_code == status
            assert client.get("/api/identity/invitations", params={"tenant": "330106"}).status_code == status
            assert client.delete(f"/api/identity/invitations/{'0' * 16}").status_code == status


# ---- invitations ----


def invite(site: IdentitySite) -> str:
    office = {"tenant": "330106", "department": "政务服务中心", "role": "administrator", "name": "陈建国"}
    with site.operator() as operator:
        answer = operator.post("/api/identity/invitations", json=office)
    assert answer.status_code == 201, answer.text
    link: str = answer.json()["link"]
    assert link.startswith(f"{site.issuer}/invitation/")
    return link.removeprefix(site.issuer)


def take_up(site: IdentitySite, path: str, username: str, phone: str) -> httpx.Response:
    with site.browser() as browser:
        return submit(browser, path, **FORM | {"username": username, "phone": phone})


def test_invitation_makes_the_first_administrator_once(site: IdentitySite) -> None:
    path = invite(site)
    kept = site.postgres.run("SELECT i::text FROM identity.invitation i", "identity")
    token = path.rsplit("/", 1)[1]
    assert token not in kept and digest(token).hex() in kept, "only the hash is kept"
    with site.browser() as browser:
        for _ in range(2):
            page = browser.get(path).text
            assert "陈建国" in page, "looking does not use it up"
            field = re.search(r'<input[^>]* id="name"[^>]*>', page)
            assert field and 'value=""' in field[0] and 'placeholder="您本人的姓名"' in field[0]
        done = submit(browser, path, **FORM | {"username": "admin.xihu", "phone": "13500000001"})
        assert done.status_code == 303 and done.headers["location"] == "https://t330106.test/login"
        assert browser.get(path).status_code == 410
    with site.operator() as operator:
        roles = operator.get("/api/identity/people/admin.xihu").json()["roles"]
    assert roles == [{"tenant": "330106", "department": "政务服务中心", "role": "administrator"}]
    with site.browser() as browser:
        assert log_in(browser, "admin.xihu").status_code == 303


def test_invitation_taken_up_by_many_at_once_makes_one(site: IdentitySite) -> None:
    path = invite(site)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: _take_up_or_gone(site, path, n), range(8)))
    assert answers.count(303) == 1 and set(answers) <= {303, 410}
    assert site.rows("SELECT count(*) AS n FROM identity.person WHERE username LIKE 'many%'")[0]["n"] == 1


def _take_up_or_gone(site: IdentitySite, path: str, n: int) -> int:
    with site.browser() as browser:
        page = browser.get(path)
        if page.status_code == 410:
            return 410
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token
        form = FORM | {"username": f"many{n}", "phone": f"1340000000{n}", "csrf": token[1]}
        return browser.post(path, data=form).status_code


def test_expired_and_unknown_invitations_are_gone(site: IdentitySite) -> None:
    path = invite(site)
    site.postgres.run("UPDATE identity.invitation SET expires_at = now() WHERE used_at IS NULL", "identity")
    with site.browser() as browser:
        for gone in (path, "/invitation/" + "x" * 43):
            answer = browser.get(gone)
            assert answer.status_code == 410 and "邀请链接已失效" in answer.text


def test_open_invitations_are_told_of_and_can_be_revoked(site: IdentitySite) -> None:
    office = {"tenant": "330112", "department": "政务服务中心", "role": "administrator", "name": "周敏"}
    with site.operator() as operator:
        asking = "/api/identity/invitations?tenant=330112"
        nobody = operator.get(asking).json()
        assert nobody == {"tenant": "330112", "administrators": 0, "open": []}
        lost, kept = (operator.post("/api/identity/invitations", json=office).json() for _ in range(2))
        answer = operator.get(asking)
        assert [invitation["id"] for invitation in answer.json()["open"]] == [lost["id"], kept["id"]]
        assert lost["link"].rsplit("/", 1)[1] not in answer.text, "a link is told once"
        assert operator.get("/api/identity/invitations", params={"tenant": "330106"}).json()["open"] == []
        revoking = f"/api/identity/invitations/{lost['id']}"
        assert [operator.delete(revoking).status_code for _ in range(2)] == [204, 404]
        assert operator.delete("/api/identity/invitations/everything").status_code == 422
        with site.client() as browser:
            assert browser.get(lost["link"]).status_code == 410
        assert take_up(site, kept["link"].removeprefix(site.issuer), "zhoumin", "13200000001").status_code == 303
        listing = operator.get(asking).json()
        assert listing == {"tenant": "330112", "administrators": 1, "open": []}
        assert operator.delete(f"/api/identity/invitations/{kept['id']}").status_code == 404, "what is taken up stays"
    traced = site.rows("SELECT detail FROM identity.audit WHERE event = 'invitation_revoked'")
    assert [trace["detail"]["name"] for trace in traced] == ["周敏"]


def test_failed_take_up_leaves_the_invitation_usable(site: IdentitySite) -> None:
    site.person("occupied")
    path = invite(site)
    assert take_up(site, path, "occupied", "13300000001").status_code == 422
    assert take_up(site, path, "unoccupied", "13300000001").status_code == 303


def test_invited_one_with_an_account_takes_the_office_up_as_themselves(site: IdentitySite) -> None:
    site.person("already", name="陈建国")
    path = invite(site)
    with site.browser() as browser:
        log_in(browser, "already", path=f"/login?next={path}")
        token = re.search(r'name="csrf" value="([^"]+)"', browser.get(path).text)
        assert token
        assert browser.post(path, data={"as": "myself", "csrf": token[1]}).status_code == 303
        assert browser.get(path).status_code == 410
    with site.operator() as operator:
        assert operator.get("/api/identity/people/already").json()["roles"][0]["role"] == "administrator"


def test_what_one_began_another_who_logged_in_meanwhile_does_not_finish(site: IdentitySite) -> None:
    """Neither an office taken up nor a session ended; a form that names its person by a password goes on."""
    site.person("began.it", name="陈建国")
    site.person("came.next", name="林小满")
    path = invite(site)
    with site.browser() as browser, site.browser() as elsewhere:
        log_in(elsewhere, "came.next")
        log_in(browser, "began.it")
        pages = {name: browser.get(where).text for name, where in (("office", path), ("account", "/"))}
        token = {name: re.findall(r'name="csrf" value="([^"]+)"', text)[-1] for name, text in pages.items()}
        log_in(browser, "came.next", path="/login?again=1")
        taken = browser.post(path, data={"as": "myself", "csrf": token["office"]})
        ended = browser.post("/sessions/end", data={"session": "all", "csrf": token["account"]})
        assert (taken.status_code, ended.status_code) == (409, 409)
        assert "登录的人已经变了" in taken.text
        assert elsewhere.get("/").status_code == 200, "whose sessions go on"
        again = browser.post("/login", data={"login": "began.it", "password": PASSWORD, "csrf": token["account"]})
        assert again.status_code == 303
    with site.operator() as operator:
        people = [operator.get(f"/api/identity/people/{name}").json() for name in ("began.it", "came.next")]
        assert [person["roles"] for person in people] == [[], []]


# ---- what is kept ----


def test_audit_can_only_be_added_to(site: IdentitySite) -> None:
    site.person("audited")
    rows = site.rows("SELECT 1 AS one FROM identity.audit WHERE event = 'registered'")
    assert rows
    for change in ("UPDATE identity.audit SET event = 'x'", "DELETE FROM identity.audit", "TRUNCATE identity.audit"):
        with pytest.raises(AssertionError, match="permission denied"):
            site.postgres.run(f"SET ROLE identity_app; {change}", "identity")
    site.postgres.run("SET ROLE identity_app; INSERT INTO identity.audit (event, actor) VALUES ('x', 'y')", "identity")


def test_secrets_are_kept_hashed(site: IdentitySite) -> None:
    site.person("hashed")
    with site.browser() as browser:
        log_in(browser, "hashed")
        tokens = RelyingParty(site).tokens_for(browser)
        secrets = [browser.cookies["__Host-yiwang-session"], tokens["refresh_token"], PASSWORD]
    dump = "".join(
        site.postgres.run(f"SELECT t::text FROM identity.{table} t", "identity")
        for table in ("person", "session", "device", "refresh_family", "authorization_code", "audit")
    )
    assert not [secret for secret in secrets if secret in dump]
    assert digest(secrets[0]).hex() in dump, "the check would find it"


def test_sessions_outlive_the_process(site: IdentitySite) -> None:
    site.person("lasting")
    with site.browser() as browser:
        log_in(browser, "lasting")
        tokens = RelyingParty(site).tokens_for(browser)
        assert site.process
        site.process.kill()
        site.process.wait()
        site.start()
        assert browser.get("/").status_code == 200
        assert RelyingParty(site).refresh(tokens["refresh_token"]).status_code == 200


# ---- health ----


def test_health_metrics_and_description(site: IdentitySite) -> None:
    with site.client() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").json()["status"] == "ready"
        assert 'yiwang_log_ins_total{outcome="right"}' in client.get("/metrics").text
        document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"/token", "/jwks", "/userinfo", "/api/identity/people"} <= set(document["paths"])


def test_unknown_page_is_a_page(site: IdentitySite) -> None:
    with site.client() as client:
        answer = client.get("/nowhere")
    assert answer.status_code == 404 and "没有找到这个页面" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/login?next=%B2%C4", "/%B2%C4"])
def test_an_address_that_is_no_text_gets_a_page_and_a_program_a_document(site: IdentitySite, path: str) -> None:
    with site.client() as client:
        page, document = client.get(path), client.get("/api/identity/people?after=%B2%C4")
    assert page.status_code == 400 and "这个链接打不开" in page.text
    assert document.status_code == 400 and document.json()["type"] == "urn:yiwang:not-utf-8"
