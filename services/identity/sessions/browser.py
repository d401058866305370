"""What a browser brings along: its address, its name, and our cookies."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from services.identity.sessions.store import Browser

SESSION = "__Host-yiwang-session"
DEVICE = "__Host-yiwang-device"
DEVICE_SECONDS = 180 * 24 * 3600


def browser_of(request: Request, trusted_proxies: int) -> Browser:
    forwarded = [part.strip() for value in request.headers.getlist("x-forwarded-for") for part in value.split(",")]
    peer = request.client.host if request.client else ""
    device = request.cookies.get(DEVICE, "")
    return Browser(
        address=client_address(forwarded, peer, trusted_proxies),
        name=browser_name(request.headers.get("user-agent", "")),
        device=device if len(device) == 43 else secrets.token_urlsafe(32),
    )


def client_address(forwarded: Sequence[str], peer: str, trusted_proxies: int) -> str:
    """The address that limits count: the last one that a proxy of ours wrote about somebody who is none of ours.

    Each of our proxies appends who called it, so what a client wrote itself stands before those entries and is never
    looked at. An IPv6 caller is counted by its network of 64 bits, of which it may use every address.
    """
    address = forwarded[-min(trusted_proxies, len(forwarded))] if forwarded and trusted_proxies else peer
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return peer
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


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
    response.set_cookie(SESSION, token, path="/", secure=True, httponly=True, samesite="lax")
    response.set_cookie(DEVICE, device, path="/", secure=True, httponly=True, samesite="lax", max_age=DEVICE_SECONDS)


def forget_session(response: Response) -> None:
    response.delete_cookie(SESSION, path="/", secure=True, httponly=True, samesite="lax")


def safe_next(wanted: str) -> str:
    """Where to go after log-in: a place on this site, whatever the address said."""
    parts = urlsplit(wanted)
    local = wanted.startswith("/") and not wanted.startswith("//") and not parts.scheme and not parts.netloc
    printable = wanted.isascii() and wanted.isprintable() and "\\" not in wanted
    return wanted if local and printable and len(wanted) <= 4000 else "/"
