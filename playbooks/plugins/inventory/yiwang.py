"""Inventory of one environment: what its stacks say, and nothing else."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleParserError
from ansible.inventory.manager import split_host_pattern
from ansible.plugins.inventory import BaseInventoryPlugin, Constructable
from pydantic import ValidationError

from infra.folder import EnvironmentFolder
from infra.outputs import CellOutputs, EnvironmentOutputs, FoundationOutputs

DOCUMENTATION = r"""
name: yiwang
short_description: Hosts of one environment, from the outputs of its stacks
description:
  - Groups are the environment, each cell, each role, each role in a cell (C(cell_a_application)), and C(serving), the
    hosts that run services.
  - Each cell's database is an entry of its own (C(cell-a-database)), worked on from the controller.
  - The variable C(yiwang) holds all outputs; no secret is among them.
author: yiwang
extends_documentation_fragment: [constructed]
options:
  plugin:
    description: Marks a source file of this plugin; the file's name ends in C(yiwang.yml).
    required: true
    choices: [yiwang]
  environment:
    description: The environment.
    env: [{name: YIWANG_ENVIRONMENT}]
    default: local
  outputs:
    description: A file with what C(yiwang outputs ENVIRONMENT) prints. Without it the command is run.
    env: [{name: YIWANG_OUTPUTS}]
    type: path
"""

EXAMPLES = r"""
plugin: yiwang
environment: prod
outputs: /srv/yiwang/prod.outputs.json
"""


SUBSCRIPT = re.compile(r"\[[^\]]*\]$")


class InventoryModule(BaseInventoryPlugin, Constructable):  # type: ignore[misc]
    NAME = "yiwang"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("yiwang.yml", "yiwang.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        outputs = read_outputs(self.get_option("environment"), self.get_option("outputs"))
        environment = inventory.add_group(group_name(outputs.environment))
        inventory.set_variable("all", "yiwang", outputs.model_dump(mode="json"))
        for cell in outputs.cells:
            inventory.add_child(environment, inventory.add_group(group_name(cell.cell)))
            for name, variables in cell_hosts(outputs, cell).items():
                self._add_host(cell.cell, name, variables)
        check_limit(context.CLIARGS.get("subset"), inventory.hosts, inventory.groups)

    def _add_host(self, cell: str, name: str, variables: dict[str, Any]) -> None:
        role = variables["yiwang_role"]
        group = self.inventory.add_group(f"{group_name(cell)}_{role}")
        self.inventory.add_child(group_name(cell), group)
        self.inventory.add_child(self.inventory.add_group(role), group)
        if variables["yiwang_serving"]:
            self.inventory.add_child(self.inventory.add_group("serving"), group)
        self.inventory.add_host(name, group=group)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def check_limit(limit: str | None, hosts: Iterable[str], groups: Iterable[str]) -> None:
    """Ansible goes on without the terms of `--limit` that match nothing, and so may do nothing at all.

    Raises:
        AnsibleParserError: a term names neither a host nor a group.
    """
    there = [*hosts, *groups]
    for term in split_host_pattern(limit or ""):
        name = SUBSCRIPT.sub("", term.lstrip("!&"))
        if not name.startswith(("@", "~")) and not fnmatch.filter(there, name):
            raise AnsibleParserError(f"--limit {term}: no such host or group; there are {', '.join(there)}")


def group_name(name: str) -> str:
    """Ansible's groups are identifiers; the names of cells and environments have hyphens."""
    return name.replace("-", "_")


def read_outputs(environment: str, path: str | None) -> EnvironmentOutputs:
    """The environment's outputs, from the file or the command.

    Raises:
        AnsibleParserError: there are none, they are of another environment, or not of the known version.
    """
    origin = path or f"yiwang outputs {environment}"
    try:
        text = Path(path).read_text() if path else _printed_outputs(environment)
        outputs = EnvironmentOutputs.model_validate_json(text)
    except OSError as error:
        raise AnsibleParserError(f"{origin}: {error.strerror}") from error
    except ValidationError as error:
        raise AnsibleParserError(f"{origin}: not the outputs of an environment: {error}") from error
    if outputs.environment != environment:
        raise AnsibleParserError(f"{origin}: these are the outputs of {outputs.environment}, not of {environment}")
    return outputs


def _printed_outputs(environment: str) -> str:
    command = [str(Path(sys.executable).parent / "yiwang"), "outputs", environment]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AnsibleParserError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def cell_hosts(outputs: EnvironmentOutputs, cell: CellOutputs) -> dict[str, dict[str, Any]]:
    """Every entry of a cell by name, its database first, with its variables."""
    hosts: dict[str, dict[str, Any]] = {
        f"{cell.cell}-database": {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "yiwang_cell": cell.cell,
            "yiwang_role": "database",
            "yiwang_serving": False,
        }
    }
    for host in cell.hosts:
        hosts[host.name] = {
            "ansible_host": host.address,
            **_way_in(outputs.environment, outputs.foundation),
            "yiwang_cell": cell.cell,
            "yiwang_role": host.role,
            "yiwang_serving": bool(cell.services_on(host.role)),
            "yiwang_zone": host.zone,
        }
    return hosts


def _way_in(environment: str, foundation: FoundationOutputs) -> dict[str, Any]:
    arguments = foundation.ssh_arguments
    # production's operators have keys of their own
    key = EnvironmentFolder(environment).ssh_key
    return {
        "ansible_user": foundation.ssh_user,
        "ansible_become": foundation.ssh_user != "root",
        **({"ansible_ssh_private_key_file": str(key)} if key.exists() else {}),
        "ansible_ssh_common_args": arguments,
        # mitogen puts its own option first, so it must be told what the arguments say
        "ansible_host_key_checking": "StrictHostKeyChecking=no" not in arguments,
    }
