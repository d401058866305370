#!/usr/bin/python
"""Map files of the gateway, on disk and in the running HAProxy, without a reload."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.haproxy_runtime import Runtime, RuntimeRefused

DOCUMENTATION = r"""
module: gateway_maps
short_description: Keep HAProxy's map files and its memory alike
description:
  - Writes each file, and replaces the running map in one transaction when it differs.
  - A map that the running HAProxy does not know yet is only written.
author: yiwang
options:
  maps: {description: Path to content; a line is a key and a value., type: dict, required: true}
"""


def parse(content: str) -> dict[str, str]:
    return dict(line.split(None, 1) for line in content.splitlines() if line.strip())


def write(path: Path, content: str) -> None:
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(number, "w") as file:
        file.write(content)
    Path(name).chmod(0o644)
    Path(name).rename(path)


def main() -> None:
    module = AnsibleModule(argument_spec={"maps": {"type": "dict", "required": True}}, supports_check_mode=True)
    changed = []
    diffs = []
    runtime = Runtime()
    running = runtime.answers
    for name, content in module.params["maps"].items():
        path = Path(name)
        before = path.read_text() if path.exists() else ""
        on_disk = path.exists() and before == content
        entries = runtime.map_entries(name) if running and path.exists() else parse(content)
        if on_disk and entries == parse(content):
            continue
        changed.append(name)
        diffs.append({"before_header": name, "after_header": name, "before": before, "after": content})
        if module.check_mode:
            continue
        if not on_disk:
            write(path, content)
        try:
            if entries != parse(content):
                runtime.replace_map(name, parse(content))
        except RuntimeRefused as error:
            module.fail_json(msg=str(error), changed_maps=changed)
    module.exit_json(changed=bool(changed), changed_maps=changed, diff=diffs)


if __name__ == "__main__":
    main()
