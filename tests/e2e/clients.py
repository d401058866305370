"""Real clients of a living environment: a site that logs people in, and an applicant who keeps every receipt."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import ssl
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.integration.identity_site import log_in
from tests.support.browsing import as_a_browser
from tests.support.living import Living

ITEM = "XK-SPJY"
BODY = {
    "item": ITEM,
    "form": {"place_name": "西溪小吃", "business": "餐饮服务"},
    "applicant": {"name": "林小满", "phone": "13800000001"},
}
RETRY_SECONDS = 0.2
TRIES = 600


def trust(living: Living) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(living.life.folder.authority / "authority.pem"))


def access_token(living: Living, code: str, username: str, password: str) -> str:
    """A person's access token as the site of tenant `code` gets it: authorization code with PKCE."""
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == code)
    secret = living.secrets(living.life.registry.scope_of(code))[code]["client_secret"]
    issuer = living.outputs.issuer
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with as_a_browser(httpx.Client(base_url=issuer, verify=trust(living), timeout=30)) as browser:
        answer = log_in(browser, username, password)
        assert answer.status_code in (200, 302, 303), answer.text
        sent = browser.get(
            "/authorize",
            params={
                "response_type": "code",
                "client_id": code,
                "redirect_uri": f"{tenant.url}/callback",
                "scope": "openid profile phone roles",
                "state": "state",
                "nonce": "nonce",
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            },
        )
        assert sent.status_code == 302, sent.text
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(sent.headers["location"]).query)["code"][0],
            "redirect_uri": f"{tenant.url}/callback",
            "code_verifier": verifier,
        }
        token: str = browser.post("/token", data=form, auth=(code, secret)).json()["access_token"]
        return token


def citizen_token(living: Living, code: str) -> str:
    citizen = living.described["demo"]["citizen"]
    return access_token(living, code, citizen["username"], citizen["password"])


def clerk_token(living: Living, code: str) -> str:
    clerk = living.described["demo"]["clerks"][code]
    return access_token(living, code, clerk["username"], clerk["password"])


@dataclass
class Applicant:
    """Files cases at one site and writes each acknowledged one to a ledger that lies outside the stack.

    With `retries`, a filing that was not acknowledged is sent again under its key, as the contract asks of a client;
    without, whatever is not a 2xx counts as failed.
    """

    url: str
    token: str
    trust: ssl.SSLContext
    ledger: Path
    retries: bool = True
    acknowledged: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    async def file(self, count: int, concurrency: int = 8) -> None:
        """Files `count` cases, `concurrency` at a time."""
        keys = iter([str(uuid.uuid4()) for _ in range(count)])
        limits = httpx.Limits(max_connections=concurrency)
        with self.ledger.open("a") as ledger:
            async with httpx.AsyncClient(verify=self.trust, timeout=20, limits=limits) as client:
                await asyncio.gather(*(self._work(client, keys, ledger) for _ in range(concurrency)))

    async def _work(self, client: httpx.AsyncClient, keys: Any, ledger: TextIO) -> None:
        for key in keys:
            receipt = await self._file_one(client, key)
            if receipt is not None:
                ledger.write(json.dumps({"key": key, "number": receipt["number"]}) + "\n")
                ledger.flush()
                os.fsync(ledger.fileno())
                self.acknowledged[key] = receipt["number"]

    async def _file_one(self, client: httpx.AsyncClient, key: str) -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        for _ in range(TRIES if self.retries else 1):
            try:
                answer = await client.post(f"{self.url}/api/affairs/cases", json=BODY, headers=headers)
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if answer.is_success:
                    receipt: dict[str, Any] = answer.json()
                    return receipt
                said = f"{answer.status_code} {answer.text[:200]}"
            await asyncio.sleep(RETRY_SECONDS)
        self.failed.append(said)
        return None
