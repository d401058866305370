"""One client of the object store a credential: kept, replaced when that changes, closed by whoever is last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from services.affairs import object_client
from services.affairs.object_client import Access, Clients

ACCESS = Access(endpoint="http://objects", region="local", key_id="key", key_secret="first", ca_file=None)
ROTATED = replace(ACCESS, key_secret="second")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The secrets of the clients that are open."""
    secrets: list[str] = []

    @asynccontextmanager
    async def open_client(_: object, access: Access) -> AsyncIterator[object]:
        secrets.append(access.key_secret)
        yield object()
        secrets.remove(access.key_secret)

    monkeypatch.setattr(object_client, "open_client", open_client)
    return secrets


async def test_a_client_is_kept_from_use_to_use_and_each_owner_has_one(opened: list[str]) -> None:
    clients = Clients()
    async with clients.client("330106", ACCESS) as first, clients.client("330106", ACCESS) as again:
        assert first is again
    async with clients.client("330106", ACCESS) as later, clients.client("330100", ACCESS) as other:
        assert later is first and other is not first
    assert opened == ["first", "first"]
    await clients.close()
    assert opened == []


async def test_a_changed_credential_takes_effect_at_once_and_the_old_client_is_closed_once_nobody_uses_it(
    opened: list[str],
) -> None:
    clients = Clients()
    async with clients.client("330106", ACCESS) as before:
        async with clients.client("330106", ROTATED) as after:
            assert after is not before and opened == ["first", "second"]
        assert opened == ["first", "second"]
    assert opened == ["second"]
    async with clients.client("330106", ACCESS):
        assert opened == ["first"], "nobody used the other"
    await clients.close()
    assert opened == []


def test_an_access_does_not_show_its_secret() -> None:
    assert "first" not in repr(ACCESS)
