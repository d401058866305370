"""Outputs → inventory: Ansible itself reads the source file and shows environment, cells and roles."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.engine import REPOSITORY
from infra.ports import EXPORTERS, EXPORTERS_OF
from monitoring.jobs import JOBS
from tests import provisioned

LISTENS = re.compile(r"listen-address=0\.0\.0\.0:(\d+)")


def ansible_inventory(folder: Path, *arguments: str) -> str:
    program = Path(sys.executable).parent / "ansible-inventory"
    environment = {**os.environ, **provisioned.variables(folder)}
    return subprocess.run(
        [str(program), *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inventory")
    provisioned.write(folder)
    return folder


@pytest.fixture(scope="module")
def listed(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ansible_inventory(folder, "--list"))
    return content


def test_groups_are_environment_cell_and_role(listed: dict[str, Any]) -> None:
    assert listed["test_province"]["children"] == ["cell_core", "cell_a"]
    assert listed["monitoring"]["children"] == ["cell_core_monitoring"]
    assert listed["cell_a"]["children"] == ["cell_a_database", "cell_a_gateway", "cell_a_application"]
    assert listed["gateway"]["children"] == ["cell_core_gateway", "cell_a_gateway"]
    assert listed["cell_a_application"]["hosts"] == ["cell-a-application-1", "cell-a-application-2"]


def test_the_graph_shows_them(folder: Path) -> None:
    graph = ansible_inventory(folder, "--graph", "cell_core")
    assert "@cell_core_identity:" in graph and "cell-core-identity-2" in graph


def test_no_secret_is_in_the_inventory(folder: Path, listed: dict[str, Any]) -> None:
    secrets = json.loads((folder / "secrets.json").read_text())
    text = json.dumps(listed)
    assert secrets["cells"]["cell-a"]["database_privileged_password"] not in text
    assert all(one not in text for one in secrets["tenants"]["330106"].values())


def test_exporters_listen_where_the_firewall_lets_prometheus_in() -> None:
    known = yaml.safe_load((REPOSITORY / "playbooks/roles/exporters/vars/main.yml").read_text())["exporters_known"]
    listening = {
        name: int(one.get("variables", {}).get("YIWANG_EXPORTER_PORT") or LISTENS.findall(one["command"])[0])
        for name, one in known.items()
    }
    assert listening == EXPORTERS
    for job in JOBS:
        if job.name in EXPORTERS:
            roles = {role for role, names in EXPORTERS_OF.items() if job.name in names}
            assert {host.role for cell in provisioned.outputs().cells for host in job.where(cell)} <= roles, job.name
