"""The journey of one case through three levels, in a real browser, as a citizen, clerks and a stranger see it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import Camera, Visitor, chromium, on_a_steady_network, part
from tests.support.waiting import wait_until

PROVINCE, CITY, XIHU, LINAN = "330000", "330100", "330106", "330112"
NAMES = {PROVINCE: "浙江省", CITY: "杭州市", XIHU: "西湖区", LINAN: "临安区"}
ITEM, ITEM_NAME = "XK-SPJY", "食品经营许可"
INDEX_SECONDS = 30.0
# What a second, impatient click does: the same form twice. Gives the address that the first answer led to.
SEND_WITHOUT_LEAVING = """async () => {
    const form = document.querySelector('[data-test="filing-form"]');
    const answer = await fetch(form.action, {method: 'POST', body: new URLSearchParams(new FormData(form))});
    return answer.url;
}"""


@dataclass(frozen=True)
class Citizen:
    username: str
    password: str
    name: str
    phone: str
    secret: str
    """Something that only the form says."""

    @classmethod
    def fresh(cls) -> Citizen:
        mark = secrets.token_hex(4)
        phone = f"139{secrets.randbelow(10**8):08d}"
        return cls(f"citizen.{mark}", f"jin-tian-{mark}-tian-qing", f"沈小禾{mark[:2]}", phone, f"青山湖街道{mark}号")


@dataclass(frozen=True)
class Receipt:
    number: str
    check_code: str


@pytest.fixture(scope="module")
def browser(environment: dict[str, Any]) -> Iterator[Browser]:
    with chromium(environment) as started:
        yield started


@pytest.fixture(scope="module")
def camera() -> Camera:
    return Camera()


@on_a_steady_network
def test_a_case_travels_up_and_its_outcome_comes_down(
    environment: dict[str, Any], browser: Browser, camera: Camera
) -> None:
    visitor = Visitor.arrive(browser, environment, camera)
    citizen = Citizen.fresh()
    page = register(visitor, citizen)
    open_other_sites(visitor, page, citizen)
    receipt = file(visitor, citizen)

    clerks = {code: clerk_at(browser, environment, camera, code) for code in (LINAN, CITY, PROVINCE)}
    accept(clerks[LINAN], receipt)
    hand_over(clerks[LINAN], receipt, LINAN, CITY, "涉及跨区经营，报请市级核查。")
    hand_over(clerks[CITY], receipt, CITY, PROVINCE, "属省级权限，报请省级决定。")
    decide(clerks[PROVINCE], receipt, "经审查符合法定条件，\n准予许可。")

    sees_every_step(visitor, receipt)
    outcome_came_down(clerks[LINAN], receipt)
    stranger_sees_progress_alone(Visitor.arrive(browser, environment, camera), citizen, receipt)
    leaves(visitor, page)


def register(visitor: Visitor, citizen: Citizen) -> Page:
    """On 西湖区's site a person registers at identity, and is back and known."""
    page = visitor.open(XIHU)
    visitor.camera.take(page, "home")
    part(page, "log-in").click()
    visitor.camera.take(page, "log-in")
    part(page, "register-link").click()
    for name in ("name", "phone", "username", "password"):
        part(page, name).fill(getattr(citizen, name))
    part(page, "repeated").fill(citizen.password)
    visitor.camera.take(page, "register")
    part(page, "register-button").click()
    expect(page).to_have_url(f"{visitor.url(XIHU)}/")
    expect(part(page, "person-name")).to_have_text(citizen.name)
    visitor.camera.take(page, "home-logged-in")
    return page


def open_other_sites(visitor: Visitor, page: Page, citizen: Citizen) -> None:
    """No second password: by the place switch the person is known at once, elsewhere after one click."""
    part(page, "place-switch").click()
    visitor.camera.take(page, "places")
    part(page, f"place-{LINAN}").click()
    expect(page).to_have_url(f"{visitor.url(LINAN)}/")
    expect(part(page, "person-name")).to_have_text(citizen.name)
    city = visitor.open(CITY)
    part(city, "log-in").click()
    expect(city).to_have_url(f"{visitor.url(CITY)}/")
    expect(part(city, "person-name")).to_have_text(citizen.name)


