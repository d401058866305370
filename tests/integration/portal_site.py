"""Portal sites on real PostgreSQL, with an identity, affairs and query that a test tells what to answer.

The portal runs in this process; its calls to others go to `World`, which is a provider of OpenID Connect with real
keys and signatures, and an affairs and query of canned answers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.portal.app import create
from tests.integration.backends import Postgres
from tests.integration.network import migrate
from tests.support.browsing import as_a_browser

HERE, THERE = "330108", "330110"
PLACES = {HERE: ("滨江区", "binjiang"), THERE: ("余杭区", "yuhang")}
SUFFIX = "zj.localhost:8443"
ISSUER = f"https://id.{SUFFIX}"
QUERY = f"https://query.{SUFFIX}"


def site(code: str) -> str:
    return f"https://{PLACES[code][1]}.{SUFFIX}"


@dataclass
class Person:
    sub: str
    name: str = "沈小禾"
    roles: list[dict[str, str]] = field(default_factory=list)


CITIZEN = Person("citizen-1")
CLERK = Person("clerk-1", "陈工", [{"tenant": HERE, "department": "市场监督管理局", "role": "clerk"}])

Handler = Callable[[httpx.Request], httpx.Response]


class World:
    """Everything beyond the portal. A service whose name is in `out` does not answer.

    `trouble` answers in identity's place when a token is asked for; with `loses_answers` identity does what it is
    asked, and nobody hears of it.
    """

    def __init__(self) -> None:
        self.key = ECKey.generate_key("P-256", {"kid": "first", "use": "sig", "alg": "ES256"})
        self.out: set[str] = set()
        self.codes: dict[str, dict[str, Any]] = {}
        self.refresh_tokens: dict[str, tuple[str, Person]] = {}
        self.spent: list[str] = []
        self.successors: dict[str, str] = {}
        self.trouble: Handler | None = None
        self.loses_answers = False
        self.access_seconds = 600
        self.knows_no_client = False
        self.claims: dict[str, Any] = {}
        self.answers: dict[tuple[str, str], Handler] = {}
        self.calls: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        host = request.url.host.partition(".")[0]
        service = {"id": "identity", "query": "query"}.get(host, "affairs")
        if service in self.out:
            raise httpx.ConnectError("out", request=request)
        if service == "identity":
            return self._identity(request)
        answer = self.answers.get((request.method, request.url.path))
        if answer is None:
            return httpx.Response(404, json={"type": "urn:yiwang:not-found", "title": "Not Found", "status": 404})
        return answer(request)

    def says(self, method: str, path: str, status: int, document: Any) -> None:
        self.answers[method, path] = lambda _: httpx.Response(status, json=document)

    def grant(self, authorize_url: str, person: Person) -> str:
        """What identity does once the person has logged in: the address to go back to, with a code."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(authorize_url).query).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked | {"person": person}
        return f"{asked['redirect_uri']}?code={code}&state={asked['state']}&iss={ISSUER}"

    def _identity(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/jwks":
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        if request.url.path == "/.well-known/openid-configuration":
            return httpx.Response(200, json={"issuer": ISSUER})
        assert request.url.path == "/token"
        if self.trouble:
            return self.trouble(request)
        answer = self._token(request)
        if self.loses_answers:
            raise httpx.ReadTimeout("lost", request=request)
        return answer

    def _token(self, request: httpx.Request) -> httpx.Response:
        client, _, secret = (
            base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode().partition(":")
        )
        if secret != f"client-{client}" or self.knows_no_client:
            return httpx.Response(401, json={"error": "invalid_client"})
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        if form["grant_type"] == "authorization_code":
            return self._redeem(client, form)
        if form["grant_type"] == "refresh_token":
            return self._refresh(form)
        return httpx.Response(200, json={"access_token": f"relay-of-{client}", "expires_in": 600})

    def _redeem(self, client: str, form: dict[str, str]) -> httpx.Response:
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if asked is None or asked["client_id"] != client or asked["code_challenge"] != challenge.decode():
            return httpx.Response(400, json={"error": "invalid_grant"})
        return self._tokens(client, asked["person"], asked["nonce"])

    def _refresh(self, form: dict[str, str]) -> httpx.Response:
        """Each refresh token is good once, and gives the same one again until that is used; an older one ends all."""
        token = form["refresh_token"]
        self.spent.append(token)
        if grant := self.refresh_tokens.pop(token, None):
            self.successors[token] = secrets.token_urlsafe(16)
        elif not (grant := self.refresh_tokens.get(self.successors.get(token, ""))):
            self.refresh_tokens.clear()
            return httpx.Response(400, json={"error": "invalid_grant"})
        return self._tokens(*grant, refresh=self.successors[token])

    def _tokens(
        self, client: str, person: Person, nonce: str | None = None, refresh: str | None = None
    ) -> httpx.Response:
        refresh = refresh or secrets.token_urlsafe(16)
        self.refresh_tokens[refresh] = client, person
        about = {"iss": ISSUER, "sub": person.sub, "name": person.name, "exp": int(time.time()) + self.access_seconds}
        access = about | {"aud": "yiwang", "client_id": client, "scope": "openid", "roles": person.roles}
        identity = about | {
            "aud": client,
            "nonce": nonce,
            "phone_number": "+8613900001111",
            "exp": int(time.time()) + 60,
        }
        answer = {
            "access_token": self.sign(access),
            "refresh_token": refresh,
            "expires_in": self.access_seconds,
            "id_token": self.sign(identity | self.claims),
        }
        return httpx.Response(200, json=answer)

    def sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "ES256", "kid": "first"}, claims, self.key)


