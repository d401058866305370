"""HTTP clients that send what a browser sends.

A browser says with every form which page it comes from: `Origin`, by the referrer policy of that page, and
`Sec-Fetch-*`. A client that says nothing is let through where a person is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

Client = TypeVar("Client", httpx.Client, httpx.AsyncClient)

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
# Under these a browser keeps the origin of a form to itself, or tells it to the page's own site alone (Fetch, 3.1).
SECRETIVE, AT_HOME = frozenset({"no-referrer"}), frozenset({"same-origin"})


def as_a_browser(client: Client) -> Client:
    """The client, which from now on sends its requests as a browser would that goes from page to page."""
    tab = Tab()
    if isinstance(client, httpx.AsyncClient):

        async def send(request: httpx.Request) -> None:
            tab.send(request)

        async def receive(response: httpx.Response) -> None:
            tab.receive(response)

        client.event_hooks = {"request": [send], "response": [receive]}
    else:
        client.event_hooks = {"request": [tab.send], "response": [tab.receive]}
    return client


@dataclass
class Tab:
    """The page that stands in the tab, by its origin and its referrer policy; a header that is set stays."""

    origin: str = ""
    policy: str = field(default="strict-origin-when-cross-origin")

    def send(self, request: httpx.Request) -> None:
        target = _origin(str(request.url))
        site = "none" if not self.origin else "same-origin" if self.origin == target else "cross-site"
        headers = {"accept": HTML, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document", "sec-fetch-site": site}
        if request.method not in ("GET", "HEAD"):
            # a test may send a form without having looked at its page first
            headers["sec-fetch-site"] = site if self.origin else "same-origin"
            headers["origin"] = self._told(target)
        for name, value in headers.items():
            if name == "accept" or name not in request.headers:
                request.headers[name] = value

    def receive(self, response: httpx.Response) -> None:
        if response.headers.get("content-type", "").startswith("text/html"):
            self.origin = _origin(str(response.url))
            self.policy = response.headers.get("referrer-policy", "strict-origin-when-cross-origin")

    def _told(self, target: str) -> str:
        secret = self.policy in SECRETIVE or (self.policy in AT_HOME and self.origin not in ("", target))
        return "null" if secret else self.origin or target


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
