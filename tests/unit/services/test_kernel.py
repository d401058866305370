"""The kernel without hosts: tenants files, tokens, telemetry, the application's envelope."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import APIRouter
from joserfc import jwt
from joserfc.jwk import ECKey
from prometheus_client import REGISTRY

from services.kernel import telemetry
from services.kernel.http import CurrentTenant, Service, create_app
from services.kernel.problems import NotAuthenticated, Unavailable
from services.kernel.settings import ServiceSettings
from services.kernel.telemetry import outcome
from services.kernel.tenancy import Directory
from services.kernel.tokens import Verifier

TENANT = {
    "code": "330106",
    "name": "西湖区",
    "level": "county",
    "parent": "330100",
    "residents": 1,
    "cell": "cell-a",
    "site": "xihu.zj.example",
    "url": "https://xihu.zj.example",
    "settings": {
        "service_phone": "0571-12345",
        "requests_per_second": 10,
        "database_connections": 2,
        "acceptance_working_days": 5,
    },
    "database": "t330106",
    "bucket": "b",
    "prefix": "330106/",
}
ISSUER = "https://id.zj.example"


def network(*tenants: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "environment": "test",
        "issuer": ISSUER,
        "query": "https://query.zj.example",
        "object_endpoint": "https://objects.example",
        "object_region": "local",
        "tenants": list(tenants),
    }


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "tenants.json").write_text(json.dumps(network(TENANT)))
    (tmp_path / "secrets.json").write_text(json.dumps({"tenants": {}, "cache_password": "hidden-word"}))
    return tmp_path


def directory(files: Path) -> Directory:
    return Directory(files / "tenants.json", files / "secrets.json", "cell-a")


def test_a_host_names_its_tenant_with_or_without_port_and_in_any_case(files: Path) -> None:
    tenant_directory = directory(files)
    for host in ("xihu.zj.example", "xihu.zj.example:8443", "XIHU.zj.example"):
        tenant = tenant_directory.by_host(host)
        assert tenant is not None and tenant.code == "330106"
    assert tenant_directory.by_host("xihu.zj.example.evil") is None and tenant_directory.by_host("") is None


def test_a_tenant_of_another_cell_is_known_but_not_served(files: Path) -> None:
    other = TENANT | {"code": "330112", "cell": "cell-b", "site": "linan.zj.example"}
    (files / "tenants.json").write_text(json.dumps(network(TENANT, other)))
    tenant_directory = directory(files)
    assert tenant_directory.by_code("330112") is not None and tenant_directory.by_host("linan.zj.example") is None
    assert [tenant.code for tenant in tenant_directory.own_cell()] == ["330106"]


def test_changed_files_are_read_again_and_broken_ones_leave_what_was_known(files: Path) -> None:
    tenant_directory = directory(files)
    assert not tenant_directory.reload_if_changed()
    (files / "tenants.json").write_text('{"schema_version": 1, "tenants": [')
    assert not tenant_directory.reload_if_changed() and len(tenant_directory.tenants()) == 1
    other = TENANT | {"code": "330112", "site": "linan.zj.example"}
    (files / "tenants.json").write_text(json.dumps(network(TENANT, other)))
    assert tenant_directory.reload_if_changed() and len(tenant_directory.own_cell()) == 2


def test_secrets_are_in_no_text_of_the_directory(files: Path) -> None:
    tenant_directory = directory(files)
    assert "hidden-word" not in repr(tenant_directory.secrets) + str(tenant_directory.secrets.model_dump())
    (files / "secrets.json").write_text('{"tenants": {"330106": ["hidden-word"]}}')
    with pytest.raises(ValueError, match=r"secrets\.json") as error:
        tenant_directory.reload()
    assert "hidden-word" not in str(error.value)


class Keys:
    """An issuer's keys, its trouble, and how often it was asked."""

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "one"})
        self.asked = 0
        self.out = False

    async def fetch(self) -> dict[str, Any]:
        self.asked += 1
        if self.out:
            raise OSError("no connection")
        return {"keys": [self.key.as_dict(private=False)]}

    def token(self, algorithm: str = "ES256", **changes: Any) -> str:
        claims = {"iss": ISSUER, "aud": "yiwang", "sub": "p", "client_id": "330106", "exp": int(time.time()) + 60}
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": self.key.kid}, claims, self.key)


@pytest.fixture
def keys() -> Keys:
    return Keys()


def verifier(keys: Keys, **more: Any) -> Verifier:
    return Verifier(lambda: ISSUER, keys.fetch, **more)


