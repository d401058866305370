"""The identity site as deployed, TLS gateway and pooler included, and a tenant's site that logs people in by it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from services.kernel.settings import ServiceSettings
from services.kernel.tenancy import Directory, Doors
from tests.integration.backends import Pooler, Postgres, free_port, listening, start, stop
from tests.integration.front import certificate
from tests.integration.network import REPOSITORY, migrate
from tests.support.browsing import as_a_browser
from tests.support.waiting import wait_until

TENANTS = (
    ("330000", "浙江省", "province", None),
    ("330100", "杭州市", "city", "330000"),
    ("330106", "西湖区", "county", "330100"),
    ("330112", "临安区", "county", "330100"),
)
PASSWORD = "correct horse battery"


@dataclass
class IdentitySite:
    folder: Path
    postgres: Postgres
    environment: dict[str, str] = field(default_factory=dict)
    pool_size: int = 8
    bare_port: int | None = None  # a peer for measurements, behind the same gateway at /bare
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    signing_key: str = field(default_factory=lambda: f"{secrets.randbits(250):064x}")
    client_secrets: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    gateway: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        return f"https://localhost:{self.tls_port}"

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    def create(self) -> None:
        """Database, roles as the deployment makes them, schema, files, certificate; pooler and gateway started."""
        self.folder.mkdir(parents=True, exist_ok=True)
        passwords = {role: secrets.token_hex(12) for role in ("identity_owner", "identity_app")}
        for role, password in passwords.items():
            self.postgres.run(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        self.postgres.run("CREATE DATABASE identity OWNER identity_owner")
        self.postgres.run(
            "REVOKE ALL ON DATABASE identity FROM PUBLIC; GRANT CONNECT ON DATABASE identity TO identity_app"
        )
        self.migrate(passwords["identity_owner"])
        self.client_secrets = {code: secrets.token_urlsafe(24) for code in [*(row[0] for row in TENANTS), "operator"]}
        self.database_password = passwords["identity_app"]
        self.write_files()
        self.pooler = Pooler(
            self.folder, self.postgres.port, {"identity_app": passwords["identity_app"]}, pool_size=self.pool_size
        )
        self.pooler.start()
        self._start_gateway()

    def migrate(self, owner_password: str) -> None:
        target = {
            "module": "identity",
            "host": "127.0.0.1",
            "port": self.postgres.port,
            "database": "identity",
            "user": "identity_owner",
            "password": owner_password,
            "application_role": "identity_app",
        }
        done = migrate([target])
        assert done.returncode == 0, done.stdout + done.stderr

    def write_files(self, **more: Any) -> None:
        network = {
            "schema_version": 1,
            "environment": "test",
            "issuer": self.issuer,
            "query": "https://query.test",
            "object_endpoint": "https://objects.test",
            "object_region": "local",
            "tenants": [_tenant(*row) for row in TENANTS],
        }
        secret = {
            "database_password": self.database_password,
            "signing_key": self.signing_key,
            "clients": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.client_secrets.items()},
            **more,
        }
        for name, content in (("tenants.json", network), ("identity.json", secret)):
            fresh = self.folder / f"{name}.new"
            fresh.write_text(json.dumps(content))
            fresh.replace(self.folder / name)

    def settings(self) -> dict[str, str]:
        return {
            "YIWANG_SERVICE": "identity",
            "YIWANG_CELL": "cell-core",
            "YIWANG_PORT": str(self.port),
            "YIWANG_BIND": "127.0.0.1",
            "YIWANG_TENANTS_FILE": str(self.folder / "tenants.json"),
            "YIWANG_SECRETS_FILE": str(self.folder / "identity.json"),
            "YIWANG_DATABASE_HOST": "127.0.0.1",
            "YIWANG_DATABASE_PORT": str(self.pooler.port),
            "PYTHONPATH": str(REPOSITORY),
            **self.environment,
        }

    def doors(self) -> Doors:
        """The service's way to its database, for tests that go without the service."""
        variables = {name.removeprefix("YIWANG_").lower(): value for name, value in self.settings().items()}
        service = ServiceSettings.model_validate(variables)
        return Doors(service, Directory(service.tenants_file, service.secrets_file, service.cell))

    def start(self) -> None:
        log = self.folder / "identity.log"
        self.process = process = start([sys.executable, "-m", "services.identity"], log, **self.settings())
        wait_until(lambda: listening(self.port) or process.poll() is not None, 20, "identity listens")
        assert process.poll() is None, log.read_text()[-3000:]
        wait_until(lambda: listening(self.tls_port), 10, "the gateway listens")

    def stop(self) -> None:
        for process in (self.process, self.gateway):
            if process:
                stop(process)
        self.pooler.stop()

    def _start_gateway(self) -> None:
        public, private = certificate("localhost")
        self.authority.write_bytes(public)
        (self.folder / "site.pem").write_bytes(private)
        configuration = self.folder / "haproxy.cfg"
        configuration.write_text(
            f"""global
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend site
  bind 127.0.0.1:{self.tls_port} ssl crt {self.folder / "site.pem"}
  option forwardfor
  {"use_backend bare if { path /bare }" if self.bare_port else ""}
  default_backend identity
backend bare
  http-reuse always
  server bare 127.0.0.1:{self.bare_port or 9}
backend identity
  http-reuse always
  server identity 127.0.0.1:{self.port}
"""
        )
        self.gateway = start(["/usr/sbin/haproxy", "-db", "-f", configuration], self.folder / "haproxy.log")

    # ---- what callers need ----

    def client(self, **more: Any) -> httpx.Client:
        """An HTTP client: a site's back end, or a program."""
        trust = ssl.create_default_context(cafile=str(self.authority))
        return httpx.Client(base_url=self.issuer, verify=trust, timeout=30, trust_env=False, **more)

    def browser(self, **more: Any) -> httpx.Client:
        """A client that keeps cookies and sends what a browser sends."""
        return as_a_browser(self.client(**more))

    def machine_token(self, client_id: str) -> str:
        scope = "operator" if client_id == "operator" else "relay"
        with self.client() as client:
            answer = client.post(
                "/token",
                data={"grant_type": "client_credentials", "scope": scope},
                auth=(client_id, self.client_secrets[client_id]),
            )
        assert answer.status_code == 200, answer.text
        token: str = answer.json()["access_token"]
        return token

    def operator(self) -> httpx.Client:
        return self.client(headers={"authorization": f"Bearer {self.machine_token('operator')}"})

    def person(self, username: str, **more: Any) -> dict[str, Any]:
        body = {"username": username, "password": PASSWORD, "name": "王小明", "roles": [], **more}
        with self.operator() as operator:
            answer = operator.post("/api/identity/people", json=body)
        assert answer.status_code in (200, 201), answer.text
        document: dict[str, Any] = answer.json()
        return document

    def rows(self, sql: str) -> Any:
        wrapped = f"SELECT coalesce(json_agg(r), '[]') FROM ({sql}) AS r"
        return json.loads(self.postgres.run(wrapped, "identity"))