def file(visitor: Visitor, citizen: Citizen) -> Receipt:
    """In 临安区: search, read, fill, send; the same form sent twice is one case."""
    page = visitor.open(LINAN)
    part(page, "search-input").fill("食品")
    part(page, "search-button").click()
    visitor.camera.take(page, "search")
    part(page, f"item-{ITEM}").get_by_role("link").click()
    expect(part(page, "item-name")).to_have_text(ITEM_NAME)
    expect(part(page, "comparison")).to_be_visible()
    visitor.camera.take(page, "item")
    part(page, "file").click()
    expect(part(page, "name")).to_have_value(citizen.name)
    part(page, "phone").fill("123")
    part(page, "submit-filing").click()
    expect(part(page, "error-summary")).to_be_visible()
    visitor.camera.take(page, "filing-errors")
    part(page, "phone").fill(citizen.phone)
    fill_fields(page, citizen)
    visitor.camera.take(page, "filing")
    first_sent = page.evaluate(SEND_WITHOUT_LEAVING)
    part(page, "submit-filing").click()
    receipt = read_receipt(page)
    assert receipt.number in first_sent
    visitor.camera.take(page, "receipt")
    return receipt


def fill_fields(page: Page, citizen: Citizen) -> None:
    """Whatever fields the standard gives the item: text gets the secret, a choice its first option."""
    for box in page.locator("form [data-test^='form-']:is(input[type=text], input[type=date], textarea)").all():
        kind, digits = box.get_attribute("type"), box.get_attribute("inputmode")
        box.fill("2026-12-01" if kind == "date" else "86" if digits == "decimal" else citizen.secret)
    for group in page.locator("form fieldset:has(input[type=radio][name^='form-'])").all():
        group.locator("input").first.check()
    for choice in page.locator("form select[name^='form-']").all():
        choice.select_option(index=1)


def read_receipt(page: Page) -> Receipt:
    expect(part(page, "receipt")).to_be_visible()
    number = part(page, "case-number").get_attribute("data-number")
    check_code = part(page, "check-code").inner_text().strip()
    assert re.fullmatch(rf"{LINAN}\d{{16}}", number)
    assert check_code
    return Receipt(number, check_code)


def clerk_at(browser: Browser, environment: dict[str, Any], camera: Camera, code: str) -> Visitor:
    """A clerk, logged in: the desk itself leads to identity and back."""
    clerk = Visitor.arrive(browser, environment, camera)
    page = clerk.open(code, "/desk")
    clerk.log_in(page, environment["demo"]["clerks"][code])
    expect(page).to_have_url(f"{clerk.url(code)}/desk")
    return clerk


def at_desk(clerk: Visitor, receipt: Receipt, code: str, status: str) -> Page:
    """The case's page at the desk, once it stands there in that state."""
    page = clerk.open(code, f"/desk/{receipt.number}")

    def arrived() -> bool:
        page.reload()
        badge = part(page, "status")
        return bool(badge.count() and badge.first.get_attribute("data-status") == status)

    wait_until(arrived, INDEX_SECONDS, f"the case is {status} in {NAMES[code]}", every=0.5)
    return page


def accept(clerk: Visitor, receipt: Receipt) -> None:
    desk = clerk.open(LINAN, "/desk")
    clerk.camera.take(desk, "desk")
    part(desk, f"desk-{receipt.number}").click()
    clerk.camera.take(desk, "desk-case")
    part(desk, "accept").click()
    expect(part(desk, "status").first).to_have_attribute("data-status", "accepted")


def hand_over(clerk: Visitor, receipt: Receipt, here: str, to: str, reason: str) -> None:
    page = at_desk(clerk, receipt, here, "accepted")
    part(page, "act-hand-over").locator("summary").click()
    form = part(page, "hand-over-form")
    form.locator("select").select_option(to)
    form.locator("textarea").fill(reason)
    clerk.camera.take(page, f"hand-over-{here}")
    part(page, "hand-over").click()
    expect(part(page, "no-acts")).to_be_visible()


