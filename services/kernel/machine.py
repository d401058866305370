"""Calls between services: an HTTP client that trusts the environment's authority, and tokens for machines."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

import httpx

from services.kernel.problems import Unavailable


def trust(ca_file: str | None) -> ssl.SSLContext:
    """The public authorities and, where one is given, the environment's own."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(ca_file)
    return context


def http_client(ca_file: str | None, timeout: float = 5.0) -> httpx.AsyncClient:
    """A client that trusts the public authorities and, where one is given, the environment's own."""
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=30)
    return httpx.AsyncClient(
        verify=trust(ca_file), timeout=httpx.Timeout(timeout, connect=2.0), limits=limits, trust_env=False
    )


class MachineTokens:
    """Access tokens of one client by client_credentials, kept until a minute before they expire."""

    EARLY_SECONDS = 60.0

    def __init__(
        self, http: httpx.AsyncClient, issuer: Callable[[], str], client_id: str, secret: Callable[[], str], scope: str
    ) -> None:
        self._http = http
        self._issuer = issuer
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._token = ""
        self._good_until = 0.0
        self._asking = asyncio.Lock()

    async def token(self) -> str:
        """A token that is good for a minute at least. Raises Unavailable when identity does not give one."""
        async with self._asking:
            if time.monotonic() >= self._good_until:
                await self._ask()
            return self._token

    def forget(self) -> None:
        """After a 401: the next call asks for a new one."""
        self._good_until = 0.0

    async def _ask(self) -> None:
        try:
            answer = await self._http.post(
                f"{self._issuer()}/token",
                data={"grant_type": "client_credentials", "scope": self._scope},
                auth=(self._client_id, self._secret()),
            )
            answer.raise_for_status()
            document = answer.json()
            self._token = document["access_token"]
            self._good_until = time.monotonic() + float(document["expires_in"]) - self.EARLY_SECONDS
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise Unavailable("identity") from error
