"""Who registers hears of it on the telephone that was given, and nobody on another; on real Redis and PostgreSQL."""

from __future__ import annotations

import re
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from services.identity.app import create
from services.kernel.cache import Cache
from services.kernel.http import Service
from services.kernel.settings import ServiceSettings
from tests.integration.backends import Redis
from tests.integration.identity_site import PASSWORD, IdentitySite
from tests.integration.test_identity_people import invite
from tests.support.browsing import as_a_browser


@pytest.fixture
def cache_server(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def identity(identity_site: IdentitySite, cache_server: Redis) -> AsyncIterator[Service]:
    variables = {name.removeprefix("YIWANG_").lower(): value for name, value in identity_site.settings().items()}
    service = create(
        ServiceSettings.model_validate({**variables, "show_telephones": "true", "cache_url": cache_server.url})
    )
    yield service
    await service.kernel.close()


def new_phone() -> str:
    return f"138{secrets.randbelow(10**8):08}"


async def register(service: Service, site: IdentitySite, phone: str, path: str = "/register") -> httpx.Response:
    username = f"p{secrets.token_hex(6)}"
    async with as_a_browser(
        httpx.AsyncClient(transport=httpx.ASGITransport(app=service), base_url=site.issuer)
    ) as browser:
        page = (await browser.get(path)).text
        hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page))
        form = {"name": "李雷", "phone": phone, "username": username, "password": PASSWORD, "repeated": PASSWORD}
        done = await browser.post(path, data={**hidden, **form})
    done.extensions["username"] = username
    return done


async def screen(service: Service, site: IdentitySite, phone: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=service, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=site.issuer) as tester:
        return await tester.get(f"/telephone/{phone}")


async def test_a_registration_is_told_on_its_own_telephone(identity: Service, identity_site: IdentitySite) -> None:
    phone, other = new_phone(), new_phone()
    done = await register(identity, identity_site, f"+86 {phone}")
    assert done.status_code == 303, done.text
    mine = (await screen(identity, identity_site, phone)).text
    assert mine.count('data-test="message"') == 1
    assert f"【浙江省统一身份认证】您已注册账号，用户名 {done.extensions['username']}。" in mine
    assert "没有短信" in (await screen(identity, identity_site, other)).text


async def test_an_account_that_came_of_an_invitation_is_told_too(
    identity: Service, identity_site: IdentitySite
) -> None:
    phone, path = new_phone(), invite(identity_site)
    done = await register(identity, identity_site, phone, path)
    assert done.status_code == 303, done.text
    assert f"用户名 {done.extensions['username']}。" in (await screen(identity, identity_site, phone)).text


async def test_a_refused_registration_is_told_nobody(identity: Service, identity_site: IdentitySite) -> None:
    phone = new_phone()
    assert (await register(identity, identity_site, phone)).status_code == 303
    assert (await register(identity, identity_site, phone)).status_code == 422, "the number is taken"
    assert (await screen(identity, identity_site, phone)).text.count('data-test="message"') == 1


async def test_without_the_cache_people_register_all_the_same(
    identity: Service, identity_site: IdentitySite, cache_server: Redis
) -> None:
    cache_server.stop(signal.SIGKILL)
    phone = new_phone()
    began = time.monotonic()
    assert (await register(identity, identity_site, phone)).status_code == 303
    assert time.monotonic() - began < 5
    shown = await screen(identity, identity_site, phone)
    assert shown.status_code == 503, "that there are none could not be said"
    assert "服务正在恢复" in shown.text


async def test_the_deployed_site_has_no_telephones(identity_site: IdentitySite) -> None:
    """It is told nothing of them, as in production."""
    with identity_site.browser() as browser:
        assert browser.get(f"/telephone/{new_phone()}").status_code == 404


async def test_notes_are_bounded_and_expire(cache_server: Redis) -> None:
    cache = Cache(cache_server.url, None, "identity")
    for number in range(5):
        await cache.note("telephone:x", f"note {number}", most=3, seconds=1)
    assert await cache.noted("telephone:x") == ["note 2", "note 3", "note 4"]
    assert await cache.noted("telephone:y") == []
    gone = AsyncRetrying(stop=stop_after_delay(10), wait=wait_fixed(0.1), retry=retry_if_result(bool))
    assert await gone(cache.noted, "telephone:x") == []
    await cache.close()
