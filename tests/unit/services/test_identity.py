"""The pure parts of identity: keys, passwords, addresses, redirections, claims, the split of a migration."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter, FastAPI
from joserfc import jwt
from pydantic import SecretStr
from starlette.responses import PlainTextResponse

from services.identity.errors import PageRoute
from services.identity.keys import SigningKeys, key_of_scalar
from services.identity.passwords import Passwords, normal, weakness
from services.identity.protocol.clients import Client, Clients
from services.identity.protocol.store import new_refresh_token, parts, successor
from services.identity.protocol.tokens import AccessTokens, Subject
from services.identity.sessions.browser import browser_name, safe_next
from services.kernel.problems import NotAuthenticated, Problem
from services.kernel.tenancy import Directory, ServiceSecrets
from services.kernel.visitors import client_address

SCALAR, OTHER = f"{7:064x}", f"{8:064x}"
ISSUER = "https://id.test"
CLIENT = Client("330106", "", "relay", "tenant:330106", "西湖区")


def tokens(scalar: str = SCALAR, issuer: str = ISSUER, previous: str | None = None) -> AccessTokens:
    secrets = ServiceSecrets(
        signing_key=SecretStr(scalar), previous_signing_key=SecretStr(previous) if previous else None
    )
    keys = SigningKeys.from_secrets(secrets)
    return AccessTokens(lambda: issuer, lambda: keys, timedelta(minutes=10))


# ---- keys ----


def test_key_of_a_scalar_is_always_the_same() -> None:
    first, again = key_of_scalar(SCALAR), key_of_scalar(SCALAR)
    assert first.kid == again.kid == first.thumbprint() != key_of_scalar(OTHER).kid


@pytest.mark.parametrize("digits", ["", "0" * 64, "f" * 64, "not hexadecimal"])
def test_bad_scalar_is_refused_without_being_quoted(digits: str) -> None:
    with pytest.raises(ValueError, match="not the private scalar") as refused:
        key_of_scalar(digits)
    assert not digits or digits not in str(refused.value)


def test_published_keys_are_public() -> None:
    secrets = ServiceSecrets(signing_key=SecretStr(SCALAR), previous_signing_key=SecretStr(OTHER))
    published = SigningKeys.from_secrets(secrets).published()["keys"]
    assert [key["kid"] for key in published] == [key_of_scalar(SCALAR).kid, key_of_scalar(OTHER).kid]
    assert not any("d" in key for key in published)


# ---- access tokens ----


def test_access_token_says_what_the_services_read() -> None:
    roles = [{"tenant": "330106", "department": "行政审批科", "role": "clerk"}]
    claims = tokens().read(tokens().for_person(Subject("p1", "s1", "王小明", roles=roles), CLIENT, "openid"))
    assert claims["sub"] == "p1" and claims["sid"] == "s1" and claims["roles"] == roles
    assert claims["aud"] == "yiwang" and claims["exp"] - claims["iat"] == 600


def test_token_of_the_previous_key_is_still_read() -> None:
    former = tokens(SCALAR).for_machine(CLIENT)
    assert tokens(OTHER, previous=SCALAR).read(former)["sub"] == "tenant:330106"
    with pytest.raises(NotAuthenticated):
        tokens(OTHER).read(former)


@pytest.mark.parametrize("change", [{"iss": "https://other.test"}, {"aud": "x"}, {"exp": 1}, {"sub": None}])
def test_tokens_that_are_not_for_us_are_refused(change: dict[str, Any]) -> None:
    claims = {"iss": ISSUER, "aud": "yiwang", "sub": "p1", "exp": int(time.time()) + 60}
    key = key_of_scalar(SCALAR)
    good = jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key)
    assert tokens().read(good)["sub"] == "p1"
    with pytest.raises(NotAuthenticated):
        tokens().read(jwt.encode({"alg": "ES256", "kid": key.kid}, claims | change, key))


@pytest.mark.parametrize("token", ["", "a.b.c", "é", "x" * 10_000, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."])
def test_malformed_and_unsigned_tokens_are_refused(token: str) -> None:
    with pytest.raises(NotAuthenticated):
        tokens().read(token)


def test_scope_opens_claims() -> None:
    person = Subject("p1", "s1", "王小明", "wangxiaoming", "13800000001", [])
    assert person.claims("openid") == {"sub": "p1"}
    assert person.claims("openid profile")["preferred_username"] == "wangxiaoming"
    assert person.claims("openid phone")["phone_number"] == "+8613800000001"


# ---- refresh tokens ----


def test_refresh_token_names_its_family_and_hides_its_secret() -> None:
    token = new_refresh_token()
    family, secret = parts(token)
    assert parts(successor(token, b"key"))[0] == family
    assert parts(successor(token, b"key"))[1] != secret


def test_successor_is_always_the_same_one_and_nobodys_without_the_key() -> None:
    token, other = new_refresh_token(), new_refresh_token()
    assert successor(token, b"key") == successor(token, b"key")
    assert len({successor(token, b"key"), successor(token, b"another"), successor(other, b"key")}) == 3


def test_key_of_successors_is_the_secret_files_and_not_shown() -> None:
    keys, again, other = (
        SigningKeys.from_secrets(ServiceSecrets(signing_key=SecretStr(s))) for s in (SCALAR, SCALAR, OTHER)
    )
    assert keys.refresh == again.refresh != other.refresh
    assert SCALAR.encode() not in keys.refresh and str(keys.refresh) not in repr(keys)


@pytest.mark.parametrize("token", ["", "x", "é" * 64, "A" * 63 + "!", base64.b64encode(b"x" * 47).decode(), "A" * 68])
def test_what_is_no_refresh_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a refresh token"):
        parts(token)


# ---- clients ----


def write_files(folder: Path, codes: list[str], clients: list[str]) -> None:
    tenant = {
        "name": "某地",
        "level": "county",
        "parent": None,
        "residents": 1,
        "cell": "cell-a",
        "database": "d",
        "bucket": "b",
        "prefix": "p",
    }
    settings = {"service_phone": "1", "requests_per_second": 1, "database_connections": 1, "acceptance_working_days": 1}
    tenants = [
        tenant | {"code": code, "site": f"t{code}.test", "url": f"https://t{code}.test", "settings": settings}
        for code in codes
    ]
    network = {
        "schema_version": 1,
        "environment": "test",
        "issuer": ISSUER,
        "query": "q",
        "object_endpoint": "o",
        "object_region": "r",
        "tenants": tenants,
    }
    (folder / "tenants.json").write_text(json.dumps(network))
    (folder / "secrets.json").write_text(json.dumps({"clients": dict.fromkeys(clients, "0" * 64)}))


def test_every_live_tenant_with_a_secret_is_a_client(tmp_path: Path) -> None:
    write_files(tmp_path, ["330106", "330112"], ["330106", "330127", "operator"])
    directory = Directory(tmp_path / "tenants.json", tmp_path / "secrets.json", "cell-core")
    clients = Clients(directory)
    by_code = {code: clients.find(code) for code in ("330106", "330112", "330127", "operator", "")}
    assert [code for code, client in by_code.items() if client] == ["330106", "operator"]
    xihu, operator = by_code["330106"], by_code["operator"]
    assert xihu and xihu.check_redirect_uri("https://t330106.test/callback") and not xihu.check_redirect_uri("")
    assert operator and not operator.check_response_type("code") and not operator.check_redirect_uri("")
    write_files(tmp_path, ["330106", "330112", "330127"], ["330106", "330127", "operator"])
    directory.reload()
    assert clients.find("330127"), "onboarded without a restart"
    write_files(tmp_path, ["330127"], ["330127"])
    directory.reload()
    assert clients.find("330106") is None


# ---- passwords ----


@pytest.mark.parametrize(
    ("password", "weak"),
    [
        ("一句很容易记住的话", False),
        ("correct horse", False),
        ("1234567", True),
        ("aaaaaaaaaa", True),
        ("Password1", True),
        ("wangxiaoming", True),
        ("x" * 129, True),
        ("a\x00bcdefgh", True),
        ("１２３４５６７８", True),
    ],
)
def test_weak_passwords(password: str, weak: bool) -> None:
    assert (weakness(password, "WangXiaoming") is not None) == weak


def test_a_password_that_no_log_in_takes_is_not_brought_into_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for it grows by the square: one registration would hold up the whole process."""
    formed: list[str] = []

    def normal(text: str) -> str:
        formed.append(text)
        return text[:20]

    monkeypatch.setattr("services.identity.passwords.normal", normal)
    assert weakness("a" + "\u0301\u0323" * 128) == "密码最多 128 个字符"
    assert not formed


