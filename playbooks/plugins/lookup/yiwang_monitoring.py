"""What Prometheus and Alertmanager of an environment read, as the monitoring definitions make it from the outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: yiwang_monitoring
short_description: Files below /etc/prometheus for an environment
description:
  - Runs C(python -m monitoring.render) on the outputs. The answer is a map from path below C(/etc/prometheus) to text.
  - Targets are looked at here, since Prometheus takes them into use by itself.
author: yiwang
options:
  _terms:
    description: The environment's outputs as JSON.
    required: true
  file:
    description: A file with such an answer, instead of the definitions; for tests.
    env: [{name: YIWANG_MONITORING}]
    type: path
"""

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "monitoring.render"]
NEEDED = ("prometheus.yml", "alertmanager.yml")
FOLDERS = ("rules", "targets", "runbooks")


class LookupModule(LookupBase):  # type: ignore[misc]
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[dict[str, str]]:
        self.set_options(var_options=variables, direct=options)
        path = self.get_option("file")
        return [checked(Path(path).read_text() if path else rendered(outputs), path) for outputs in terms]


def rendered(outputs: str) -> str:
    done = subprocess.run(COMMAND, cwd=ROOT, input=outputs, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AnsibleLookupError(f"python -m monitoring.render failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


def checked(answer: str, origin: str | None = None) -> dict[str, str]:
    """The answer, if it is one.

    Raises:
        AnsibleLookupError: a file is missing, or in no folder of the monitoring host, or holds no targets.
    """
    origin = origin or "python -m monitoring.render"
    files: dict[str, str] = json.loads(answer)
    for name in NEEDED:
        if name not in files:
            raise AnsibleLookupError(f"{origin}: no {name} among {', '.join(files) or 'nothing'}")
    for name, text in files.items():
        folder = PurePosixPath(name).parent.as_posix()
        if name not in NEEDED and (folder not in FOLDERS or PurePosixPath(name).name.startswith(".")):
            raise AnsibleLookupError(f"{origin}: {name} belongs in none of the folders {', '.join(FOLDERS)}")
        if folder == "targets":
            _check_targets(text, f"{origin}: {name}")
    return files


def _check_targets(text: str, origin: str) -> None:
    try:
        groups = json.loads(text)
    except ValueError as error:
        raise AnsibleLookupError(f"{origin}: {error}") from error
    if not isinstance(groups, list) or not all(isinstance(group, dict) and "targets" in group for group in groups):
        raise AnsibleLookupError(f"{origin}: not a list of groups with targets")
