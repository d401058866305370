#!/usr/bin/python
"""Bring the schemas of all databases of an instance to a release, from the release's own tree, on the controller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: database_migrations
short_description: Run a release's migrations and settle who may touch what, once for each database and module
description:
  - Calls C(python -m services.migrate) in the release's tree; passwords go through its standard input.
  - Migrations only expand, so the release that still runs goes on working.
author: yiwang
options:
  tree: {description: The release's C(lib) folder on the controller., type: path, required: true}
  host: {description: The instance., type: str, required: true}
  port: {description: Its port., type: int, default: 5432}
  databases: {description: Databases with their accounts and modules as filter C(cell_databases) gives them.,
              type: list, elements: dict, required: true}
"""


def targets(host: str, port: int, databases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `services.migrate` reads: one entry a database and module, as the owner."""
    return [
        {
            "module": module,
            "host": host,
            "port": port,
            "database": database["name"],
            "user": database["owner"],
            "password": database["owner_password"],
            "application_role": account,
            "measures_role": database["measures"] or None,
            "former_roles": database.get("former") or [],
        }
        for database in databases
        for module, account in database["modules"].items()
    ]


def run(tree: str, wanted: list[dict[str, Any]], check: bool) -> tuple[list[dict[str, Any]], str]:
    """Results by database and module, and what went to standard error when it ended otherwise."""
    command = [sys.executable, "-s", "-m", "services.migrate", *(["--check"] if check else [])]
    environment = {**os.environ, "PYTHONPATH": tree, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=tree, env=environment, input=json.dumps(wanted), capture_output=True, text=True, check=False
    )
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return results, "" if done.returncode == 0 else done.stderr[-2000:] or f"ended with {done.returncode}"


DATABASE_OPTIONS = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "owner_password": {"type": "str", "required": True, "no_log": True},
    "accounts": {"type": "dict", "no_log": True},
    "modules": {"type": "dict", "required": True},
    "measures": {"type": "str", "default": ""},
    "former": {"type": "list", "elements": "str"},
    "connections": {"type": "int"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "tree": {"type": "path", "required": True},
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "databases": {"type": "list", "elements": "dict", "required": True, "options": DATABASE_OPTIONS},
        },
        supports_check_mode=True,
    )
    given = module.params
    wanted = targets(given["host"], given["port"], given["databases"])
    results, trouble = run(given["tree"], wanted, module.check_mode)
    failed = [f"{result['database']} {result['module']}: {result['error']}" for result in results if "error" in result]
    if failed or trouble:
        module.fail_json(msg="\n".join(failed) or trouble, results=results)
    if len(results) != len(wanted):
        module.fail_json(msg=f"{len(results)} answers for {len(wanted)} migrations", results=results)
    changed = [result for result in results if result["changed"]]
    module.exit_json(changed=bool(changed), migrated=changed, looked_at=len(results))


if __name__ == "__main__":
    main()