async def test_passwords_of_any_keyboard_match() -> None:
    passwords = Passwords()
    stored = await passwords.hash("ｐａｓｓ 密码")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert normal("ｐａｓｓ 密码") == "pass 密码" and await passwords.matches(stored, "pass 密码")
    assert not await passwords.matches(stored, "pass 密碼")
    assert not await passwords.matches(None, "the password of nobody"), "the dummy's own password is none either"
    assert not await passwords.matches("not a hash", "x")


async def test_too_many_waiting_hashes_are_refused_at_once() -> None:
    passwords = Passwords(threads=1, queue=2)
    results = await asyncio.gather(*(passwords.matches(None, "x") for _ in range(5)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Problem)]
    assert len(refused) == 3 and all(problem.status == 503 and "Retry-After" in problem.headers for problem in refused)
    assert await passwords.matches(None, "x") is False, "and afterwards it serves again"


async def test_a_page_for_what_is_out_is_a_line_in_the_log_and_a_bug_is_an_error_with_its_trace() -> None:
    router, app = APIRouter(route_class=PageRoute), FastAPI()

    @router.get("/out")
    async def out() -> None:
        raise Problem(503, "busy")

    @router.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError

    app.include_router(router)
    site = SimpleNamespace(problem=lambda _, problem: PlainTextResponse(status_code=problem.status))
    app.state.parts = SimpleNamespace(site=site)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://id.test") as browser:
        with structlog.testing.capture_logs() as logs:
            assert [(await browser.get(path)).status_code for path in ("/out", "/bug")] == [503, 500]
    said = [(line["event"], line["log_level"], "exc_info" in line) for line in logs]
    assert said == [("request.unavailable", "warning", False), ("request.problem", "error", True)]