async def test_a_good_token_is_checked_once_and_remembered(keys: Keys) -> None:
    checker, token = verifier(keys), keys.token(scope="openid relay", roles=[])
    principal = await checker.verify(token)
    assert principal.sub == "p" and not principal.is_person
    assert checker.remembered(token.encode()) is principal and keys.asked == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "other"},
        {"exp": 1},
        {"exp": None},
        {"aud": None},
        {"sub": None},
        {"client_id": None},
        {"roles": "clerk"},
    ],
)
async def test_a_token_that_does_not_fit_is_refused(keys: Keys, changes: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        await verifier(keys).verify(keys.token(**changes))


async def test_a_token_of_another_key_or_without_a_signature_is_refused(keys: Keys) -> None:
    checker, stranger = verifier(keys), Keys()
    await checker.verify(keys.token())
    head, body, _ = keys.token().split(".")
    for token in (stranger.token(), f"{head}.{body}.", "eyJhbGciOiJub25lIn0." + body + "."):
        with pytest.raises(NotAuthenticated):
            await checker.verify(token)


async def test_a_remembered_token_is_forgotten_when_it_expires(keys: Keys) -> None:
    now = [time.time()]
    checker, token = verifier(keys, now=lambda: now[0]), keys.token()
    await checker.verify(token)
    now[0] += 61
    assert checker.remembered(token.encode()) is None
    with pytest.raises(NotAuthenticated):
        await checker.verify(token)


async def test_keys_known_go_on_serving_while_identity_is_out(keys: Keys) -> None:
    now = [time.time()]
    checker = verifier(keys, now=lambda: now[0])
    await checker.verify(keys.token())
    keys.out = True
    now[0] += 400
    assert (await checker.verify(keys.token(exp=int(now[0]) + 60))).sub == "p"


async def test_without_keys_a_token_is_neither_good_nor_bad(keys: Keys) -> None:
    keys.out = True
    with pytest.raises(Unavailable):
        await verifier(keys).verify(keys.token())


async def test_a_new_key_is_fetched_and_rubbish_does_not_make_it_ask_again_and_again(keys: Keys) -> None:
    now = [time.time()]
    checker = verifier(keys, now=lambda: now[0])
    await checker.verify(keys.token())
    keys.key = ECKey.generate_key("P-256", {"kid": "two"})
    now[0] += 10
    assert (await checker.verify(keys.token())).sub == "p"
    asked = keys.asked
    for number in range(50):
        with pytest.raises(NotAuthenticated):
            await checker.verify(f"{number}.x.y")
    assert keys.asked <= asked + 1


async def test_many_first_tokens_share_one_fetch(keys: Keys) -> None:
    checker = verifier(keys)
    await asyncio.gather(*(checker.verify(keys.token(sub=str(number))) for number in range(20)))
    assert keys.asked == 1


@pytest.fixture
async def site(files: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Service]]:
    router = APIRouter()

    @router.get("/name")
    async def name(tenant: CurrentTenant) -> str:
        return tenant.name

    @router.get("/broken")
    async def broken() -> str:
        raise RuntimeError("hidden-word")

    @router.get("/fails/{secret}")
    async def fails(secret: str) -> str:
        raise RuntimeError("hidden-word")

    async def hanging() -> bool:
        await asyncio.Event().wait()
        return True

    settings = ServiceSettings(
        service="test",
        cell="cell-a",
        port=0,
        tenants_file=files / "tenants.json",
        secrets_file=files / "secrets.json",
    )
    service = create_app(settings, title="Test", routers=[router], checks={"slow": lambda _: hanging})
    transport = httpx.ASGITransport(service)
    client = httpx.AsyncClient(transport=transport, base_url="http://xihu.zj.example")
    with structlog.testing.capture_logs():
        async with client:
            yield client, service


async def test_an_unknown_host_is_misdirected(site: tuple[httpx.AsyncClient, Service]) -> None:
    client, _ = site
    assert (await client.get("/name")).json() == "西湖区"
    answer = await client.get("/name", headers={"Host": "other.example"})
    assert answer.status_code == 421 and answer.headers["content-type"] == "application/problem+json"


async def test_an_error_tells_its_request_id_and_nothing_of_its_cause(site: tuple[httpx.AsyncClient, Service]) -> None:
    client, _ = site
    answer = await client.get("/broken", headers={"X-Request-Id": "abcdefgh-1"})
    assert answer.status_code == 500 and answer.headers["x-request-id"] == "abcdefgh-1"
    assert answer.json()["request_id"] == "abcdefgh-1" and "hidden-word" not in answer.text
    forged = await client.get("/name", headers={"X-Request-Id": 'a"b\n'[:3] * 5})
    assert forged.headers["x-request-id"].isalnum()


