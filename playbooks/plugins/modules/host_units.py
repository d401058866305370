#!/usr/bin/python
"""All units of a role in one call, with one question to systemd when nothing is to be done."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_units
short_description: Enable and start systemd units, and say or mend which run with old inputs
description:
  - A running unit is reloaded when C(reads) differ from what it was last started or reloaded with. That is remembered
    until the host restarts, so that a run that was interrupted is finished by the next.
  - Reloads systemd's configuration when a unit's file is newer than what systemd knows.
  - C(idle) lists the units that do not run, C(stale) those that run but were started before one of their
    C(inputs) changed. Those with C(restart) are restarted here; who restarts the others, and when, is the caller's
    business.
author: yiwang
options:
  units:
    description: The units.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name with its suffix., type: str, required: true}
      start: {description: Start it if it does not run., type: bool, default: true}
      restart: {description: Restart it when it is stale., type: bool, default: false}
      reads: {description: Files and folders of files that it reads when it starts and reloads., type: list,
              elements: path, default: []}
      inputs: {description: Files and links that it reads only when it starts., type: list, elements: path, default: []}
"""

UNIT_OPTIONS = {
    "name": {"type": "str", "required": True},
    "start": {"type": "bool", "default": True},
    "restart": {"type": "bool", "default": False},
    "reads": {"type": "list", "elements": "path", "default": []},
    "inputs": {"type": "list", "elements": "path", "default": []},
}
MEMORY = Path("/run/yiwang/units")
PROPERTIES = "Id,ActiveState,UnitFileState,NeedDaemonReload,ExecMainStartTimestamp"
STAMP = "%a %Y-%m-%d %H:%M:%S.%f %Z"

State = dict[str, str]


def states(names: list[str]) -> dict[str, State]:
    """Properties of each unit, by the name that was asked for."""
    command = ["systemctl", "show", "--timestamp=us+utc", "--property", PROPERTIES, *names]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return dict(zip(names, blocks, strict=True))


def is_stale(state: State, inputs: list[str]) -> bool:
    """True for a running unit that was started before one of its inputs was last changed."""
    if state["ActiveState"] != "active" or not state["ExecMainStartTimestamp"]:
        return False
    started = datetime.strptime(state["ExecMainStartTimestamp"], STAMP).replace(tzinfo=UTC).timestamp()
    return any(path.lstat().st_mtime > started for path in map(Path, inputs) if path.is_symlink() or path.exists())


def digest_of(unit: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    named = map(Path, unit["reads"])
    for path in [
        file for named_path in named for file in (sorted(named_path.iterdir()) if named_path.is_dir() else [named_path])
    ]:
        digest.update(f"{path}\0".encode() + (path.read_bytes() if path.exists() else b""))
    return digest.hexdigest()


def reads_old(unit: dict[str, Any]) -> bool:
    memory = MEMORY / unit["name"]
    return bool(unit["reads"]) and not (memory.exists() and memory.read_text() == digest_of(unit))


def remember(unit: dict[str, Any], digest: str) -> None:
    MEMORY.mkdir(parents=True, exist_ok=True)
    (MEMORY / unit["name"]).write_text(digest)


def work(units: list[dict[str, Any]], unit_states: dict[str, State]) -> list[list[str]]:
    """The systemctl commands that bring the units from `unit_states` to what is wanted."""
    commands = []
    old = [unit["name"] for unit in units if unit["restart"] and is_stale(unit_states[unit["name"]], unit["inputs"])]
    kept = [unit for unit in units if unit_states[unit["name"]]["ActiveState"] == "active" and unit["name"] not in old]
    disabled = [unit["name"] for unit in units if unit_states[unit["name"]]["UnitFileState"] != "enabled"]
    stopped = [unit["name"] for unit in units if unit["start"] and unit_states[unit["name"]]["ActiveState"] != "active"]
    if any(state["NeedDaemonReload"] == "yes" for state in unit_states.values()):
        commands.append(["systemctl", "daemon-reload"])
    if disabled:
        commands.append(["systemctl", "enable", *disabled])
    if stopped:
        commands.append(["systemctl", "start", *stopped])
    if old:
        commands.append(["systemctl", "restart", *old])
    commands += [["systemctl", "reload", unit["name"]] for unit in kept if reads_old(unit)]
    return commands


def main() -> None:
    module = AnsibleModule(
        argument_spec={"units": {"type": "list", "elements": "dict", "required": True, "options": UNIT_OPTIONS}},
        supports_check_mode=True,
    )
    units = module.params["units"]
    unit_states = states([unit["name"] for unit in units])
    commands = work(units, unit_states)
    if commands and not module.check_mode:
        digests = {unit["name"]: digest_of(unit) for unit in units}
        for command in commands:
            module.run_command(command, check_rc=True)
        for unit in units:
            if unit["reads"]:
                remember(unit, digests[unit["name"]])
    module.exit_json(
        changed=bool(commands),
        commands=commands,
        idle=[name for name, state in unit_states.items() if state["ActiveState"] != "active"],
        stale=[unit["name"] for unit in units if is_stale(unit_states[unit["name"]], unit["inputs"])],
    )


if __name__ == "__main__":
    main()