def _tenant(code: str, name: str, level: str, parent: str | None) -> dict[str, Any]:
    return {
        "code": code,
        "name": name,
        "level": level,
        "parent": parent,
        "residents": 1000,
        "cell": "cell-a",
        "site": f"t{code}.test",
        "url": f"https://t{code}.test",
        "settings": {
            "service_phone": "12345",
            "requests_per_second": 100,
            "database_connections": 4,
            "acceptance_working_days": 5,
        },
        "database": f"t{code}",
        "bucket": "cases",
        "prefix": f"{code}/",
    }


def submit(browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
    """Fill in the form of a page and send it, with the hidden fields that the page holds."""
    page = browser.get(path)
    assert page.status_code == 200, page.text
    action = path.partition("?")[0]
    form = next(form for form in re.findall(r"<form.*?</form>", page.text, re.DOTALL) if f'action="{action}"' in form)
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form))
    hidden = {name: value.replace("&amp;", "&") for name, value in hidden.items()}
    return browser.post(action, data={**hidden, **fields})


def log_in(browser: httpx.Client, login: str, password: str = PASSWORD, path: str = "/login") -> httpx.Response:
    return submit(browser, path, login=login, password=password)


@dataclass
class RelyingParty:
    """A tenant's site, as far as the protocol goes."""

    site: IdentitySite
    code: str = "330106"
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def redirect_uri(self) -> str:
        return f"https://t{self.code}.test/callback"

    def challenge(self) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def authorize_path(self, **changes: str | None) -> str:
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.code,
            "redirect_uri": self.redirect_uri,
            "scope": "openid profile phone roles",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": self.challenge(),
            "code_challenge_method": "S256",
            **changes,
        }
        return f"/authorize?{urlencode({name: value for name, value in parameters.items() if value is not None})}"

    def answered(self, response: httpx.Response) -> dict[str, str]:
        """What came back to the callback."""
        assert response.status_code == 302, response.text
        location = urlsplit(response.headers["location"])
        assert location._replace(query="").geturl() == self.redirect_uri
        return {name: values[0] for name, values in parse_qs(location.query).items()}

    def code_for(self, browser: httpx.Client) -> str:
        answer = self.answered(browser.get(self.authorize_path()))
        assert answer["state"] == self.state and answer["iss"] == self.site.issuer, answer
        return answer["code"]

    def token(self, secret: str | None = None, **form: str) -> httpx.Response:
        with self.site.client() as client:
            return client.post("/token", data=form, auth=(self.code, secret or self.site.client_secrets[self.code]))

    def redeem(self, code: str, **changes: str) -> httpx.Response:
        form = {"code": code, "redirect_uri": self.redirect_uri, "code_verifier": self.verifier, **changes}
        return self.token(grant_type="authorization_code", **form)

    def refresh(self, refresh_token: str, **more: str) -> httpx.Response:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **more)

    def tokens_for(self, browser: httpx.Client) -> dict[str, Any]:
        answer = self.redeem(self.code_for(browser))
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens
