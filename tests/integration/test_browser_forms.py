"""Every form of every page, sent once by a real browser: what it sends is not what our own clients send."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.e2e.browser import launched, part, vouched_key
from tests.integration.identity_site import PASSWORD, IdentitySite, RelyingParty
from tests.integration.network import REPOSITORY
from tests.integration.portal_site import CITIZEN, CLERK, HERE, THERE, Person, site
from tests.integration.served_portal import DOMAIN, ServedPortal
from tests.integration.test_portal import CASE, ITEM, NUMBER, RECEIPT

FORM = re.compile(r"<form\b[^>]*>")
ADMINISTRATOR = Person("administrator-1", "周主任", [{"tenant": HERE, "department": "", "role": "administrator"}])


# --- which forms there are -----------------------------------------------------------------------------------------


def forms_of_templates() -> list[str]:
    names = []
    for template in sorted(REPOSITORY.glob("services/**/templates/*.html")):
        if template.name != "gallery.html":  # a page for the eye alone
            for form in FORM.findall(template.read_text(encoding="utf-8")):
                name = re.search(r'data-test="([^"]+)"', form)
                names.append(name[1] if name else f"a form without a name in {template.name}")
    return names


def test_every_form_is_sent_by_a_real_browser() -> None:
    """A new form needs a sender below; forms are told apart by their names."""
    assert sorted(forms_of_templates()) == sorted([*ON_THE_PORTAL, *AT_IDENTITY])


@contextmanager
def sent(page: Page, method: str = "POST") -> Iterator[list[Response]]:
    """What the sites answered to the forms that the page sends; each is taken."""
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer) if answer.request.method == method else None)
    yield answers
    page.wait_for_load_state()
    assert answers, "no form was sent"
    assert all(answer.status < 400 for answer in answers), [(answer.status, answer.url) for answer in answers]


# --- the portal ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portal(served_portal: ServedPortal) -> ServedPortal:
    world = served_portal.sites.world
    snapshot = CASE | {"applicant": CITIZEN.sub, "check_code_hash": "0" * 64}
    case = CASE | {"path": [THERE, HERE], "actions": ["acceptance", "outcome", "hand-over"]}
    steps = [step | {"tenant_name": "滨江区"} for step in CASE["steps"]]
    progress = {"number": NUMBER, "status": "filed", "steps": steps}
    world.says("GET", "/api/affairs/items", 200, {"items": [ITEM]})
    world.says("GET", "/api/affairs/items/XK-SPJY", 200, ITEM)
    world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, case)
    world.says("POST", "/api/affairs/cases", 201, RECEIPT | {"duplicate": False})
    world.says("PUT", "/api/affairs/implementations/XK-SPJY", 200, ITEM)
    world.says("GET", "/api/query/progress", 200, progress)
    for act in ("acceptance", "outcome", "hand-over"):
        world.says("POST", f"/api/affairs/cases/{NUMBER}/{act}", 200, snapshot)
    return served_portal


@pytest.fixture(scope="module")
def browser(portal: ServedPortal, identity_site: IdentitySite) -> Iterator[Browser]:
    keys = [
        vouched_key(str(portal.front.authority), f"id.{DOMAIN}", portal.front.port),
        vouched_key(str(identity_site.authority), "localhost", identity_site.tls_port),
    ]
    with launched(keys, f"--host-resolver-rules=MAP *.{DOMAIN} 127.0.0.1:{portal.front.port}") as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(base_url=site(HERE), locale="zh-CN")
    yield context.new_page()
    context.close()


def search(page: Page, _: ServedPortal) -> None:
    page.goto("/")
    part(page, "search-input").fill("食品")
    with sent(page, "GET"):
        part(page, "search-button").click()
    expect(part(page, "count")).to_be_visible()


def look_up(page: Page, _: ServedPortal) -> None:
    page.goto("/progress")
    part(page, "number").fill(NUMBER)
    part(page, "check_code").fill("ABCD EFGH 2345")
    with sent(page):
        part(page, "look-up").click()
        expect(part(page, "progress-result")).to_be_visible()


def file(page: Page, _: ServedPortal) -> None:
    page.goto("/items/XK-SPJY/filing")
    part(page, "form-place").fill("江南大道 1 号")
    with sent(page):
        part(page, "submit-filing").click()
        expect(part(page, "receipt")).to_be_visible()


def implement(page: Page, portal: ServedPortal) -> None:
    portal.person = ADMINISTRATOR
    page.goto("/administration/XK-SPJY")
    part(page, "department").fill("市场监督管理局")
    with sent(page):
        part(page, "save-implementation").click()
        expect(part(page, "alert-good")).to_be_visible()


def leave(page: Page, _: ServedPortal) -> None:
    page.goto("/login")
    with sent(page):
        part(page, "log-out").click()
        expect(part(page, "log-in")).to_be_visible()


def act(name: str, button: str, fill: Callable[[Any], object] = lambda _: None) -> Callable[[Page, ServedPortal], None]:
    """A clerk's act on the page of a case, once its panel is open."""

    def send(page: Page, portal: ServedPortal) -> None:
        portal.person = CLERK
        page.goto(f"/desk/{NUMBER}")
        form = part(page, name)
        if not form.is_visible():
            page.locator("details", has=form).locator("summary").click()
        fill(form)
        with sent(page):
            form.locator(f'[data-test="{button}"]').click()
            expect(page).to_have_url(f"{site(HERE)}/desk/{NUMBER}")
            page.wait_for_load_state("load")

    return send


