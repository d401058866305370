"""The OpenID Connect provider, asked by a real client through TLS, the gateway and the pooler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.backends import Postgres
from tests.integration.identity_site import IdentitySite, RelyingParty, log_in


@pytest.fixture(scope="session")
def site(backend_folder: Path, postgres: Postgres) -> Iterator[IdentitySite]:
    identity = IdentitySite(backend_folder / "identity", postgres)
    identity.create()
    identity.start()
    yield identity
    identity.stop()


def test_flow(site: IdentitySite) -> None:
    person = site.person("wangxiaoming", phone="13800000001")
    party = RelyingParty(site)
    with site.client() as browser:
        response = log_in(browser, "wangxiaoming")
        assert response.status_code == 303, response.text
        tokens = party.tokens_for(browser)
    assert tokens["token_type"] == "Bearer", person
    renewed = party.refresh(tokens["refresh_token"])
    assert renewed.status_code == 200, renewed.text
