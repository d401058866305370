"""A real browser: Debian's Chromium, which trusts an environment's sites as a person's would, and keeps pictures.

`YIWANG_SCREENSHOTS=<folder>` keeps a picture of every page that a journey names.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Error, Page, ViewportSize, expect, sync_playwright

Parameters = ParamSpec("Parameters")

CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK = ViewportSize(width=1280, height=860)
PHONE = ViewportSize(width=390, height=844)
# What failed below HTTP since a journey began, in the browser's words.
FAILURES: list[str] = []
JOURNEYS = 5
# A page waits for services on a fraction of a core.
PATIENCE_MILLISECONDS = 30_000


@contextmanager
def chromium(environment: dict[str, Any]) -> Iterator[Browser]:
    """Chromium, trusting exactly the certificate that the environment's sites show, once its authority vouched."""
    site = urlsplit(environment["issuer"])
    assert site.hostname
    keys = [vouched_key(environment["ca_file"], site.hostname, site.port or 443)] if environment["ca_file"] else []
    with launched(keys) as browser:
        yield browser


@contextmanager
def launched(keys: Sequence[str], *more: str) -> Iterator[Browser]:
    """Chromium, trusting certificates of these public keys; `more` are arguments of its own."""
    arguments = [*QUIET, *more, *([f"--ignore-certificate-errors-spki-list={','.join(keys)}"] if keys else [])]
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


def vouched_key(authority: str, name: str, port: int) -> str:
    """The hash of the public key of a site of this machine, seen over a connection that the authority vouches for."""
    context = ssl.create_default_context(cafile=authority)
    with (
        socket.create_connection(("localhost", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        certificate = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


def on_a_steady_network(journey: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Travels again when the machine's networks changed on the way: Chromium then drops what it was loading.

    Other suites make and remove networks meanwhile. Any other failure stands.
    """

    @functools.wraps(journey)
    def travel(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        for left in reversed(range(JOURNEYS)):
            FAILURES.clear()
            try:
                return journey(*arguments, **named)
            except (AssertionError, Error):
                if left == 0 or not any("ERR_NETWORK_CHANGED" in failure for failure in FAILURES):
                    raise

    return travel


@dataclass
class Camera:
    """Pictures of pages, numbered as they were taken, of the desk's width and of a phone's."""

    folder: Path | None = field(
        default_factory=lambda: Path(os.environ["YIWANG_SCREENSHOTS"]) if "YIWANG_SCREENSHOTS" in os.environ else None
    )
    taken: int = 0

    def take(self, page: Page, name: str) -> None:
        self.taken += 1
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for suffix, size in (("desk", DESK), ("phone", PHONE)):
            page.set_viewport_size(size)
            page.screenshot(path=self.folder / f"{self.taken:02d}-{name}-{suffix}.png", full_page=True)
        page.set_viewport_size(DESK)


@dataclass
class Visitor:
    """Somebody with a browser of their own: no cookie of anybody else's."""

    context: BrowserContext
    environment: dict[str, Any]
    camera: Camera

    @classmethod
    def arrive(cls, browser: Browser, environment: dict[str, Any], camera: Camera) -> Visitor:
        context = browser.new_context(viewport=DESK, locale="zh-CN")
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        context.on("requestfailed", lambda request: FAILURES.append(str(request.failure)))
        return cls(context, environment, camera)

    def open(self, code: str, path: str = "/") -> Page:
        """A new tab on a tenant's site."""
        page = self.context.new_page()
        page.goto(self.url(code) + path)
        return page

    def url(self, code: str) -> str:
        url: str = next(tenant["url"] for tenant in self.environment["tenants"] if tenant["code"] == code)
        return url

    def log_in(self, page: Page, person: dict[str, str]) -> None:
        """Fill identity's form, on which the page stands."""
        expect(page).to_have_url(re.compile(re.escape(self.environment["issuer"])))
        part(page, "login").fill(person["username"])
        part(page, "password").fill(person["password"])
        part(page, "login-button").click()


def part(page: Page, name: str) -> Any:
    """A part of a page by its stable hook."""
    return page.locator(f'[data-test="{name}"]')
