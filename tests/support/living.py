"""A living environment under test: what tests ask of it, how it is made, and that nothing of it stays."""

from __future__ import annotations

import fcntl
import io
import json
import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from infra.engine import Changes, Engine, changed_resources
from infra.folder import EnvironmentFolder, home
from infra.outputs import EnvironmentOutputs
from infra.registry import set_status
from tests.support.life import Life
from tools.commands.environments import describe
from tools.environment import RegistryOverlay
from tools.recovering import BURST
from tools.stack_settings import machine_made
from tools.stages import StageError

PROVINCE, CITY, XIHU, LINAN, CHUNAN = "330000", "330100", "330106", "330112", "330127"
OVERLAY = RegistryOverlay(statuses={CHUNAN: "planned"}, only=[PROVINCE, CITY, XIHU, LINAN, CHUNAN])
OWNER_FILE = "owner.pid"
Value = TypeVar("Value")


@dataclass(frozen=True)
class Living:
    """A running environment."""

    name: str
    life: Life
    # secrets among them: a failed test prints its fixtures
    answers: dict[str, tuple[Any, ...]] = field(default_factory=dict, repr=False)

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
        secret_output: dict[str, Any] = self._kept(
            f"secrets of {scope}", lambda: self.engine.outputs(scope, secrets=True)
        )["secrets"]
        return secret_output

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
        records = [
            record for record in self.life.cloud.inventory() if record.kind == kind and record.owner.stack == stack
        ]
        for record in records:
            subprocess.run(["podman", "kill", "--signal", "KILL", f"yw-{self.name}-{record.id}"], check=True)

    def kill_host(self, name: str) -> None:
        """SIGKILL for every process of a host: its power is cut."""
        records = [
            record
            for record in self.life.cloud.inventory()
            if record.kind == "Host" and record.owner.name.endswith(name)
        ]
        for record in records:
            subprocess.run(["podman", "kill", "--signal", "KILL", f"yw-{self.name}-{record.spec.name}"], check=True)

    @property
    def described(self) -> dict[str, Any]:
        """As `yiwang status --json` tells it."""
        return self._kept("description", lambda: describe(self.engine))


def remove_dead() -> None:
    """Removes test environments whose process is gone: a killed run must not cost the next one its ports.

    One suite at a time: those that begin together would find the same ones.
    """
    home().mkdir(parents=True, exist_ok=True)
    with (home() / "test-remove.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for owner in home().glob(f"test-*/{OWNER_FILE}"):
            if not os.path.exists(f"/proc/{json.loads(owner.read_text())}"):  # noqa: PTH110
                with suppress(StageError):  # what it left is removed whatever the engine makes of it
                    Life(EnvironmentFolder(owner.parent.name)).down(purge=True)


@contextmanager
def fresh_environment() -> Iterator[Life]:
    """An environment of a test's own, not yet brought up, purged at the end."""
    remove_dead()
    name = f"test-{secrets.token_hex(3)}"
    folder = EnvironmentFolder(name)
    folder.root.mkdir(parents=True)
    (folder.root / OWNER_FILE).write_text(str(os.getpid()))
    # What is asked here is whether things work; who asks how much they carry sets the speed back.
    life = Life(folder, OVERLAY, speed=BURST)
    try:
        yield life
    finally:
        life.down(purge=True)


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


def preview(living: Living, scope: str) -> tuple[Changes, str]:
    written = io.StringIO()
    return living.engine.preview(scope, written), written.getvalue()


def touched(written: str, code: str) -> tuple[list[str], list[str]]:
    """The changed resources of a preview: those of the tenant, and all others."""
    changed = changed_resources(written)
    return [line for line in changed if code in line], [line for line in changed if code not in line]