def fill_outcome(form: Any) -> None:
    form.locator('input[value="granted"]').check()
    form.locator("textarea").fill("准予许可。")


def fill_hand_over(form: Any) -> None:
    form.locator("select").select_option(index=1)
    form.locator("textarea").fill("属上级权限。")


ON_THE_PORTAL: dict[str, Callable[[Page, ServedPortal], None]] = {
    "search-form": search,
    "progress-form": look_up,
    "filing-form": file,
    "implementation-form": implement,
    "accept-form": act("accept-form", "accept"),
    "decline-form": act("decline-form", "decline", lambda form: form.locator("textarea").fill("材料不全。")),
    "outcome-form": act("outcome-form", "give-outcome", fill_outcome),
    "hand-over-form": act("hand-over-form", "hand-over", fill_hand_over),
    "log-out-form": leave,
}


@pytest.mark.parametrize("form", ON_THE_PORTAL)
def test_the_portal_takes_what_a_browser_sends(portal: ServedPortal, page: Page, form: str) -> None:
    portal.person = CITIZEN
    ON_THE_PORTAL[form](page, portal)


def test_who_comes_next_neither_sends_nor_sees_what_somebody_typed(portal: ServedPortal, page: Page) -> None:
    portal.person = CITIZEN
    page.goto("/items/XK-SPJY/filing")
    part(page, "form-place").fill("翠苑街道 7 号")
    portal.person = Person("citizen-2", "林小满")
    with page.expect_popup() as opened:
        page.evaluate("window.open('/login')")
    expect(part(opened.value, "person-name")).to_have_text("林小满")
    filed = len(filings(portal))
    part(page, "submit-filing").click()
    expect(part(page, "error-status")).to_have_text("409")
    assert len(filings(portal)) == filed
    page.goto("/items/XK-SPJY/filing")
    expect(part(page, "form-place")).to_have_value("")
    portal.person = CITIZEN
    page.goto("/login?next=/items/XK-SPJY/filing")
    expect(part(page, "form-place")).to_have_value("翠苑街道 7 号")
    part(page, "submit-filing").click()
    expect(part(page, "receipt")).to_be_visible()
    assert len(filings(portal)) == filed + 1


def filings(portal: ServedPortal) -> list[str]:
    return [call.method for call in portal.sites.world.calls if call.url.path == "/api/affairs/cases"]


class OneCaseAKey:
    """Affairs as it files: a key's same content is the same case again, another content is refused."""

    def __init__(self) -> None:
        self.cases: dict[str, bytes] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        key, content = request.headers["idempotency-key"], request.content
        kept = self.cases.setdefault(key, content)
        if kept != content:
            conflict = {"type": "urn:yiwang:idempotency-conflict", "status": 409, "existing": NUMBER}
            return httpx.Response(409, json=conflict)
        return httpx.Response(201, json=RECEIPT | {"duplicate": kept is not content})


@pytest.fixture
def filed(portal: ServedPortal) -> Iterator[OneCaseAKey]:
    answers, way = portal.sites.world.answers, ("POST", "/api/affairs/cases")
    before, counting = answers[way], OneCaseAKey()
    answers[way] = counting
    yield counting
    answers[way] = before


def file_and_go_back(page: Page) -> None:
    page.goto("/items/XK-SPJY/filing")
    part(page, "form-place").fill("江南大道 1 号")
    part(page, "submit-filing").click()
    expect(part(page, "receipt")).to_be_visible()
    page.go_back()
    expect(part(page, "form-place")).to_have_value("江南大道 1 号")


def test_who_goes_back_from_the_receipt_and_sends_again_has_one_case(
    portal: ServedPortal, page: Page, filed: OneCaseAKey
) -> None:
    portal.person = CITIZEN
    file_and_go_back(page)
    part(page, "submit-filing").click()
    expect(part(page, "receipt")).to_be_visible()
    expect(page.get_by_text("没有产生第二件")).to_be_visible()
    assert len(filed.cases) == 1