@dataclass
class Sites:
    """The portal as a process would hold it, and the world around it."""

    world: World
    postgres: Postgres
    app: Any

    def browser(self, code: str = HERE, **options: Any) -> httpx.AsyncClient:
        """A browser on one site; it keeps cookies and follows nothing by itself."""
        transport = httpx.ASGITransport(app=self.app)
        return as_a_browser(httpx.AsyncClient(transport=transport, base_url=site(code), **options))

    async def log_in(self, browser: httpx.AsyncClient, person: Person = CITIZEN, path: str = "/") -> httpx.Response:
        """The answer of the callback."""
        sent = await browser.get("/login", params={"next": path})
        return await browser.get(self.world.grant(sent.headers["location"], person))

    def rows(self, sql: str, code: str = HERE) -> Any:
        return json.loads(self.postgres.run(f"SELECT coalesce(json_agg(r), '[]') FROM ({sql}) AS r", f"t{code}"))


def prepare(
    folder: Path,
    postgres: Postgres,
    network: dict[str, Any] | None = None,
    client_secrets: Mapping[str, str] | None = None,
) -> ServiceSettings:
    """Databases with the portal's schema, and the files of a host; for the tenants of `network`, or our own two."""
    network = network or _network()
    passwords = {tenant["database"]: secrets.token_hex(8) for tenant in network["tenants"]}
    for database, password in passwords.items():
        for role in ("owner", "portal"):
            postgres.run(f"CREATE ROLE {database}_{role} LOGIN PASSWORD '{password}'")
        postgres.run(f"CREATE DATABASE {database} OWNER {database}_owner")
    targets = [
        {
            "module": "portal",
            "host": "127.0.0.1",
            "port": postgres.port,
            "database": database,
            "user": f"{database}_owner",
            "password": password,
            "application_role": f"{database}_portal",
        }
        for database, password in passwords.items()
    ]
    done = migrate(targets)
    assert done.returncode == 0, done.stdout + done.stderr
    secrets_of_clients = client_secrets or {code: f"client-{code}" for code in PLACES}
    secret = {
        tenant["code"]: _secrets(secrets_of_clients[tenant["code"]], passwords[tenant["database"]])
        for tenant in network["tenants"]
    }
    (folder / "portal-tenants.json").write_text(json.dumps(network))
    (folder / "portal-secrets.json").write_text(json.dumps({"tenants": secret}))
    return ServiceSettings(
        service="portal",
        cell="cell-a",
        port=1,
        tenants_file=folder / "portal-tenants.json",
        secrets_file=folder / "portal-secrets.json",
        database_host="127.0.0.1",
        database_port=postgres.port,
        trusted_proxies=1,
    )


@asynccontextmanager
async def running(settings: ServiceSettings, postgres: Postgres) -> AsyncIterator[Sites]:
    world = World()
    http = httpx.AsyncClient(transport=httpx.MockTransport(world))
    kernel = Kernel(settings, http)
    portal = create(settings, kernel)
    yield Sites(world, postgres, portal)
    await portal.api.state.parts.renewals.close()
    await kernel.close()


def _network() -> dict[str, Any]:
    tenants = [
        {
            "code": code,
            "name": name,
            "level": "county",
            "parent": "330100",
            "residents": 1000,
            "cell": "cell-a",
            "site": f"{label}.zj.localhost",
            "url": site(code),
            "settings": {
                "service_phone": "0571-12345",
                "requests_per_second": 100,
                "database_connections": 2,
                "acceptance_working_days": 5,
            },
            "database": f"t{code}",
            "bucket": "cases",
            "prefix": f"{code}/",
        }
        for code, (name, label) in PLACES.items()
    ]
    return {
        "schema_version": 1,
        "environment": "test",
        "issuer": ISSUER,
        "query": QUERY,
        "object_endpoint": "https://objects.invalid",
        "object_region": "local",
        "tenants": tenants,
    }


def _secrets(client_secret: str, password: str) -> dict[str, str]:
    return {"database_password": password, "client_secret": client_secret}
