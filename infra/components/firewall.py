"""Who may connect to whom inside a cell: a security group a role, and rules that name the ports and the callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import ecs

from infra.addresses import ZONES

GATEWAY = "gateway"
GATEWAY_PORT = 8080
SERVICE_PORTS: Mapping[str, Sequence[int]] = {"application": (8001, 8002), "identity": (8003,), "query": (8004,)}
"""Ports that the gateway hosts of the same cell reach on each role."""
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


class Firewall(pulumi.ComponentResource):
    def __init__(self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Firewall", name, None, opts)
        self._name = name
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
            self._allow(GATEWAY, GATEWAY_PORT, f"balancer-{number + 1}", cidr_ip=args.balancer_cidrs[number])
        self._allow(GATEWAY, GATEWAY_PORT, "probes", cidr_ip=PROBES)
        for role in args.roles:
            for port in SERVICE_PORTS.get(role, ()):
                self._allow(role, port, GATEWAY, source_security_group_id=self.groups[GATEWAY].id)
            self._allow(role, 22, "management", source_security_group_id=args.management_group_id)
            if args.management_cidr:
                self._allow(role, 22, "management-range", cidr_ip=args.management_cidr)
        self.register_outputs({})

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
