#!/usr/bin/python
"""Take a server out of a gateway's rotation and put it back, at run time, waiting until it is so."""

from __future__ import annotations

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.haproxy_runtime import Runtime, RuntimeRefused, Server

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


def in_force(server: Server, state: str) -> bool:
    """Whether the order is given and has had its effect: nothing left in flight, or found up by the gateway's check."""
    if server.ordered != state:
        return False
    up: bool = server.status.startswith(("UP", "no check"))
    return up if state == "ready" else bool(server.in_flight == 0)


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
    servers = runtime.servers(name)
    if not servers:
        module.fail_json(msg=f"no backend of this gateway has a server {name}")
    orders = [
        f"set server {server.backend}/{server.name} state {state}" for server in servers if server.ordered != state
    ]
    if module.check_mode:
        module.exit_json(changed=bool(orders))
    try:
        for order in orders:
            runtime.order(order)
    except RuntimeRefused as error:
        module.fail_json(msg=str(error))
    servers = runtime.servers(name)
    deadline = time.monotonic() + module.params["wait"]
    while not all(in_force(server, state) for server in servers):
        if time.monotonic() > deadline:
            told = ", ".join(
                f"{server.backend}/{server.name} {server.status} ({server.in_flight} in flight)" for server in servers
            )
            module.fail_json(msg=f"{name} is not {state} after {module.params['wait']} s: {told}")
        time.sleep(0.2)
        servers = runtime.servers(name)
    module.exit_json(changed=bool(orders))


if __name__ == "__main__":
    main()
