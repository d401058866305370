"""Backends and a small province, made once a session."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.kernel.settings import ServiceSettings
from services.kernel.tenancy import Doors
from tests.integration.backends import Postgres, Redis
from tests.integration.filings import publish
from tests.integration.identity_site import IdentitySite
from tests.integration.issuer import Issuer
from tests.integration.network import Network
from tests.integration.portal_site import prepare
from tests.integration.served_portal import ServedPortal


@pytest.fixture(scope="session")
def backend_folder() -> Iterator[Path]:
    # not pytest's own: PostgreSQL runs as another user, who must be able to reach it
    with tempfile.TemporaryDirectory(prefix="yiwang-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres(backend_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL 15 of its own; tests make databases of their own in it."""
    server = Postgres(backend_folder)
    server.create()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(backend_folder: Path) -> Iterator[Redis]:
    server = Redis(backend_folder)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    server = Issuer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def network(backend_folder: Path, postgres: Postgres, redis_server: Redis, issuer: Issuer) -> Iterator[Network]:
    """浙江省, 杭州市, 西湖区 and 临安区 on two cells, with affairs and query running."""
    province = Network(backend_folder, postgres, redis_server, issuer)
    province.create()
    province.start_all()
    yield province
    province.stop_all()


@pytest.fixture(scope="session")
def catalogue(network: Network) -> Network:
    """The small province with one item published that has reached everybody."""
    publish(network)
    return network


@pytest.fixture(scope="session")
def identity_site(backend_folder: Path, postgres: Postgres) -> Iterator[IdentitySite]:
    """The identity service behind a TLS gateway, on a database of its own."""
    site = IdentitySite(backend_folder / "identity", postgres)
    site.create()
    site.start()
    yield site
    site.stop()


@pytest.fixture(scope="session")
def portal_settings(backend_folder: Path, postgres: Postgres) -> ServiceSettings:
    """Databases of two sites with the portal's schema."""
    return prepare(backend_folder, postgres)


@pytest.fixture(scope="session")
def served_portal(portal_settings: ServiceSettings, postgres: Postgres) -> Iterator[ServedPortal]:
    """The portal's sites behind balancer and gateway."""
    served = ServedPortal(portal_settings, postgres)
    served.start()
    yield served
    served.stop()


@pytest.fixture
async def identity_doors(identity_site: IdentitySite) -> AsyncIterator[Doors]:
    """Identity's database without the service: for what must hold below HTTP."""
    doors = identity_site.doors()
    yield doors
    await doors.close()
