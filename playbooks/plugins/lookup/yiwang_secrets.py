"""The secrets of all stacks of an environment, read once a run. Whatever uses them carries `no_log`."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: yiwang_secrets
short_description: Secrets of an environment's stacks
description:
  - Reads the secret output C(secrets) of every stack of the environment through C(pulumi stack output), in parallel.
  - The answer is C({"cells":{"cell-a":{…}},"tenants":{"330106":{…}}}).
author: yiwang
options:
  _terms:
    description: The environment's name.
    required: true
  file:
    description: A file with such an answer, readable by its owner alone, instead of the stacks; for tests.
    env: [{name: YIWANG_PLAY_SECRETS}]
    type: path
"""

PROJECT = "organization/yiwang"
ROOT = Path(__file__).resolve().parents[3]


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=options)
        path = self.get_option("file")
        return [from_file(Path(path)) if path else from_stacks(environment) for environment in terms]


def from_file(path: Path) -> dict[str, Any]:
    """The secrets in a file that nobody else can read."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise AnsibleLookupError(f"{path} holds secrets and others may read it: chmod 0600")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def from_stacks(environment: str) -> dict[str, Any]:
    """The secrets of every stack but the foundation, which has none."""
    names = [stack["name"].rpartition("/")[2] for stack in _pulumi("stack", "ls", "--json")]
    stacks = [name for name in names if name.startswith(f"{environment}.") and name != f"{environment}.foundation"]
    with ThreadPoolExecutor(max_workers=8) as readers:
        return merge(dict(zip(stacks, readers.map(_secrets, stacks), strict=True)))


def merge(stacks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Secrets of stacks by name, sorted into cells and tenants."""
    merged: dict[str, Any] = {"cells": {}, "tenants": {}}
    for stack, secrets in stacks.items():
        scope = stack.partition(".")[2]
        if scope.startswith("cell-"):
            merged["cells"][scope] = secrets
        else:
            merged["tenants"].update(secrets)
    return merged


def _secrets(stack: str) -> Any:
    return _pulumi("stack", "output", "secrets", "--show-secrets", "--json", "--stack", f"{PROJECT}/{stack}")


def _pulumi(*arguments: str) -> Any:
    command = ["pulumi", *arguments, "--non-interactive"]
    environment = {"PULUMI_SKIP_UPDATE_CHECK": "true", **os.environ}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # standard output may hold secrets and is not repeated
        raise AnsibleLookupError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return json.loads(done.stdout)
