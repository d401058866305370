"""What an identity process holds beside the kernel, wired in one place."""

from __future__ import annotations

from typing import Annotated

import httpx
from fastapi import Depends, Request

from services.identity.keys import SigningKeys
from services.identity.passwords import Passwords
from services.identity.protocol.clients import Clients
from services.identity.protocol.server import Provider
from services.identity.protocol.store import Grants
from services.identity.protocol.tokens import AccessTokens
from services.identity.sessions.browser import browser_of
from services.identity.sessions.store import Browser, Session, Sessions
from services.identity.settings import IdentitySettings
from services.identity.site import Site
from services.kernel.http import parts_of
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.kernel.tokens import Verifier
from services.pages.forms import SESSION_COOKIE


class Identity:
    def __init__(self, kernel: Kernel, settings: IdentitySettings) -> None:
        self.kernel = kernel
        self.settings = settings
        self.directory = kernel.directory
        self.keys = SigningKeys.from_secrets(self.directory.secrets)
        self.directory.changed.append(self._take_keys)
        self.passwords = Passwords(settings.hashing_threads, settings.hashing_queue)
        self.sessions = Sessions(kernel.doors, settings)
        self.grants = Grants(kernel.doors, lambda: self.keys.refresh, settings.refresh_grace)
        self.clients = Clients(self.directory)
        self.tokens = AccessTokens(self._issuer, self._current_keys, settings.access_token)
        self.provider = Provider(self.clients, self._issuer, self._current_keys, self.tokens, settings)
        self.site = Site(self.directory)

    def browser(self, request: Request) -> Browser:
        return browser_of(request)

    async def session(self, request: Request) -> Session | None:
        """The session of the browser that asks, if it has one that lasts."""
        return await self.sessions.current(request.cookies.get(SESSION_COOKIE, ""))

    def _take_keys(self) -> None:
        self.keys = SigningKeys.from_secrets(self.directory.secrets)

    def _current_keys(self) -> SigningKeys:
        return self.keys

    def _issuer(self) -> str:
        return self.directory.issuer

    async def published(self) -> dict[str, object]:
        return self.keys.published()


CurrentIdentity = Annotated[Identity, Depends(parts_of)]


def assemble(settings: ServiceSettings, own_settings: IdentitySettings | None = None) -> Identity:
    kernel = Kernel(settings, http=httpx.AsyncClient(trust_env=False))
    identity = Identity(kernel, own_settings or IdentitySettings())
    # This process is the issuer: its keys are at hand, and it must not ask itself for them over the network.
    kernel.verifier = Verifier(lambda: kernel.directory.issuer, identity.published)
    return identity
