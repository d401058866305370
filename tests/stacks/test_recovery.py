"""Whatever is killed, the same command brings it back: here the engine in mid-update."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from infra.engine import REPOSITORY
from infra.folder import cache
from infra.local.recovery import cancel_stale_lock, compare, read_state, recover
from tests.support.living import Living, preview, temporary_stack
from tests.support.waiting import wait_until

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
    kill_at(
        living, fresh_stack, max(STEPS)
    )  # what an update made that was cut off is nobody's until the engine is told
    cancel_stale_lock(living.engine, fresh_stack, log)
    before = compare(living.engine, fresh_stack).unknown
    leaf = _leaf(living, fresh_stack)
    living.engine.run(["state", "delete", "--yes", "--stack", living.engine.stack(fresh_stack), leaf["urn"]])
    lost = compare(living.engine, fresh_stack).unknown - before
    assert [(thing.token, thing.id) for thing in lost] == [(leaf["type"], leaf["id"])]
    recover(living.engine, fresh_stack, log)
    assert str(compare(living.engine, fresh_stack)) == ""


def _leaf(living: Living, scope: str) -> dict[str, Any]:
    """A resource in the state that nothing else there depends on."""
    exported = json.loads(living.engine.run(["stack", "export", "--stack", living.engine.stack(scope)]).stdout)
    resources = exported["deployment"]["resources"]
    needed = {
        urn
        for resource in resources
        for urn in [*resource.get("dependencies", []), resource.get("parent"), resource.get("provider")]
    }
    return next(
        resource for resource in resources if resource["type"].startswith("alicloud:") and resource["urn"] not in needed
    )