def test_who_goes_back_and_writes_something_else_is_told_and_loses_nothing(
    portal: ServedPortal, page: Page, filed: OneCaseAKey
) -> None:
    portal.person = CITIZEN
    file_and_go_back(page)
    part(page, "form-place").fill("江南大道 2 号")
    part(page, "submit-filing").click()
    expect(part(page, "filed-before")).to_have_attribute("href", f"/cases/{NUMBER}")
    expect(part(page, "form-place")).to_have_value("江南大道 2 号")
    assert len(filed.cases) == 1
    with page.expect_popup() as opened:
        part(page, "new-form").click()
    expect(part(opened.value, "form-place")).to_have_value("")
    part(page, "submit-filing").click()
    expect(part(page, "receipt")).to_be_visible()
    assert len(filed.cases) == 2, "a second one is filed where it is wanted"


# --- identity ------------------------------------------------------------------------------------------------------


@pytest.fixture
def gate(browser: Browser, identity_site: IdentitySite) -> Iterator[Page]:
    context = browser.new_context(base_url=identity_site.issuer, locale="zh-CN")
    yield context.new_page()
    context.close()


def fresh_name() -> str:
    return f"forms.{secrets.token_hex(4)}"


def fill_person(page: Page) -> None:
    part(page, "name").fill("李雷")
    part(page, "phone").fill(f"139{secrets.randbelow(10**8):08d}")
    part(page, "username").fill(fresh_name())
    part(page, "password").fill(PASSWORD)
    part(page, "repeated").fill(PASSWORD)


def log_in(page: Page, site: IdentitySite) -> None:
    name = fresh_name()
    site.person(name)
    page.goto("/login")
    part(page, "login").fill(name)
    part(page, "password").fill(PASSWORD)
    with sent(page):
        part(page, "login-button").click()
        expect(part(page, "sessions")).to_be_visible()


def register(page: Page, _: IdentitySite) -> None:
    page.goto("/register")
    fill_person(page)
    with sent(page):
        part(page, "register-button").click()
        expect(part(page, "sessions")).to_be_visible()


def end_at_home(form: str, button: str) -> Callable[[Page, IdentitySite], None]:
    def send(page: Page, site: IdentitySite) -> None:
        log_in(page, site)
        with sent(page):
            part(page, form).first.locator(f'[data-test="{button}"]').click()
            expect(part(page, "login-again")).to_be_visible()

    return send


def confirm_the_end(page: Page, site: IdentitySite) -> None:
    log_in(page, site)
    page.goto("/end-session?client_id=330106")
    with sent(page):
        part(page, "end-session-confirm").click()
        expect(part(page, "login-again")).to_be_visible()


def invite(site: IdentitySite) -> str:
    invitation = {"tenant": "330106", "department": "发展和改革局", "role": "clerk", "name": "陈建国"}
    with site.operator() as operator:
        answer = operator.post("/api/identity/invitations", json=invitation)
    assert answer.status_code == 201, answer.text
    link: str = answer.json()["link"]
    return link


def accept(page: Page, site: IdentitySite) -> None:
    page.goto(invite(site))
    fill_person(page)
    taken_up(page, "invitation-button")


def accept_as_myself(page: Page, site: IdentitySite) -> None:
    log_in(page, site)
    page.goto(invite(site))
    taken_up(page, "invitation-as-myself")


def taken_up(page: Page, button: str) -> None:
    """The way leads to the tenant's own site, which does not stand here."""
    page.route("https://t330106.test/**", lambda route: route.fulfill(body="西湖区"))
    with sent(page):
        part(page, button).click()
        page.wait_for_url("https://t330106.test/login")


AT_IDENTITY: dict[str, Callable[[Page, IdentitySite], None]] = {
    "login-form": log_in,
    "register-form": register,
    "end-one-form": end_at_home("end-one-form", "end-session"),
    "end-all-form": end_at_home("end-all-form", "end-all"),
    "end-session-form": confirm_the_end,
    "invitation-form": accept,
    "invitation-as-myself-form": accept_as_myself,
}


@pytest.mark.parametrize("form", AT_IDENTITY)
def test_identity_takes_what_a_browser_sends(identity_site: IdentitySite, gate: Page, form: str) -> None:
    AT_IDENTITY[form](gate, identity_site)


def test_long_request_for_a_fresh_log_in_finds_its_way_back(identity_site: IdentitySite, gate: Page) -> None:
    """A browser tells each address where it came from, so that a long way is carried twice."""
    name, party = fresh_name(), RelyingParty(identity_site, state="x" * 4500)
    identity_site.person(name)
    gate.route("https://t330106.test/**", lambda route: route.fulfill(body="西湖区"))
    for _ in range(2):  # without a session, and with one that is too old
        gate.goto(party.authorize_path(max_age="0"))
        part(gate, "login").fill(name)
        part(gate, "password").fill(PASSWORD)
        with sent(gate):
            part(gate, "login-button").click()
            gate.wait_for_url("https://t330106.test/callback?**")
        assert parse_qs(urlsplit(gate.url).query)["state"] == [party.state]
