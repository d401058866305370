#!/usr/bin/python
"""Debian packages that must be there. Asking dpkg is a hundredth of what opening apt's cache costs a small host."""

from __future__ import annotations

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_packages
short_description: Install Debian packages that are missing
description: Nothing but a query when all are there; the lists are refreshed only before an installation.
author: yiwang
options:
  names:
    description: Packages.
    type: list
    elements: str
    required: true
"""


def missing(names: list[str]) -> list[str]:
    """Those of `names` that dpkg does not know as installed."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names]
    statuses = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return [name for name in names if f"{name} installed" not in statuses]


def main() -> None:
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    wanted = missing(module.params["names"])
    if wanted and not module.check_mode:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        module.run_command(["apt-get", "update", "--quiet"], check_rc=True, environ_update=environment)
        install = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *wanted]
        module.run_command(install, check_rc=True, environ_update=environment)
    module.exit_json(changed=bool(wanted), installed=wanted)


if __name__ == "__main__":
    main()
