"""A rolling deployment under filing load: nothing fails, nothing is doubled; a release that does not start stops."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

import httpx
import pytest

from tests.e2e.clients import Applicant, citizen_token, trust
from tests.e2e.databases import tenant_rows
from tests.e2e.units import Unit, releases
from tests.support.living import LINAN, Living
from tests.support.shipped import copy_sources
from tools import release
from tools.deployment import play
from tools.stages import StageError

CHUNK = 20
APPLICATION_HOSTS = ("cell-a-application-1", "cell-a-application-2")
FOLLOWERS = {
    ("cell-core-monitoring-1", "yiwang-receiver"),
    ("cell-core-identity-1", "yiwang-pgbouncer-exporter"),
    ("cell-a-application-1", "yiwang-tenants-exporter"),
    ("cell-a-application-2", "yiwang-pgbouncer-exporter"),
}
FIRST_BATCH = {
    *((APPLICATION_HOSTS[0], f"yiwang-{name}") for name in ("affairs", "portal")),
    *((f"cell-core-{name}-1", f"yiwang-{name}") for name in ("identity", "query")),
}
SERVICES = {
    *((host, f"yiwang-{name}") for host in APPLICATION_HOSTS for name in ("affairs", "portal")),
    *((f"cell-core-{name}-{number}", f"yiwang-{name}") for name in ("identity", "query") for number in (1, 2)),
}
COUNT = "SELECT idempotency_key, count(*) FROM affairs.cases WHERE idempotency_key = ANY(:keys) GROUP BY 1"


def another_release(folder: Path, module: str, text: str) -> release.Release:
    """A release of its own: the clone's sources, one module of which has another text."""
    (copy_sources(folder) / module).write_text(text)
    return release.build(folder)


def the_release(running: dict[Unit, str]) -> str:
    """The one release that everything runs from, services and what follows them."""
    assert running.keys() >= SERVICES | FOLLOWERS
    (version,) = set(running.values())
    return version


def file_until(applicant: Applicant, over: threading.Event) -> None:
    """Files in chunks until told to end; at least one chunk after that, so that the new release has served some."""
    last = False
    while not last:
        last = over.is_set()
        asyncio.run(applicant.file(CHUNK, concurrency=1))


@pytest.mark.timeout(400)
def test_no_filing_fails_while_a_release_is_rolled_out_and_back(
    living: Living, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exporters and the receiver follow the services."""
    before = the_release(releases(living))
    following = another_release(tmp_path / "source", "services/__init__.py", '"""The next."""\n')
    monkeypatch.setenv("YIWANG_RELEASE_SOURCE", str(tmp_path / "source"))
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == LINAN)
    token = citizen_token(living, LINAN)
    applicant = Applicant(tenant.url, token, trust(living), tmp_path / "ledger", retries=False)
    over, log = threading.Event(), io.StringIO()
    load = threading.Thread(target=file_until, args=(applicant, over))
    load.start()
    try:
        play(living.engine, "deploy.yml", log)
        rolled_out = the_release(releases(living))
        play(living.engine, "rollback.yml", log)
    finally:
        over.set()
        load.join()
    assert rolled_out == following.version != before
    assert the_release(releases(living)) == before
    assert applicant.failed == []
    assert len(applicant.acknowledged) >= 5 * CHUNK
    counts = dict(tenant_rows(living, LINAN, COUNT, keys=list(applicant.acknowledged)))
    assert counts == dict.fromkeys(applicant.acknowledged, 1)


@pytest.mark.timeout(200)
def test_the_check_catches_a_host_that_is_stopped_without_being_drained(living: Living, tmp_path: Path) -> None:
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == LINAN)
    applicant = Applicant(tenant.url, citizen_token(living, LINAN), trust(living), tmp_path / "ledger", retries=False)
    over = threading.Event()
    load = threading.Thread(target=file_until, args=(applicant, over))
    load.start()
    try:
        for name in APPLICATION_HOSTS:
            living.on_host(name, "systemctl kill --signal KILL yiwang-affairs")
    finally:
        over.set()
        load.join()
    assert applicant.failed


@pytest.mark.timeout(200)
def test_a_release_that_does_not_start_stops_at_the_first_host_of_each_group(
    living: Living, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The known-bad twin of a rollout: the other hosts go on answering, and nothing follows the release."""
    before = releases(living)
    good = the_release(before)
    broken = another_release(tmp_path / "source", "services/affairs/__main__.py", "raise SystemExit('broken')\n")
    monkeypatch.setenv("YIWANG_RELEASE_SOURCE", str(tmp_path / "source"))
    try:
        with pytest.raises(StageError):
            play(living.engine, "deploy.yml", io.StringIO(), rollout_start_seconds="5")
        running = releases(living)
        assert switched_to(living, APPLICATION_HOSTS[0]) == broken.version
        assert {unit for unit in SERVICES | FOLLOWERS if running.get(unit) != good} == FIRST_BATCH
        assert statuses(living, 4) == {200}
    finally:
        play(living.engine, "rollback.yml", io.StringIO(), version=good)
    assert releases(living) == before
    assert statuses(living, 4) == {200}


def statuses(living: Living, count: int) -> set[int]:
    """What affairs answers to so many requests, which spread over gateways and hosts."""
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == LINAN)
    url = f"{tenant.url}/api/affairs/items"
    with httpx.Client(verify=trust(living), timeout=30) as client:
        return {client.get(url).status_code for _ in range(count)}


def switched_to(living: Living, host: str) -> str:
    """The release that a host's services would start from."""
    return living.on_host(host, "basename $(readlink -f /opt/yiwang/current)").stdout.strip()
