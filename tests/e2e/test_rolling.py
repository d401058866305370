"""A rolling deployment under filing load: nothing fails, nothing is doubled."""

from __future__ import annotations

import asyncio
import io
import shutil
import threading
from pathlib import Path

import pytest

from tests.e2e.clients import Applicant, citizen_token, trust
from tests.e2e.conftest import LINAN, Living
from tests.e2e.databases import tenant_rows
from tools import release
from tools.deployment import play

CHUNK = 20
COUNT = "SELECT idempotency_key, count(*) FROM affairs.cases WHERE idempotency_key = ANY(:keys) GROUP BY 1"


@pytest.fixture
def next_release(tmp_path: Path) -> release.Release:
    """The services with one more comment: another version, the same behaviour."""
    copy = tmp_path / "source"
    for package in release.SHIPPED:
        shutil.copytree(release.SOURCE / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "services" / "__init__.py").open("a") as file:
        file.write("# next\n")
    return release.build(copy)


def file_until(applicant: Applicant, over: threading.Event) -> None:
    """Files in chunks until told to end; at least one chunk after that, so that the new release has served some."""
    last = False
    while not last:
        last = over.is_set()
        asyncio.run(applicant.file(CHUNK, concurrency=2))


@pytest.mark.timeout(400)
def test_no_filing_fails_while_a_release_is_rolled_out_and_back(
    living: Living, next_release: release.Release, tmp_path: Path
) -> None:
    tenant = next(one for one in living.outputs.tenants if one.code == LINAN)
    token = citizen_token(living, LINAN)
    applicant = Applicant(tenant.url, token, trust(living), tmp_path / "ledger", retries=False)
    over, log = threading.Event(), io.StringIO()
    load = threading.Thread(target=file_until, args=(applicant, over))
    load.start()
    try:
        play(living.engine, "deploy.yml", log, release_version=next_release.version)
        served = running_release(living)
        play(living.engine, "rollback.yml", log)
    finally:
        over.set()
        load.join()
    assert served == {next_release.version}
    assert next_release.version not in running_release(living)
    assert applicant.failed == []
    assert len(applicant.acknowledged) >= 5 * CHUNK
    counts = dict(tenant_rows(living, LINAN, COUNT, keys=list(applicant.acknowledged)))
    assert counts == dict.fromkeys(applicant.acknowledged, 1)


@pytest.mark.timeout(200)
def test_the_check_catches_a_host_that_is_stopped_without_being_drained(living: Living, tmp_path: Path) -> None:
    tenant = next(one for one in living.outputs.tenants if one.code == LINAN)
    applicant = Applicant(tenant.url, citizen_token(living, LINAN), trust(living), tmp_path / "ledger", retries=False)
    over = threading.Event()
    load = threading.Thread(target=file_until, args=(applicant, over))
    load.start()
    try:
        for name in ("cell-a-application-1", "cell-a-application-2"):
            living.on_host(name, "systemctl kill --signal KILL yiwang-affairs")
    finally:
        over.set()
        load.join()
    assert applicant.failed


def running_release(living: Living) -> set[str]:
    """Versions that the application hosts run."""
    names = [host.name for cell in living.outputs.cells for host in cell.hosts if host.role == "application"]
    return {living.on_host(name, "basename $(readlink -f /opt/yiwang/current)").stdout.strip() for name in names}
