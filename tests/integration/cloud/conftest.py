"""One environment for all tests of the cloud; whatever an earlier run left is removed first."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.folder import cache
from infra.local.cloud import Cloud, Record
from infra.local.cloud.certificates import self_signed
from infra.local.images import build_images
from tests.integration.cloud.site import ENVIRONMENT, Site, build


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    build_images(cache(), lambda line: None)
    folder = Path(tempfile.gettempdir()) / f"yiwang-{ENVIRONMENT}"
    Cloud(folder / "cloud", ENVIRONMENT).destroy()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id")]
    subprocess.run(key, check=True)
    for name in ("objects", "sites"):
        domain = f"{name}.{ENVIRONMENT}.localhost"
        certificate, private = self_signed("127.0.0.1", domain, f"*.{domain}")
        (folder / f"{name}.pem").write_text(certificate)
        (folder / f"{name}.key").write_text(private)
    made = build(folder)
    yield made
    made.cloud.destroy()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def gateway(site: Site) -> Record[Any]:
    return site.host("gateway", "gateway")


@pytest.fixture(scope="session")
def application(site: Site) -> Record[Any]:
    return site.host("application", "application", "ecs.g7.xlarge")


@pytest.fixture(scope="session")
def stranger(site: Site) -> Record[Any]:
    return site.host("stranger", "stranger")


@pytest.fixture(scope="session")
def database(site: Site) -> Record[Any]:
    return site.database()


@pytest.fixture(scope="session")
def redis_cache(site: Site) -> Record[Any]:
    return site.cache()
