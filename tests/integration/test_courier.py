"""The relay's own client: it speaks TLS with whom the environment's authority vouches for, and with nobody else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.kernel.courier import Courier, Undelivered
from tests.integration.identity_site import IdentitySite


def courier(authority: Path | None) -> Courier:
    network = SimpleNamespace(ca_file=str(authority) if authority else None)
    kernel: Any = SimpleNamespace(directory=SimpleNamespace(network=network))
    return Courier(kernel)


async def test_a_site_of_the_environment_is_trusted_and_a_stranger_is_not(identity_site: IdentitySite) -> None:
    url = f"{identity_site.issuer}/token"
    knowing, strange = courier(identity_site.authority), courier(None)
    status, content = await knowing._send(url, "no-token", b"{}")
    assert 400 <= status < 500 and content
    with pytest.raises(Undelivered, match=r"(?i)certificate"):
        await strange._send(url, "no-token", b"{}")
    for client in (knowing, strange):
        await client.close()


async def test_a_receiver_that_is_not_there_leaves_the_messages_undelivered() -> None:
    alone = courier(None)
    with pytest.raises(Undelivered):
        await alone._send("http://127.0.0.1:9/api/affairs/inbox", "no-token", b"{}")
    await alone.close()
