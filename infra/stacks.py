"""Stack settings of environments that are made by our tools, and where all stack settings lie.

`stacks/Pulumi.<environment>.<scope>.yaml` of production environments are tracked and written by people. A local or test
stack's settings are a template (`stacks/template.<kind>.yaml`) and what only the machine can say: `MACHINE_MADE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from infra import addresses
from infra.folder import EnvironmentFolder
from infra.names import PROJECT, STACK_NAME, StackName
from infra.settings import SettingsError, secret_keys
from infra.unread import is_meant

FOLDER = Path(__file__).parent / "stacks"
SETTINGS_NAME = re.compile(rf"^(template\.[a-z]+|Pulumi\.{STACK_NAME.pattern[1:-1]})\.yaml$")

MACHINE_MADE: Mapping[str, frozenset[str]] = {
    "foundation": frozenset(
        [
            "cidr",
            "sitePort",
            "siteSuffix",
            "privateZone",
            "certificate",
            "certificateKey",
            "authorityCertificate",
            "sshPublicKey",
            "nameServers",
            "objectEndpoint",
        ]
    ),
    "cell": frozenset(["seed"]),
    "tenants": frozenset(["seed"]),
}
"""Keys that `stack_settings` takes from its caller for each kind of stack; a cell's `cidr` only shapes another key."""

PROVIDED: Mapping[str, frozenset[str]] = {
    "foundation": MACHINE_MADE["foundation"] | {"accountId"},
    "cell": MACHINE_MADE["cell"],
    "tenants": MACHINE_MADE["tenants"],
}
"""Keys that production's tracked settings may leave to whoever deploys (`docs/production.md`)."""


@dataclass(frozen=True)
class Setting:
    value: str
    secret: bool = False


def stack_settings(environment: str, scope: str, values: Mapping[str, Any]) -> dict[str, Setting]:
    """Everything that a local or test stack is set to, by the engine's full keys (`yiwang:cidr`).

    `values` holds the machine-made keys of the environment; a stack takes those of its kind and leaves the others, so
    one mapping serves all stacks of an environment (with each stack's own `seed`). Lists may be Python lists.

    Raises:
        KeyError: a machine-made key of this kind is missing.
    """
    stack = StackName(environment, scope)
    own = {**template(stack.kind), **{key: values[key] for key in sorted(MACHINE_MADE[stack.kind])}}
    if stack.kind == "cell":
        # The machine itself is the first address of the network: it alone uses SSH there.
        own["managementCidr"] = f"{addresses.plan(values['cidr']).gateway}/32"
    secrets = secret_keys(stack.kind)
    return {full_key(key): Setting(as_text(value), key in secrets) for key, value in own.items()}


def template(kind: str) -> dict[str, Any]:
    return dict(read(FOLDER / f"template.{kind}.yaml"))


def read(path: Path) -> dict[str, Any]:
    """The settings in a stack's file, ours by their keys without the namespace; encrypted ones are mappings."""
    document = YAML(typ="safe").load(path.read_text("utf-8")) or {}
    return {key.removeprefix(f"{PROJECT}:"): value for key, value in document.get("config", {}).items()}


def full_key(key: str) -> str:
    """As the engine names it; a key of another namespace (`pulumi:…`) has it already."""
    return key if ":" in key else f"{PROJECT}:{key}"


def as_text(value: Any) -> str:
    """As the engine hands a value to the program."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def path_of(stack: StackName) -> Path:
    """The stack's settings: tracked, or in the environment's folder."""
    tracked = FOLDER / f"Pulumi.{stack}.yaml"
    return tracked if tracked.exists() else EnvironmentFolder(stack.environment).stacks / tracked.name


def cells_in_use(environment: str) -> set[str]:
    """Cells that have settings, so a stack: the plan must not forget one.

    Raises:
        SettingsError: there are settings under a name that the engine does not read.
    """
    for folder in (FOLDER, EnvironmentFolder(environment).stacks):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            if is_meant(path) and not SETTINGS_NAME.match(path.name):
                raise SettingsError(
                    f"{path}: is not read: settings lie in Pulumi.<environment>.<scope>.yaml; rename it"
                )
    pattern = f"Pulumi.{environment}.cell-*.yaml"
    paths = [*FOLDER.glob(pattern), *EnvironmentFolder(environment).stacks.glob(pattern)]
    return {path.name.removesuffix(".yaml").split(".")[-1] for path in paths}