async def test_readiness_is_limited_in_time_and_life_is_not_readiness(
    site: tuple[httpx.AsyncClient, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = site
    monkeypatch.setattr("services.kernel.http.CHECK_SECONDS", 0.05)
    ready = await asyncio.wait_for(client.get("/readyz"), 5)
    assert ready.status_code == 503 and ready.json()["checks"]["slow"] is False
    assert (await client.get("/healthz")).status_code == 200


def keys_told() -> float | None:
    return REGISTRY.get_sample_value("yiwang_dependency_up", {"dependency": "keys"})


async def test_keys_are_told_of_once_they_are_needed_and_missed_no_longer_than_identity(
    site: tuple[httpx.AsyncClient, Service], keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = site
    monkeypatch.setattr("services.kernel.http.CHECK_SECONDS", 0.05)
    telemetry.DEPENDENCY_UP.clear()
    now = [time.time()]
    checker = service.kernel.verifier = verifier(keys, now=lambda: now[0])
    await client.get("/readyz")
    assert keys_told() is None and keys.asked == 0, "nobody came with a token: none is missed, none is fetched"
    keys.out = True
    with pytest.raises(Unavailable):
        await checker.verify(keys.token())
    await client.get("/readyz")
    assert keys_told() == 0
    keys.out = False
    await client.get("/readyz")
    assert keys_told() == 0 and keys.asked == 1, "not at each question"
    now[0] += Verifier.REFETCH_SECONDS + 1
    await client.get("/readyz")
    assert keys_told() == 1, "although nobody came meanwhile"


async def test_metrics_go_by_route_or_by_tenant_never_by_both(site: tuple[httpx.AsyncClient, Service]) -> None:
    client, _ = site
    for path in ("/name", "/nowhere/1", "/nowhere/2"):
        await client.get(path)
    for host in ("one.example", "two.example"):
        await client.get("/name", headers={"Host": host})
    await client.request("PURGE", "/name")
    lines = (await client.get("/metrics")).text.splitlines()
    samples = [line for line in lines if line.startswith("yiwang_")]
    assert not [line for line in samples if "route=" in line and "tenant=" in line]
    assert 'yiwang_requests_total{outcome="ok",tenant="330106"}' in "".join(samples)
    assert any('route="GET /name"' in line for line in samples)
    assert not [line for line in samples if any(word in line for word in ("nowhere", "one.example", "PURGE"))]
    spent = {labels["tenant"]: value for labels, value in counters("yiwang_tenant_request_seconds_total")}
    assert spent["330106"] > 0 and set(spent) <= {"330106", ""}


def counters(name: str) -> list[tuple[dict[str, str], float]]:
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return [(sample.labels, sample.value) for sample in samples if sample.name == name]


def counted() -> float:
    """Requests that the metrics know of, and the histogram beside them."""
    names = ("yiwang_requests_total", "yiwang_request_seconds_count", "yiwang_tenant_request_seconds_total")
    return sum(value for name in names for _, value in counters(name))


async def watching(site: tuple[httpx.AsyncClient, Service], monkeypatch: pytest.MonkeyPatch) -> tuple[float, list[str]]:
    """What asking for health, readiness and metrics adds to the metrics, and the paths that it leaves in the log."""
    client, service = site
    logged: list[str] = []
    monkeypatch.setattr(service._access, "write", lambda route, path, *_: logged.append(path))
    monkeypatch.setattr("services.kernel.http.CHECK_SECONDS", 0.01)
    await client.get("/name")
    before = counted()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await client.get(path)).status_code in (200, 503)
    return counted() - before, logged


async def test_whoever_watches_is_neither_counted_nor_logged(
    site: tuple[httpx.AsyncClient, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await watching(site, monkeypatch) == (0, ["/name"])


@pytest.mark.parametrize("kept", ["answered", "failed"])
async def test_a_secret_in_a_path_is_in_no_line_of_the_log(
    site: tuple[httpx.AsyncClient, Service], capsys: pytest.CaptureFixture[str], kept: str
) -> None:
    client, service = site
    secret = secrets.token_urlsafe(32)
    with structlog.testing.capture_logs() as logs:
        await client.get(f"/{'name' if kept == 'answered' else 'fails'}/{secret}")
    service.flush_log()
    told = capsys.readouterr().out + str(logs)
    assert "SECRET" in told and secret not in told


async def test_a_service_that_counts_its_watchers_is_caught(
    site: tuple[httpx.AsyncClient, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.kernel.http.WATCHED", frozenset())
    added, logged = await watching(site, monkeypatch)
    assert added > 0 and logged == ["/name", "/healthz", "/readyz", "/metrics"]


@pytest.mark.parametrize(
    ("status", "word"), [(200, "ok"), (303, "ok"), (404, "refused"), (429, "limited"), (503, "failed")]
)
def test_outcomes_are_a_few_words(status: int, word: str) -> None:
    assert outcome(status) == word


def test_the_kernel_imports_no_module_that_stands_on_it() -> None:
    for path in Path("services/kernel").glob("*.py"):
        for module in ("affairs", "portal", "identity", "query"):
            assert f"services.{module}" not in path.read_text(), path
