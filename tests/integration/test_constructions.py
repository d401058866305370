"""What a service needs for its requests it builds once: the second round of the same requests builds nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
from pydantic import TypeAdapter

from services.affairs.app import create as create_affairs
from services.identity.app import create as create_identity
from services.kernel.http import Service
from services.kernel.settings import ServiceSettings
from services.query.app import create as create_query
from tests.integration.backends import Objects, Postgres
from tests.integration.constructions import constructions
from tests.integration.filings import file, filing, fresh_key
from tests.integration.identity_site import IdentitySite
from tests.integration.network import CITY, COUNTY, Network
from tests.integration.portal_site import CITIZEN, CLERK, Sites, running
from tests.integration.test_portal import CASE, FIGURES, ITEM

ROUNDS = 3
WATCHED = ("/healthz", "/readyz", "/metrics")

Visit = Callable[[httpx.AsyncClient, str], Awaitable[None]]


async def built_over(service: Service, url: str, visit: Visit) -> Counter[str]:
    """What is built while a service that has answered everything once answers it again."""
    async with service.api.router.lifespan_context(service.api):
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=service), base_url=url, timeout=20)
        async with client:

            async def all_of_it(name: str) -> None:
                await visit(client, name)
                for path in WATCHED:
                    assert (await client.get(path)).status_code == 200

            await all_of_it("warming")
            with constructions() as built:
                for number in range(ROUNDS):
                    await all_of_it(f"round-{number}")
            return built


@pytest.fixture(scope="module")
def objects(catalogue: Network) -> Iterator[Objects]:
    (catalogue.folder / "counted").mkdir()
    store = Objects(
        catalogue.folder / "counted",
        ["cases"],
        {f"object_access_key_id-{COUNTY.code}": f"object_access_key_secret-{COUNTY.code}"},
    )
    store.start()
    yield store
    store.stop()


def affairs_settings(network: Network, objects: Objects) -> ServiceSettings:
    """The settings of a process beside the running ones, which knows the object store."""
    file = network.folder / "counted.json"
    document = json.loads((network.folder / "tenants.json").read_text())
    file.write_text(json.dumps(document | {"object_endpoint": objects.endpoint}))
    return network.settings("affairs", COUNTY.cell).model_copy(update={"tenants_file": file})


async def test_affairs_builds_nothing_for_a_request(catalogue: Network, objects: Objects) -> None:
    citizen = {"Authorization": f"Bearer {catalogue.issuer.citizen('citizen-counted')}"}
    clerk = {"Authorization": f"Bearer {catalogue.issuer.officer('clerk', COUNTY.code)}"}

    async def filed(client: httpx.AsyncClient) -> str:
        once = {"Idempotency-Key": fresh_key()}
        answer = await client.post("/api/affairs/cases", json=filing(), headers=citizen | once)
        return f"/api/affairs/cases/{answer.json()['number']}"

    async def visit(client: httpx.AsyncClient, name: str) -> None:
        assert (await client.get("/api/affairs/items")).status_code == 200
        case, other = await filed(client), await filed(client)
        content = {"file": ("a.pdf", b"x", "application/pdf")}
        added = await client.post(f"{other}/materials", data={"name": name}, files=content, headers=citizen)
        assert added.status_code == 201, added.text
        for step, body in (("acceptance", {"accepted": True}), ("hand-over", {"to": CITY.code, "reason": "按权限"})):
            done = await client.post(f"{case}/{step}", json=body, headers=clerk)
            assert done.status_code == 200, done.text
        assert (await client.get(case, headers=clerk)).status_code == 200
        assert (await client.get("/api/affairs/desk", headers=clerk)).status_code == 200

    service = create_affairs(affairs_settings(catalogue, objects))
    assert await built_over(service, catalogue.url(COUNTY), visit) == {}


async def test_query_builds_nothing_for_a_request(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-counted")
    receipt = file(catalogue, COUNTY, citizen).json()
    progress = {"number": receipt["number"], "check_code": receipt["check_code"]}

    async def visit(client: httpx.AsyncClient, _: str) -> None:
        mine = await client.get("/api/query/cases", headers={"Authorization": f"Bearer {citizen}"})
        assert mine.status_code == 200
        assert (await client.get("/api/query/progress", params=progress)).status_code in (200, 404)

    settings = catalogue.settings("query", "cell-core")
    assert await built_over(create_query(settings), catalogue.query_url, visit) == {}


async def test_identity_builds_nothing_for_a_request(identity_site: IdentitySite) -> None:
    variables = {name.removeprefix("YIWANG_").lower(): value for name, value in identity_site.settings().items()}
    machine = "330106", identity_site.client_secrets["330106"]

    async def visit(client: httpx.AsyncClient, _: str) -> None:
        for path in ("/login", "/register", "/jwks", "/.well-known/openid-configuration", "/no-such-page"):
            assert (await client.get(path)).status_code in (200, 404), path
        form = {"grant_type": "client_credentials", "scope": "relay"}
        token = await client.post("/token", data=form, auth=machine)
        assert token.status_code == 200, token.text
        await client.get("/userinfo", headers={"Authorization": f"Bearer {token.json()['access_token']}"})

    service = create_identity(ServiceSettings.model_validate(variables))
    assert await built_over(service, identity_site.issuer, visit) == {}


@pytest.fixture
async def sites(portal_settings: ServiceSettings, postgres: Postgres) -> AsyncIterator[Sites]:
    async with running(portal_settings, postgres) as portal:
        yield portal


async def test_the_portal_builds_nothing_for_a_page(sites: Sites) -> None:
    sites.world.says("GET", "/api/affairs/items", 200, {"items": [ITEM]})
    sites.world.says("GET", f"/api/affairs/items/{ITEM['code']}", 200, ITEM)
    sites.world.says("GET", f"/api/affairs/cases/{CASE['number']}", 200, CASE)
    sites.world.says("GET", "/api/affairs/desk", 200, {"cases": [], "next": None, "figures": FIGURES})
    sites.world.says("GET", "/api/query/cases", 200, {"cases": [], "next": None})

    async def visit() -> None:
        async with sites.browser() as person, sites.browser() as clerk:
            await sites.log_in(person, CITIZEN)
            await sites.log_in(clerk, CLERK)
            for path in ("/", f"/items/{ITEM['code']}", "/my", "/progress", "/no-such-page"):
                assert (await person.get(path)).status_code in (200, 404), path
            assert (await clerk.get("/desk")).status_code == 200

    await visit()
    with constructions() as built:
        await visit()
    del built["AsyncClient.__init__"]  # the browsers of this test
    assert built == {}


def test_something_built_for_a_request_is_seen() -> None:
    with constructions() as built:
        TypeAdapter(dict)
        httpx.AsyncClient(trust_env=False)
    assert built["TypeAdapter.__init__"] == 1 and built["AsyncClient.__init__"] == 1 and built["SSLContext.__new__"] > 0
