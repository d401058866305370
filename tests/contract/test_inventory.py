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
from jinja2 import Environment, StrictUndefined, Template

from infra.engine import REPOSITORY
from infra.plan import ROLES
from infra.ports import EXPORTERS, exporters_of
from monitoring.exporters.pgbouncer import PgBouncerSettings
from monitoring.exporters.tenants import TenantsSettings
from monitoring.jobs import JOBS
from tests.support import provisioned
from tests.support.playbook_plugins import load

filters = load("filter", "yiwang")
EXPORTERS_ROLE = REPOSITORY / "playbooks/roles/exporters"
HIDDEN = "InaccessiblePaths=-/etc/pgbouncer"
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
    assert listed["serving"]["children"] == ["cell_core_identity", "cell_core_query", "cell_a_application"]
    assert listed["cell_a_application"]["hosts"] == ["cell-a-application-1", "cell-a-application-2"]


def test_the_graph_shows_them(folder: Path) -> None:
    graph = ansible_inventory(folder, "--graph", "cell_core")
    assert "@cell_core_identity:" in graph and "cell-core-identity-2" in graph


def test_no_secret_is_in_the_inventory(folder: Path, listed: dict[str, Any]) -> None:
    secrets = json.loads((folder / "secrets.json").read_text())
    text = json.dumps(listed)
    assert secrets["cells"]["cell-a"]["database_privileged_password"] not in text
    kept = secrets["tenants"]["330106"]
    texts = [secret for secret in kept.values() if isinstance(secret, str)] + list(kept["database_passwords"].values())
    assert len(texts) > 8 and all(secret not in text for secret in texts)


def exporters_known() -> dict[str, Any]:
    exporters: dict[str, Any] = yaml.safe_load((EXPORTERS_ROLE / "vars/main.yml").read_text())["exporters_known"]
    return exporters


def test_exporters_listen_where_the_firewall_lets_prometheus_in() -> None:
    listening = {
        name: int(exporter.get("variables", {}).get("YIWANG_EXPORTER_PORT") or LISTENS.findall(exporter["command"])[0])
        for name, exporter in exporters_known().items()
    }
    assert listening == EXPORTERS
    assert PgBouncerSettings.model_fields["exporter_port"].default == EXPORTERS["pgbouncer"]
    assert TenantsSettings.model_fields["exporter_port"].default == EXPORTERS["tenants"]


def test_the_firewall_opens_to_prometheus_the_exporters_that_a_role_has_and_no_others() -> None:
    outputs = provisioned.outputs()
    of_playbooks, of_prometheus = set(), set()
    for cell in outputs.cells:
        for host in cell.hosts:
            here = filters.exporters_of(outputs.model_dump(mode="json"), cell.cell, host.name)
            of_playbooks |= {(host.role, name) for name in here}
        for job in JOBS:
            if job.name in EXPORTERS:
                of_prometheus |= {(host.role, job.name) for host in job.where(cell)}
    opened = {(role, name) for roles in ROLES.values() for role in roles for name in exporters_of(role)}
    assert opened == of_playbooks == of_prometheus


def test_the_exporter_that_runs_as_pgbouncers_own_user_sees_none_of_its_accounts() -> None:
    templates = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701 - a unit is no page
    template = templates.from_string((EXPORTERS_ROLE / "templates/exporter.service.j2").read_text())
    exporters = exporters_known()
    hidden = [
        name for name, exporter in exporters.items() if "module" in exporter and HIDDEN in unit(template, exporter)
    ]
    assert (
        hidden == [name for name, exporter in exporters.items() if exporter.get("user") == "postgres"] == ["pgbouncer"]
    )
    pooler = (REPOSITORY / "playbooks/roles/pgbouncer/templates/pgbouncer.ini.j2").read_text()
    assert "auth_file = /etc/pgbouncer/" in pooler


def unit(template: Template, exporter: dict[str, Any]) -> list[str]:
    return template.render(exporter=exporter, exporters_root="/opt/yiwang").splitlines()