# ---- browsers ----


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        (["203.0.113.5", "10.0.0.2"], 2, "203.0.113.5"),
        (["6.6.6.6", "203.0.113.5", "10.0.0.2"], 2, "203.0.113.5"),
        (["203.0.113.5"], 2, "203.0.113.5"),
        (["6.6.6.6"], 0, "10.0.0.1"),
        ([], 2, "10.0.0.1"),
        (["nonsense"], 1, "10.0.0.1"),
        (["2001:db8:1:2:3:4:5:6"], 1, "2001:db8:1:2::/64"),
    ],
)
def test_client_address_is_one_that_a_proxy_of_ours_wrote(forwarded: list[str], proxies: int, address: str) -> None:
    assert client_address(forwarded, "10.0.0.1", proxies) == address


@pytest.mark.parametrize("target", ["/", "/authorize?client_id=330106&x=%2F", "/invitation/abc", "/" + "x" * 7000])
def test_places_on_the_site_are_followed(target: str) -> None:
    assert safe_next(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "x",
        "//x.test",
        "https://x.test",
        "/\\x.test",
        "javascript:x",
        "/\n/x",
        "/x\x00",
        "/" + "x" * 8000,
        "/" + "%" * 3000,
        "///x",
    ],
)
def test_places_elsewhere_are_not(target: str) -> None:
    assert safe_next(target) == "/"


def test_browser_names() -> None:
    agent = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120 Mobile Safari/537.36 MicroMessenger/8"
    assert browser_name(agent) == "微信 · Android"
    assert browser_name("<script>") == "其他浏览器"


# ---- migration ----


def test_migration_is_split_into_whole_statements() -> None:
    module = importlib.import_module("services.identity.migrations.versions.0001_people_sessions_grants")
    for script in (module.TABLES, module.PEOPLE, module.LOG_IN, module.GRANTS):
        statements = module.statements(script)
        assert all(statement.count("$$") in (0, 2) for statement in statements)
        created = script.count("\nCREATE ")
        assert len(statements) == created