def decide(clerk: Visitor, receipt: Receipt, text: str) -> None:
    page = at_desk(clerk, receipt, PROVINCE, "accepted")
    expect(part(page, "brought")).to_have_text("属省级权限，报请省级决定。")
    form = part(page, "outcome-form")
    part(page, "result-granted").check()
    form.locator("textarea").fill(text)
    clerk.camera.take(page, "decide")
    part(page, "give-outcome").click()
    expect(part(page, "outcome")).to_contain_text(text)
    clerk.camera.take(page, "decided")


def sees_every_step(visitor: Visitor, receipt: Receipt) -> None:
    """One list over all tenants, whichever site it is read on; and in it every step with its place."""
    page = visitor.open(XIHU, "/cases")

    def granted() -> bool:
        page.reload()
        row = page.locator("tr", has=part(page, f"case-{receipt.number}"))
        return bool(row.count() and row.locator('[data-status="granted"]').count())

    wait_until(granted, INDEX_SECONDS, "the index shows the outcome", every=0.5)
    visitor.camera.take(page, "cases")
    part(page, f"case-{receipt.number}").click()
    way = [LINAN] * 3 + [CITY] * 2 + [PROVINCE] * 2
    expect(part(page, "step-place")).to_have_text([NAMES[code] for code in way])
    expect(part(page, "status").first).to_have_attribute("data-status", "granted")

    def outcome_shown() -> bool:
        # its words come from the county's copy of the case, which the province's message may reach after the index
        page.reload()
        return bool(part(page, "outcome").count())

    wait_until(outcome_shown, INDEX_SECONDS, "the outcome's words are back in the county", every=0.5)
    assert part(page, "outcome").inner_text() == "经审查符合法定条件，\n准予许可。"
    expect(page.get_by_text(receipt.check_code)).to_be_visible()
    expect(page.get_by_text("现在由谁办理")).to_have_count(0)
    visitor.camera.take(page, "case")


def outcome_came_down(clerk: Visitor, receipt: Receipt) -> None:
    page = at_desk(clerk, receipt, LINAN, "granted")
    expect(part(page, "outcome")).to_contain_text("准予许可")
    expect(part(page, "no-acts")).to_be_visible()


def stranger_sees_progress_alone(stranger: Visitor, citizen: Citizen, receipt: Receipt) -> None:
    """On any site, without a log-in: the steps, and nothing of the person or the form."""
    page = stranger.open(CITY, "/progress")
    wrong = receipt.check_code[::-1] if receipt.check_code != receipt.check_code[::-1] else "2" * 12
    look_up(page, receipt.number, wrong)
    expect(part(page, "error-summary")).to_be_visible()
    assert part(page, "progress-result").count() == 0
    look_up(page, receipt.number, receipt.check_code)
    expect(part(page, "progress-result")).to_be_visible()
    assert part(page, "step").count() == 7
    shown = page.content()
    for private in (citizen.name, citizen.phone, citizen.username, citizen.secret):
        assert private not in shown
    stranger.camera.take(page, "progress")
    page.goto(f"{stranger.url(LINAN)}/cases/{receipt.number}")
    expect(page).to_have_url(re.compile(re.escape(stranger.environment["issuer"])))


def look_up(page: Page, number: str, check_code: str) -> None:
    part(page, "number").fill(number)
    part(page, "check_code").fill(check_code)
    part(page, "look-up").click()


def leaves(visitor: Visitor, page: Page) -> None:
    """Logging out of one site ends the session at identity: the next log-in asks for the password."""
    page.goto(f"{visitor.url(XIHU)}/")
    part(page, "log-out").click()
    expect(page).to_have_url(f"{visitor.url(XIHU)}/")
    part(page, "log-in").click()
    expect(part(page, "login-form")).to_be_visible()


@on_a_steady_network
def test_a_clerk_of_one_tenant_is_nobody_at_anothers_desk(
    environment: dict[str, Any], browser: Browser, camera: Camera
) -> None:
    clerk = clerk_at(browser, environment, camera, LINAN)
    page = clerk.open(CITY, "/desk")
    expect(part(page, "error-status")).to_have_text("403")
    camera.take(page, "forbidden")
