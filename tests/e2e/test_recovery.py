"""Whatever is killed, the same command brings it back: the engine in mid-update, every process of the environment."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from rich.console import Console

from infra.engine import REPOSITORY
from infra.folder import cache
from infra.recovery import compare, read_state, recover
from tests.e2e.clients import Applicant, citizen_token, trust
from tests.e2e.conftest import XIHU, Living, temporary_stack
from tests.e2e.databases import tenant_rows
from tests.e2e.test_kills import KEYS, check_ledger
from tests.e2e.test_stacks import preview
from tests.waiting import wait_until

NINGBO, WENZHOU = "330200", "330300"
STEPS = {NINGBO: (2, 4, 6, 8, 10), WENZHOU: (1, 3, 5, 7, 9)}


@pytest.fixture(scope="module")
def fresh_stack(living: Living) -> Iterator[str]:
    with temporary_stack(living, WENZHOU) as scope:
        yield scope


def things_of(living: Living, scope: str) -> int:
    stack = living.engine.stack(scope)
    return sum(record.owner.stack == stack for record in living.life.cloud.inventory())


def kill_at(living: Living, scope: str, step: int) -> None:
    """`pulumi up`, its whole process group killed once the cloud has `step` things more than before."""
    before = things_of(living, scope)
    engine = subprocess.Popen(
        [
            cache() / "bin" / "pulumi",
            "up",
            "--yes",
            "--skip-preview",
            "--stack",
            living.engine.stack(scope),
            "--parallel",
            "2",
        ],
        cwd=REPOSITORY,
        env={**os.environ, **living.engine.variables()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_until(
        lambda: engine.poll() is not None or things_of(living, scope) >= before + step, 60, f"step {step}", every=0.02
    )
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


@pytest.mark.timeout(500)
def test_an_update_killed_at_ten_steps_is_recovered_each_time(living: Living, fresh_stack: str) -> None:
    """Two stacks side by side, as two cities' engineers would work."""
    with temporary_stack(living, NINGBO) as other, ThreadPoolExecutor() as pool:
        work = [
            pool.submit(kill_and_recover, living, scope, STEPS[code])
            for scope, code in ((fresh_stack, WENZHOU), (other, NINGBO))
        ]
        wait(work)
    for one in work:
        one.result()


def kill_and_recover(living: Living, scope: str, steps: Iterable[int]) -> None:
    for step in steps:
        log = io.StringIO()
        kill_at(living, scope, step)
        recover(living.engine, scope, log)
        difference = compare(living.engine, scope)
        assert not difference.missing and not difference.unknown, f"{scope}, step {step}: {difference}"
        assert read_state(living.engine, scope).pending == []
        changes, written = preview(living, scope)
        assert not changes.any, f"{scope}, step {step}:\n{written}"
        living.engine.destroy(scope, log)
        assert things_of(living, scope) == 0


def test_the_comparison_catches_a_thing_that_the_state_does_not_know(living: Living, fresh_stack: str) -> None:
    log = io.StringIO()
    recover(living.engine, fresh_stack, log)
    state = living.engine.run(["stack", "export", "--stack", living.engine.stack(fresh_stack)]).stdout
    living.engine.run(
        ["state", "delete", "--yes", "--stack", living.engine.stack(fresh_stack), _leaf(living, fresh_stack)]
    )
    assert compare(living.engine, fresh_stack).unknown
    living.engine.run(["stack", "import", "--stack", living.engine.stack(fresh_stack)], given=state)


def _leaf(living: Living, scope: str) -> str:
    """A resource that nothing depends on."""
    exported = json.loads(living.engine.run(["stack", "export", "--stack", living.engine.stack(scope)]).stdout)
    zone_record = "alicloud:pvtz/zoneRecord:ZoneRecord"
    urn: str = next(one["urn"] for one in exported["deployment"]["resources"] if one["type"] == zone_record)
    return urn


@pytest.mark.timeout(500)
def test_every_process_killed_the_same_environment_comes_back(living: Living, tmp_path: Path) -> None:
    tenant = next(one for one in living.outputs.tenants if one.code == XIHU)
    applicant = Applicant(tenant.url, citizen_token(living, XIHU), trust(living), tmp_path / "ledger")
    asyncio.run(applicant.file(20))
    before = {record.id for record in living.life.cloud.inventory()}
    names = subprocess.run(
        ["podman", "ps", "--quiet", "--filter", f"label=yiwang.environment={living.name}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    subprocess.run(["podman", "kill", "--signal", "KILL", *names], check=True, capture_output=True)

    living.life.up(Console(file=io.StringIO()))

    assert {record.id for record in living.life.cloud.inventory()} == before
    keys = list(applicant.acknowledged)
    rows = tenant_rows(living, XIHU, KEYS, keys=keys)
    assert check_ledger(applicant.acknowledged, rows, [[row[1]] for row in rows]) == []
    asyncio.run(applicant.file(5))
    assert applicant.failed == []
