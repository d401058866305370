"""What a browser brings along: its address, its name, and our cookies."""

from __future__ import annotations

import secrets
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from services.identity.sessions.store import Browser
from services.kernel.visitors import visitor_address
from services.pages.cookies import drop_cookie, keep_cookie
from services.pages.forms import SESSION_COOKIE

DEVICE = "__Host-yiwang-device"
DEVICE_SECONDS = 180 * 24 * 3600
LONGEST_WAY = 8000
"""As a parameter of another address: the narrowest proxy takes 15 KiB of address and headers, and browsers send up to
4 KiB of `Referer`."""


def browser_of(request: Request) -> Browser:
    device = request.cookies.get(DEVICE, "")
    return Browser(
        address=visitor_address(request),
        name=browser_name(request.headers.get("user-agent", "")),
        device=device if len(device) == 43 else secrets.token_urlsafe(32),
    )


BROWSERS = (
    ("MicroMessenger", "微信"),
    ("DingTalk", "钉钉"),
    ("AlipayClient", "支付宝"),
    ("Edg/", "Edge"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("HarmonyOS", "鸿蒙"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "Mac"),
    ("Linux", "Linux"),
)


def browser_name(agent: str) -> str:
    """Words by which a person knows their browser again, never the whole header."""
    browser = next((word for mark, word in BROWSERS if mark in agent), "其他浏览器")
    system = next((word for mark, word in SYSTEMS if mark in agent), "")
    return f"{browser} · {system}" if system else browser


def keep_session(response: Response, token: str, device: str) -> None:
    """Set both cookies. The session's goes when the browser closes; it ends on the server too, hours after log-in."""
    keep_cookie(response, SESSION_COOKIE, token)
    keep_cookie(response, DEVICE, device, DEVICE_SECONDS)


def forget_session(response: Response) -> None:
    drop_cookie(response, SESSION_COOKIE)


def safe_next(wanted: str) -> str:
    """Where to go after log-in: a place on this site, whatever the address said."""
    return wanted if is_way(wanted) else "/"


def is_way(wanted: str) -> bool:
    """Whether it is a place on this site, short enough to be kept in the address of the log-in page."""
    parts = urlsplit(wanted)
    local = wanted.startswith("/") and not wanted.startswith("//") and not parts.scheme and not parts.netloc
    printable = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    return local and printable and len(quote(wanted, safe="")) <= LONGEST_WAY
