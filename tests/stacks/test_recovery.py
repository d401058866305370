"""Whatever is killed, the same command brings it back: here the engine in mid-update."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from infra.engine import REPOSITORY
from infra.folder import cache
from infra.recovery import compare, read_state, recover
from tests.living import Living, preview, temporary_stack
from tests.waiting import wait_until

WENZHOU = "330300"
STEPS = range(1, 11)


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
        lambda: engine.poll() is not None or things_of(living, scope) >= before + step, 60, f"step {step}", every=0.05
    )
    os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


@pytest.mark.timeout(900, func_only=True)
def test_an_update_killed_at_ten_steps_is_recovered_each_time(living: Living, fresh_stack: str) -> None:
    for step in STEPS:
        log = io.StringIO()
        kill_at(living, fresh_stack, step)
        recover(living.engine, fresh_stack, log)
        difference = compare(living.engine, fresh_stack)
        assert not difference.missing and not difference.unknown, f"step {step}: {difference}"
        assert read_state(living.engine, fresh_stack).pending == []
        changes, written = preview(living, fresh_stack)
        assert not changes.any, f"step {step}:\n{written}"
        living.engine.destroy(fresh_stack, log)
        assert things_of(living, fresh_stack) == 0


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
