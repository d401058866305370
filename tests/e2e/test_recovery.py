"""Whatever is killed, the same command brings it back: here every process of the environment, its keeper first."""

from __future__ import annotations

import asyncio
import io
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from tests.e2e.clients import Applicant, citizen_token, trust
from tests.e2e.databases import tenant_rows
from tests.e2e.test_kills import KEYS, check_ledger
from tests.support.living import XIHU, Living


@pytest.mark.timeout(500)
def test_every_process_killed_the_same_environment_comes_back(living: Living, tmp_path: Path) -> None:
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == XIHU)
    applicant = Applicant(tenant.url, citizen_token(living, XIHU), trust(living), tmp_path / "ledger")
    asyncio.run(applicant.file(20))
    before = {record.id for record in living.life.cloud.inventory()}
    names = subprocess.run(
        ["podman", "ps", "--quiet", "--filter", f"label=yiwang.environment={living.name}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for process in living.life.cloud.keeper.processes():
        process.kill()
    subprocess.run(["podman", "kill", "--signal", "KILL", *names], check=True, capture_output=True)

    living.life.up(Console(file=io.StringIO()))

    assert {record.id for record in living.life.cloud.inventory()} == before
    keys = list(applicant.acknowledged)
    rows = tenant_rows(living, XIHU, KEYS, keys=keys)
    assert check_ledger(applicant.acknowledged, rows, [[row[1]] for row in rows]) == []
    asyncio.run(applicant.file(5))
    assert applicant.failed == []
