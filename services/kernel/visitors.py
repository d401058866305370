"""Where a request came from, as far as our own proxies vouch for it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request


def visitor_address(request: Request) -> str:
    """The address that limits count by. Proxies may write their entries as headers of their own or into one."""
    trusted: int = request.app.state.kernel.settings.trusted_proxies
    forwarded = [part.strip() for value in request.headers.getlist("x-forwarded-for") for part in value.split(",")]
    return client_address(forwarded, request.client.host if request.client else "", trusted)


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
