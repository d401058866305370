"""Groups of servers: who is behind a balancer, and how their health is told."""

from __future__ import annotations

import re

from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Record
from infra.local.cloud.specs.balancers import (
    CHECK_INTERVALS,
    CHECK_THRESHOLDS,
    CHECK_TIMEOUTS,
    WEIGHTS,
    ServerGroupSpec,
)
from infra.local.cloud.specs.forms import PORTS


class ServerGroups(Kind[ServerGroupSpec]):
    name = "ServerGroup"
    prefix = "sgp"
    spec_type = ServerGroupSpec
    quota = 3000
    not_found = "ResourceNotFound.ServerGroup"

    def check(self, record: Record[ServerGroupSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.protocol not in ("HTTP", "HTTPS"):
            raise CloudError("IllegalParam.Protocol", f"server group {owner}: {spec.protocol!r}")
        if spec.scheduler not in ("Wrr", "Wlc", "Sch"):
            raise CloudError("IllegalParam.Scheduler", f"server group {owner}: {spec.scheduler!r}")
        check = spec.health_check
        if check.interval not in CHECK_INTERVALS or check.timeout not in CHECK_TIMEOUTS:
            message = f"server group {owner}: health check interval {CHECK_INTERVALS} s, time-out {CHECK_TIMEOUTS} s"
            raise CloudError("IllegalParam.HealthCheckInterval", message)
        if not all(number in CHECK_THRESHOLDS for number in (check.healthy_threshold, check.unhealthy_threshold)):
            message = f"server group {owner}: thresholds {CHECK_THRESHOLDS}"
            raise CloudError("IllegalParam.HealthCheckThreshold", message)
        if not check.path.startswith("/") or re.search(r"[\s\"']", check.path + check.host):
            raise CloudError("IllegalParam.HealthCheckPath", f"server group {owner}: path {check.path!r}")
        for server in spec.servers:
            if server.port not in PORTS or server.weight not in WEIGHTS:
                message = f"server group {owner}: port {server.port}, weight {server.weight}"
                raise CloudError("IllegalParam.Server", message)
            if server.server_type == "Ecs":
                self.context.require_kind("Host", server.server_id, f"server group {owner}")

    def after_change(self, record: Record[ServerGroupSpec]) -> None:
        self.context.renew_balancers()
