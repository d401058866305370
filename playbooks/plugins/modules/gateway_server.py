#!/usr/bin/python
"""Take a server out of a gateway's rotation and put it back, at run time, waiting until it is so."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.haproxy_runtime import Runtime, RuntimeRefused

DOCUMENTATION = r"""
module: gateway_server
short_description: Drain a server at a gateway, or make it ready again
description:
  - C(drain) sends no new request to the server and waits until those in flight are answered.
  - C(ready) waits until the gateway's own check finds the server up.
  - C(maint) and C(ready) on the gateway's own server C(self) make its C(/gateway-healthz) fail and pass again.
author: yiwang
options:
  server: {description: The server's name in every backend that has it., type: str, required: true}
  state: {description: What it shall be., choices: [drain, ready, maint], type: str, required: true}
  wait: {description: Seconds to wait before failing., type: int, default: 60}
"""

IN_FORCE = {"drain": ("DRAIN",), "maint": ("MAINT",), "ready": ("UP", "no check")}


def in_force(row: dict[str, str], state: str) -> bool:
    """Whether the server is in the state, with nothing left to finish when it is to be idle."""
    if not row["status"].startswith(IN_FORCE[state]):
        # a server that is down gets no requests either, and is not shown as draining
        return state == "drain" and row["status"].startswith(("DOWN", "MAINT")) and idle(row)
    return state == "ready" or idle(row)


def idle(row: dict[str, str]) -> bool:
    return int(row["scur"] or 0) == 0 and int(row["qcur"] or 0) == 0


def administered(row: dict[str, str], state: str) -> bool:
    """Whether the order was given before."""
    ordered = {"drain": row["status"].startswith("DRAIN"), "maint": row["status"].startswith("MAINT")}
    return ordered[state] if state != "ready" else not any(ordered.values()) and row["weight"] != "0"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "server": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["drain", "ready", "maint"], "required": True},
            "wait": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    name, state = module.params["server"], module.params["state"]
    runtime = Runtime()
    rows = runtime.servers(name)
    if not rows:
        module.fail_json(msg=f"no backend of this gateway has a server {name}")
    orders = [f"set server {row['pxname']}/{name} state {state}" for row in rows if not administered(row, state)]
    if module.check_mode:
        module.exit_json(changed=bool(orders))
    try:
        for order in orders:
            runtime.order(order)
    except RuntimeRefused as error:
        module.fail_json(msg=str(error))
    deadline = time.monotonic() + module.params["wait"]
    while not all(in_force(row, state) for row in runtime.servers(name)):
        if time.monotonic() > deadline:
            rows = runtime.servers(name)
            told = {row["pxname"]: f"{row['status']}, {row['scur']} in flight" for row in rows}
            module.fail_json(msg=f"{name} is not {state} after {module.params['wait']} s: {told}")
        time.sleep(0.2)
    module.exit_json(changed=bool(orders))


if __name__ == "__main__":
    main()
