"""The inventory plugin: what it reads, what it refuses, what each host is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError

from tests.support import provisioned
from tests.support.playbook_plugins import load

inventory = load("inventory", "yiwang")
secrets = load("lookup", "yiwang_secrets")


@pytest.fixture
def outputs_file(tmp_path: Path) -> Path:
    provisioned.write(tmp_path)
    return tmp_path / "outputs.json"


def test_a_cells_database_is_worked_on_from_the_controller(outputs_file: Path) -> None:
    outputs = inventory.read_outputs("test-province", str(outputs_file))
    hosts = inventory.cell_hosts(outputs, outputs.cells[1])
    assert next(iter(hosts)) == "cell-a-database"
    assert hosts["cell-a-database"]["ansible_connection"] == "local"
    assert hosts["cell-a-database"]["ansible_python_interpreter"] == sys.executable
    assert hosts["cell-a-application-1"]["ansible_host"] == outputs.cells[1].hosts[2].address
    assert hosts["cell-a-application-1"]["yiwang_role"] == "application"


@pytest.mark.parametrize(
    ("arguments", "checked"), [("-o ProxyJump=bastion", True), ("-o StrictHostKeyChecking=no -o LogLevel=ERROR", False)]
)
def test_host_keys_are_checked_unless_the_stack_says_otherwise(
    outputs_file: Path, arguments: str, checked: bool
) -> None:
    content = json.loads(outputs_file.read_text())
    content["foundation"]["ssh_arguments"] = arguments
    outputs_file.write_text(json.dumps(content))
    outputs = inventory.read_outputs("test-province", str(outputs_file))
    host = inventory.cell_hosts(outputs, outputs.cells[0])["cell-core-gateway-1"]
    assert host["ansible_host_key_checking"] is checked
    assert host["ansible_ssh_common_args"] == arguments


def test_outputs_of_another_environment_are_refused(outputs_file: Path) -> None:
    with pytest.raises(AnsibleError, match="outputs of test-province, not of prod"):
        inventory.read_outputs("prod", str(outputs_file))


@pytest.mark.parametrize(("text", "said"), [("{}", "not the outputs"), ('{"schema_version": 2}', "schema_version")])
def test_what_is_no_outputs_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "outputs.json"
    path.write_text(text)
    with pytest.raises(AnsibleError, match=said):
        inventory.read_outputs("test-province", str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnsibleError, match=r"nothing\.json: No such file"):
        inventory.read_outputs("test-province", str(tmp_path / "nothing.json"))


def test_secrets_that_others_may_read_are_refused(outputs_file: Path) -> None:
    path = outputs_file.parent / "secrets.json"
    assert secrets.from_file(path)["tenants"]["330106"]
    path.chmod(0o644)
    with pytest.raises(AnsibleError, match="others may read it: chmod 0600"):
        secrets.from_file(path)


def test_secrets_of_stacks_are_sorted_into_cells_and_tenants() -> None:
    stacks: dict[str, dict[str, Any]] = {
        "local.cell-a": {"cache": {}},
        "local.hangzhou": {"330106": {}},
        "local.zhejiang": {"330000": {}},
    }
    assert secrets.merge(stacks) == {"cells": {"cell-a": {"cache": {}}}, "tenants": {"330106": {}, "330000": {}}}
