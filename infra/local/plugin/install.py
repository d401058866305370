"""Puts the plugin where the engine looks for plugins, by the engine's own command."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from infra.errors import ExpectedError
from infra.local.plugin import PACKAGE, VERSION, schema

BINARY = f"pulumi-resource-{PACKAGE}"


class InstallError(ExpectedError):
    """The engine did not take the plugin."""


def launcher(python: Path) -> str:
    """The executable that the engine starts: this checkout's plugin, under its own interpreter.

    The engine keeps the schema that it was given until the plugin is installed anew: so its digest is part of this.
    """
    return f"#!{python}\n# schema: {schema.digest()}\nfrom infra.local.plugin.__main__ import main\n\nmain()\n"


def install(pulumi_home: Path, python: Path, pulumi: str = "pulumi") -> bool:
    """Install the local edition into `pulumi_home`; tells whether anything changed.

    Raises:
        InstallError: the engine's command failed; the message has its words.
    """
    text = launcher(python)
    present = pulumi_home / "plugins" / f"resource-{PACKAGE}-v{VERSION}" / BINARY
    if present.exists() and present.read_text() == text:
        return False
    with tempfile.TemporaryDirectory() as folder:
        executable = Path(folder) / BINARY
        executable.write_text(text)
        executable.chmod(0o755)
        command = [pulumi, "plugin", "install", "resource", PACKAGE, f"v{VERSION}", "--file", folder, "--reinstall"]
        environment = {**os.environ, "PULUMI_HOME": str(pulumi_home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"the engine refused the local provider: {done.stderr.strip() or done.stdout.strip()}")
    return True
