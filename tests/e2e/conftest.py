"""One living environment for all end-to-end tests: made on first use, removed at the end.

`YIWANG_TEST_ENVIRONMENT=test-…` keeps an environment from run to run instead (it is brought up if it is not there).
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from infra.engine import Engine
from infra.folder import EnvironmentFolder, home
from infra.outputs import EnvironmentOutputs
from infra.registry import set_status
from tests.quiet import await_quiet
from tools.commands.environments import describe
from tools.environment import RegistryOverlay
from tools.lifecycle import BURST, Lifecycle
from tools.stack_settings import machine_made

PROVINCE, CITY, XIHU, LINAN, CHUNAN = "330000", "330100", "330106", "330112", "330127"
OVERLAY = RegistryOverlay(statuses={CHUNAN: "planned"}, only=[PROVINCE, CITY, XIHU, LINAN, CHUNAN])
OWNER_FILE = "owner.pid"
Value = TypeVar("Value")


FIRST, LAST = ("test_monitoring.py",), ("test_gate.py", "test_loop.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Silence is looked at before anything is broken; what needs a quiet machine comes when the rest is done."""

    def place(item: pytest.Item) -> int:
        name = item.path.name
        return FIRST.index(name) - len(FIRST) if name in FIRST else 1 + LAST.index(name) if name in LAST else 0

    items.sort(key=place)


@dataclass(frozen=True)
class Living:
    """A running environment."""

    name: str
    life: Lifecycle
    answers: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return self.life.engine

    @property
    def outputs(self) -> EnvironmentOutputs:
        return self._kept("outputs", self.engine.merged_outputs)

    def _kept(self, name: str, ask: Callable[[], Value]) -> Value:
        """The engine's answer, asked again only after a stack has changed: each asking takes a second or two."""
        states = sorted(self.life.folder.pulumi_backend.glob(".pulumi/stacks/**/*.json"))
        stamp = tuple((str(path), path.stat().st_mtime_ns) for path in states)
        if self.answers.get(name, (None,))[0] != stamp:
            self.answers[name] = (stamp, ask())
        answer: Value = self.answers[name][1]
        return answer

    def secrets(self, scope: str) -> dict[str, Any]:
        """The secret output of one stack."""
        found: dict[str, Any] = self._kept(f"secrets of {scope}", lambda: self.engine.outputs(scope, secrets=True))[
            "secrets"
        ]
        return found

    def on_host(self, name: str, command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command on a host as its operator does: over SSH."""
        foundation = self.outputs.foundation
        address = next(host.address for cell in self.outputs.cells for host in cell.hosts if host.name == name)
        words = ["ssh", "-i", str(self.life.folder.ssh_key), *shlex.split(foundation.ssh_arguments)]
        return subprocess.run(
            [*words, f"{foundation.ssh_user}@{address}", command], capture_output=True, text=True, check=False
        )

    def kill_managed(self, cell: str, what: str) -> None:
        """SIGKILL for every process of a cell's managed database or cache."""
        kind = {"database": "DatabaseInstance", "cache": "Cache"}[what]
        stack = self.engine.stack(cell)
        found = [one for one in self.life.cloud.inventory() if one.kind == kind and one.owner.stack == stack]
        for record in found:
            subprocess.run(["podman", "kill", "--signal", "KILL", f"yw-{self.name}-{record.id}"], check=True)

    def kill_host(self, name: str) -> None:
        """SIGKILL for every process of a host: its power is cut."""
        found = [one for one in self.life.cloud.inventory() if one.kind == "Host" and one.owner.name.endswith(name)]
        for record in found:
            subprocess.run(["podman", "kill", "--signal", "KILL", f"yw-{self.name}-{record.spec.name}"], check=True)

    @property
    def described(self) -> dict[str, Any]:
        """As `yiwang status --json` tells it."""
        return self._kept("description", lambda: describe(self.engine))


def remove_dead() -> None:
    """Removes test environments whose process is gone: a killed run must not cost the next one its ports."""
    for owner in home().glob(f"test-*/{OWNER_FILE}"):
        if not os.path.exists(f"/proc/{json.loads(owner.read_text())}"):  # noqa: PTH110
            Lifecycle(owner.parent.name).down(purge=True)


@pytest.fixture(scope="session")
def living() -> Iterator[Living]:
    kept = os.environ.get("YIWANG_TEST_ENVIRONMENT")
    remove_dead()
    name = kept or f"test-{secrets.token_hex(3)}"
    folder = EnvironmentFolder(name)
    if not kept:
        folder.root.mkdir(parents=True)
        (folder.root / OWNER_FILE).write_text(str(os.getpid()))
    # What is asked here is whether things work; who asks how much they carry takes `own_speed`.
    life = Lifecycle(name, OVERLAY, speed=BURST)
    try:
        if not (kept and folder.demo.exists() and life.cloud.is_up()):
            life.up()
        yield Living(name, life)
    finally:
        if not kept:
            life.down(purge=True)


@pytest.fixture(scope="module")
def own_speed(living: Living) -> Iterator[None]:
    """For tests that load the environment: its hosts have their own share of a core, and the machine nobody else."""
    await_quiet()
    living.life.set_speed(1.0)
    yield
    living.life.set_speed(BURST)


@contextmanager
def temporary_stack(living: Living, code: str) -> Iterator[str]:
    """A tenants stack for the city `code`, so that what happens to it is nobody's loss. Removed at the end."""
    overlay, engine = living.life.folder.registry_overlay, living.engine
    before = overlay.read_text()
    set_status(overlay, code, "live")
    scope = living.life.registry.scope_of(code)
    engine.ensure_stack(scope, machine_made(engine, scope))
    try:
        yield scope
    finally:
        engine.destroy(scope, io.StringIO())
        engine.run(["stack", "rm", "--yes", engine.stack(scope)])
        (living.life.folder.stacks / f"Pulumi.{engine.stack(scope)}.yaml").unlink(missing_ok=True)
        overlay.write_text(before)


@pytest.fixture(scope="session")
def environment(living: Living) -> dict[str, Any]:
    """What `yiwang status --json` prints of the environment."""
    return living.described
