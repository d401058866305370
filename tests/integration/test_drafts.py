"""A form acts for who wrote it; one that cannot be taken when it is sent is there again, for that person alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from services.kernel.settings import ServiceSettings
from services.portal.store import drafts
from tests.integration.backends import Postgres
from tests.integration.portal_site import CITIZEN, CLERK, HERE, ISSUER, PLACES, Person, Sites, running
from tests.integration.test_portal import CASE, ITEM, NUMBER, RECEIPT

FILING, TYPED = "/items/XK-SPJY/filing", "翠苑街道 7 号后门"
OTHER = Person("citizen-2", "林小满")
NOTICE = "您填写的内容还在"
ADMINISTRATOR = Person("administrator-1", "周主任", [{"tenant": HERE, "department": "", "role": "administrator"}])


@pytest.fixture
async def sites(portal_settings: ServiceSettings, postgres: Postgres) -> AsyncIterator[Sites]:
    for code in PLACES:
        postgres.run("TRUNCATE portal.session, portal.draft", f"t{code}")
    async with running(portal_settings, postgres) as started:
        started.world.says("GET", "/api/affairs/items/XK-SPJY", 200, ITEM)
        case = CASE | {"actions": ["acceptance", "outcome", "hand-over"]}
        started.world.says("GET", f"/api/affairs/cases/{NUMBER}", 200, case)
        started.world.says("POST", "/api/affairs/cases", 201, RECEIPT | {"duplicate": False})
        yield started


async def text_of(browser: httpx.AsyncClient, page: str = FILING) -> str:
    return (await browser.get(page, follow_redirects=True)).text


async def filled(browser: httpx.AsyncClient, page: str = FILING, **typed: str) -> dict[str, str]:
    """What a browser sends once a person has filled in the form of a page."""
    text = await text_of(browser, page)
    hidden = dict(re.findall(r'name="(csrf|key)" value="([^"]+)"', text))
    return hidden | (typed or {"name": "沈小禾", "phone": "13900001111", "form-place": TYPED})


def expire(sites: Sites) -> None:
    sites.postgres.run("DELETE FROM portal.session", f"t{HERE}")


def filed(sites: Sites) -> list[httpx.Request]:
    return [call for call in sites.world.calls if (call.method, call.url.path) == ("POST", "/api/affairs/cases")]


async def test_what_was_typed_is_there_again_after_the_log_in_that_was_needed(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        form = await filled(browser)
        expire(sites)
        sent = await browser.post(FILING, data=form)
        assert sent.headers["location"].startswith(f"{ISSUER}/authorize?")
        back = await browser.get(sites.world.grant(sent.headers["location"], CITIZEN))
        assert back.headers["location"] == FILING
        page = await text_of(browser)
        assert NOTICE in page and f'value="{TYPED}"' in page
        assert f'name="key" value="{form["key"]}"' in page, "so that it cannot be filed twice"
        assert not filed(sites)
        again = dict(re.findall(r'name="(csrf|key)" value="([^"]+)"', page))
        done = await browser.post(FILING, data=form | again)
        assert done.headers["location"] == f"/cases/{NUMBER}/receipt"
        assert filed(sites)[0].headers["idempotency-key"] == form["key"]
        assert TYPED not in await text_of(browser), "what has been filed is not offered again"


@pytest.mark.parametrize("left", ["expired", "still there"])
async def test_a_form_is_not_filed_by_who_logged_in_meanwhile(sites: Sites, left: str) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        form = await filled(browser)
        if left == "expired":
            expire(sites)
        await sites.log_in(browser, OTHER)
        answer = await browser.post(FILING, data=form)
        assert (answer.status_code, filed(sites)) == (409, [])
        assert "登录的人已经变了" in answer.text and TYPED not in answer.text
        theirs = await text_of(browser)
        assert TYPED not in theirs and NOTICE not in theirs
        await sites.log_in(browser, CITIZEN)
        assert TYPED in await text_of(browser)


async def test_a_form_of_an_earlier_log_in_of_the_same_person_is_shown_to_be_sent_again(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        form = await filled(browser)
        await sites.log_in(browser)
        answer = await browser.post(FILING, data=form)
        assert (answer.status_code, answer.headers["location"], filed(sites)) == (303, FILING, [])
        assert TYPED in await text_of(browser)


async def test_a_draft_is_of_one_form_and_stands_in_no_other(sites: Sites) -> None:
    """Also where the way back from identity leads to the address that was left."""
    async with sites.browser() as browser:
        await sites.log_in(browser)
        form, other = [await filled(browser) for _ in range(2)]
        expire(sites)
        address = f"{FILING}?form={form['key']}"
        sent = await browser.post(address, data=form)
        back = await browser.get(sites.world.grant(sent.headers["location"], CITIZEN))
        assert back.headers["location"] == address
        assert (await browser.get(FILING)).headers["location"] == address
        assert TYPED in await text_of(browser, address)
        elsewhere = await text_of(browser, f"{FILING}?form={other['key']}")
        assert TYPED not in elsewhere and NOTICE not in elsewhere


async def test_a_draft_is_shown_in_its_own_browser_alone_and_to_no_reader_of_the_database(sites: Sites) -> None:
    async with sites.browser() as browser, sites.browser() as elsewhere:
        await sites.log_in(browser)
        form = await filled(browser)
        expire(sites)
        await browser.post(FILING, data=form)
        await sites.log_in(elsewhere)
        elsewhere.cookies.set(drafts.DRAFT_COOKIE, "1", domain=elsewhere.base_url.host)
        assert TYPED not in await text_of(elsewhere)
    [row] = sites.rows("SELECT encode(id, 'escape') || encode(sealed, 'escape') AS all_of_it FROM portal.draft")
    assert not any(part in row["all_of_it"] for part in (TYPED, "13900001111", CITIZEN.sub))


async def test_a_draft_ends_with_its_hour(sites: Sites) -> None:
    async with sites.browser() as browser:
        await sites.log_in(browser)
        form = await filled(browser)
        expire(sites)
        await browser.post(FILING, data=form)
        [kept] = sites.rows("SELECT kept_until FROM portal.draft")
        assert datetime.fromisoformat(kept["kept_until"]) - datetime.now(UTC) <= drafts.KEPT
        sites.postgres.run("UPDATE portal.draft SET kept_until = now()", f"t{HERE}")
        await sites.log_in(browser)
        assert TYPED not in await text_of(browser)


async def test_drafts_are_bounded_in_size_and_number(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MOST", 2)
    for number in range(4):
        async with sites.browser() as browser:
            await sites.log_in(browser)
            form = await filled(browser)
            expire(sites)
            more = {"form-place": "长" * drafts.LARGEST} if number == 3 else {}
            sent = await browser.post(FILING, data=form | more)
            assert sent.headers["location"].startswith(f"{ISSUER}/authorize?"), "kept or not, the way leads on"
            assert (drafts.DRAFT_COOKIE in browser.cookies) == (number < 3)
    assert sites.rows("SELECT count(*) AS many FROM portal.draft") == [{"many": 2}]


async def test_what_nobody_wrote_who_was_logged_in_is_not_kept(sites: Sites) -> None:
    async with sites.browser() as stranger:
        token = re.search(r'name="csrf" value="([^"]+)"', (await stranger.get("/progress")).text)
        assert token
        await stranger.post(FILING, data={"csrf": token[1], "form-place": TYPED})
    assert sites.rows("SELECT 1 AS one FROM portal.draft") == []


@pytest.mark.parametrize("out", ["affairs", "identity"])
async def test_an_outage_loses_nothing_that_was_typed(sites: Sites, out: str) -> None:
    async with sites.browser() as browser:
        sites.world.access_seconds = -1 if out == "identity" else 600
        await sites.log_in(browser)
        form = await filled(browser, "/progress") | {"key": "k" * 24, "form-place": TYPED}
        sites.world.out = {out}
        answer = await browser.post(FILING, data=form)
        assert answer.status_code == 503
        assert f'href="{FILING}"' in answer.text and "保留一小时" in answer.text
        sites.world.out, sites.world.access_seconds = set(), 600
        await sites.log_in(browser)
        assert TYPED in await text_of(browser)


@pytest.mark.parametrize(
    ("act", "panel", "typed"),
    [
        ("outcome", "outcome", {"result": "refused", "text": TYPED}),
        ("acceptance", "decline", {"accepted": "false", "reason": TYPED}),
        ("hand-over", "hand-over", {"to": "330110", "reason": TYPED}),
    ],
)
async def test_a_clerks_words_are_there_again_in_the_form_in_which_they_stood(
    sites: Sites, act: str, panel: str, typed: dict[str, str]
) -> None:
    page = f"/desk/{NUMBER}"
    async with sites.browser() as clerk:
        await sites.log_in(clerk, CLERK)
        form = await filled(clerk, page, **typed)
        expire(sites)
        sent = await clerk.post(f"{page}/{act}", data=form)
        back = await clerk.get(sites.world.grant(sent.headers["location"], CLERK))
        assert back.headers["location"] == page
        shown = (await clerk.get(page)).text
    assert NOTICE in shown
    assert re.search(rf'open data-test="act-{panel}".*?{TYPED}', shown, re.DOTALL)


async def test_an_administrators_words_are_there_again(sites: Sites) -> None:
    page = "/administration/XK-SPJY"
    typed: dict[str, Any] = {"department": "行政审批局", "materials_note": TYPED, "offered": "no"}
    async with sites.browser() as browser:
        await sites.log_in(browser, ADMINISTRATOR)
        form = await filled(browser, page, **typed)
        expire(sites)
        await browser.post(page, data=form)
        await sites.log_in(browser, ADMINISTRATOR)
        shown = (await browser.get(page)).text
    assert NOTICE in shown and TYPED in shown and 'value="行政审批局"' in shown
