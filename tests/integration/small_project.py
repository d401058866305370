"""A small Pulumi project of a test's own: the real engine, the real SDK, the local edition, and no hosts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from infra import engine as engines
from infra import stacks
from infra.engine import Changes, Engine
from infra.folder import EnvironmentFolder, cache
from infra.local.plugin.install import install
from tools.language_host import install_language_host

PRELUDE = """
import pulumi
import pulumi_alicloud as alicloud
from pulumi import ResourceOptions
provider = alicloud.Provider("cloud", region="cn-hangzhou", opts=ResourceOptions(version="4.0.0-local"))
def options(**more):
    return ResourceOptions(provider=provider, **more)
"""
STEP = re.compile(r" (creating|created|deleting|deleted|updating|updated) ")


@dataclass
class SmallProject:
    root: Path
    scope: str = "one"
    environment: str = "test-engine"
    folder: EnvironmentFolder = field(init=False)
    engine: Engine = field(init=False)

    @classmethod
    def make(cls, root: Path, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
        monkeypatch.setenv("YIWANG_HOME", str(root / "home"))
        project = cls(root / "project")
        project._prepare(monkeypatch)
        return project

    def _prepare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (self.root / "stacks").mkdir(parents=True)
        settings = "name: yiwang\nruntime: {name: python}\nstackConfigDir: stacks\n"
        (self.root / "Pulumi.yaml").write_text(settings)
        monkeypatch.setattr(engines, "REPOSITORY", self.root)
        monkeypatch.setattr(stacks, "FOLDER", self.root / "stacks")
        self.folder = EnvironmentFolder(self.environment)
        for path in (self.folder.pulumi_backend, self.folder.pulumi_home, self.folder.stacks, self.folder.cloud):
            path.mkdir(parents=True)
        self.folder.passphrase.write_text("a passphrase of the test")
        self.engine = Engine(self.folder)
        install_language_host(cache() / "bin", Path(sys.executable))
        install(self.folder.pulumi_home, Path(sys.executable), str(cache() / "bin" / "pulumi"))
        self.stack(self.scope)

    def stack(self, scope: str) -> None:
        self.engine.link_settings(scope)
        self.engine.run(["stack", "init", self.engine.stack(scope), "--non-interactive"])

    def program(self, body: str) -> None:
        (self.root / "__main__.py").write_text(PRELUDE + body)

    def up(self, *more: str) -> Changes:
        return self.engine.up(self.scope, StringIO(), *more)

    def preview(self, *more: str) -> Changes:
        return self.engine.preview(self.scope, StringIO(), *more)

    def refresh(self, *more: str) -> Changes:
        return self.engine.refresh(self.scope, StringIO(), *more)

    def destroy(self) -> Changes:
        return self.engine.destroy(self.scope, StringIO())

    def exported(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.engine.run(["stack", "export", "--stack", self.name]).stdout)
        return state

    @property
    def name(self) -> str:
        return self.engine.stack(self.scope)

    def kill_after(self, steps: int) -> bool:
        """Run an update and end the engine by SIGKILL after so many of its lines; whether it was still at work."""
        seen = 0
        with self.engine_at_work() as process:
            assert process.stdout is not None
            for line in process.stdout:
                seen += bool(STEP.search(line))
                if seen >= steps:
                    break
            return process.poll() is None

    @contextmanager
    def engine_at_work(self) -> Iterator[subprocess.Popen[str]]:
        """An update that runs; it ends by SIGKILL."""
        command = ["up", "--yes", "--skip-preview", "--non-interactive", "--color", "never", "--stack", self.name]
        process = subprocess.Popen(
            [str(cache() / "bin" / "pulumi"), *command],
            cwd=self.root,
            env={**os.environ, **self.engine.variables()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGKILL)
