"""Who may connect to whom inside a cell: a security group a role, and rules that name the ports and the callers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import ecs

from infra.addresses import ZONES
from infra.ports import (
    ALERTMANAGER_PORT,
    EXPORTERS,
    GATEWAY_METRICS_PORT,
    GATEWAY_PORT,
    PROMETHEUS_PORT,
    RECEIVER_PORT,
    SSH_PORT,
    exporters_of,
)
from infra.services import services_on

GATEWAY = "gateway"
MONITORING = "monitoring"
PROBES = "100.64.0.0/10"
"""Health checks of balancers may come from here, beside the balancer's own addresses."""


@dataclass(frozen=True)
class FirewallArgs:
    physical_name: str
    vpc_id: pulumi.Input[str]
    resource_group_id: pulumi.Input[str]
    roles: Sequence[str]
    balancer_cidrs: pulumi.Output[Sequence[str]]
    management_cidr: str
    management_group_id: pulumi.Input[str]
    monitoring_group_id: pulumi.Input[str]


class Firewall(pulumi.ComponentResource):
    def __init__(self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Firewall", name, None, opts)
        self._name = name
        self._args = args
        self.groups = {
            role: ecs.SecurityGroup(
                f"{name}-{role}",
                security_group_name=f"{args.physical_name}-{role}",
                description=f"{role} hosts",
                vpc_id=args.vpc_id,
                resource_group_id=args.resource_group_id,
                # Not "enterprise": only a normal group can be the source of another's rule.
                security_group_type="normal",
                inner_access_policy="Drop",
                opts=pulumi.ResourceOptions(parent=self),
            )
            for role in args.roles
        }
        for number in range(ZONES):
            caller, cidr = f"balancer-{number + 1}", args.balancer_cidrs[number]
            self._allow(GATEWAY, GATEWAY_PORT, caller, cidr_ip=cidr)
        self._allow(GATEWAY, GATEWAY_PORT, "probes", cidr_ip=PROBES)
        for role in args.roles:
            for service in services_on(role):
                self._allow(role, service.port, GATEWAY, source_security_group_id=self.groups[GATEWAY].id)
            self._allow_management(role, SSH_PORT)
            self._allow_scrapes(role)
        if MONITORING in args.roles:
            for port in (PROMETHEUS_PORT, ALERTMANAGER_PORT, RECEIVER_PORT):
                self._allow_management(MONITORING, port)
        self.register_outputs({})

    def _allow_management(self, role: str, port: int) -> None:
        self._allow(role, port, "management", source_security_group_id=self._args.management_group_id)
        if self._args.management_cidr:
            self._allow(role, port, "management-range", cidr_ip=self._args.management_cidr)

    def _allow_scrapes(self, role: str) -> None:
        """Metrics of the role, for the monitoring hosts of the environment alone: they are of another cell."""
        scraped = [EXPORTERS[exporter] for exporter in exporters_of(role)]
        scraped += [service.port for service in services_on(role)]
        if role == GATEWAY:
            scraped.append(GATEWAY_METRICS_PORT)
        for port in scraped:
            self._allow(role, port, MONITORING, source_security_group_id=self._args.monitoring_group_id)

    def _allow(self, role: str, port: int, caller: str, **source: pulumi.Input[str]) -> None:
        ecs.SecurityGroupRule(
            f"{self._name}-{role}-{port}-from-{caller}",
            type="ingress",
            ip_protocol="tcp",
            port_range=f"{port}/{port}",
            policy="accept",
            priority=1,
            security_group_id=self.groups[role].id,
            description=f"{caller} to {role} on {port}",
            opts=pulumi.ResourceOptions(parent=self),
            **source,
        )
