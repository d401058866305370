"""A cell's front: a balancer over two zones that ends TLS and passes everything to the cell's gateway hosts.

It knows no tenant and has no rules: the gateway hosts route by `Host`, since a balancer takes 100 rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_alicloud import alb, ecs

from infra.addresses import ZONES
from infra.ports import GATEWAY_PORT

HEALTH_PATH = "/gateway-healthz"
SECURITY_POLICY = "tls_cipher_policy_1_2_strict_with_1_3"
TIMEOUTS = pulumi.CustomTimeouts(create="10m", update="10m", delete="10m")
"""The provider's own two minutes are too few while another part of the same balancer is being configured."""


@dataclass(frozen=True)
class GatewayArgs:
    physical_name: str
    vpc_id: pulumi.Input[str]
    zones: pulumi.Output[Sequence[str]]
    vswitch_ids: pulumi.Output[Sequence[str]]
    resource_group_id: pulumi.Input[str]
    certificate_id: pulumi.Input[str]
    site_port: pulumi.Input[int]
    hosts: Sequence[ecs.Instance]
    address_type: str
    edition: str
    log_project: pulumi.Input[str]
    log_store: pulumi.Input[str]
    deletion_protection: bool


class Gateway(pulumi.ComponentResource):
    def __init__(self, name: str, args: GatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Gateway", name, None, opts)
        self._args = args
        self.balancer = self._balancer(name)
        self.server_group = self._server_group(name)
        alb.Listener(
            f"{name}-listener",
            load_balancer_id=self.balancer.id,
            listener_description=args.physical_name,
            listener_protocol="HTTPS",
            listener_port=args.site_port,
            security_policy_id=SECURITY_POLICY,
            certificates=alb.ListenerCertificatesArgs(certificate_id=args.certificate_id),
            http2_enabled=True,
            idle_timeout=60,
            request_timeout=60,
            x_forwarded_for_config=alb.ListenerXForwardedForConfigArgs(
                x_forwarded_for_enabled=True, x_forwarded_for_proto_enabled=True
            ),
            default_actions=[
                alb.ListenerDefaultActionArgs(
                    type="ForwardGroup",
                    forward_group_config=alb.ListenerDefaultActionForwardGroupConfigArgs(
                        server_group_tuples=[
                            alb.ListenerDefaultActionForwardGroupConfigServerGroupTupleArgs(
                                server_group_id=self.server_group.id
                            )
                        ]
                    ),
                )
            ],
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=TIMEOUTS),
        )
        self.name = self.balancer.dns_name
        self.address = self.balancer.zone_mappings.apply(private_address)
        self.register_outputs({"name": self.name})

    def _balancer(self, name: str) -> alb.LoadBalancer:
        args = self._args
        return alb.LoadBalancer(
            f"{name}-balancer",
            load_balancer_name=args.physical_name,
            vpc_id=args.vpc_id,
            address_type=args.address_type,
            address_allocated_mode="Fixed",
            load_balancer_edition=args.edition,
            load_balancer_billing_config=alb.LoadBalancerLoadBalancerBillingConfigArgs(pay_type="PayAsYouGo"),
            zone_mappings=[
                alb.LoadBalancerZoneMappingArgs(zone_id=args.zones[zone], vswitch_id=args.vswitch_ids[zone])
                for zone in range(ZONES)
            ],
            resource_group_id=args.resource_group_id,
            deletion_protection_enabled=args.deletion_protection,
            modification_protection_config=alb.LoadBalancerModificationProtectionConfigArgs(
                status="ConsoleProtection" if args.deletion_protection else "NonProtection",
                reason="declared-by-yiwang" if args.deletion_protection else None,
            ),
            access_log_config=alb.LoadBalancerAccessLogConfigArgs(
                log_project=args.log_project, log_store=args.log_store
            ),
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=TIMEOUTS),
        )

    def _server_group(self, name: str) -> alb.ServerGroup:
        args = self._args
        return alb.ServerGroup(
            f"{name}-servers",
            server_group_name=args.physical_name,
            server_group_type="Instance",
            vpc_id=args.vpc_id,
            protocol="HTTP",
            scheduler="Wlc",
            resource_group_id=args.resource_group_id,
            health_check_config=alb.ServerGroupHealthCheckConfigArgs(
                health_check_enabled=True,
                health_check_protocol="HTTP",
                health_check_method="GET",
                health_check_path=HEALTH_PATH,
                health_check_connect_port=GATEWAY_PORT,
                health_check_codes=["http_2xx"],
                health_check_interval=2,
                health_check_timeout=1,
                healthy_threshold=2,
                unhealthy_threshold=2,
            ),
            sticky_session_config=alb.ServerGroupStickySessionConfigArgs(sticky_session_enabled=False),
            connection_drain_config=alb.ServerGroupConnectionDrainConfigArgs(
                connection_drain_enabled=True, connection_drain_timeout=60
            ),
            servers=[
                alb.ServerGroupServerArgs(
                    server_id=host.id,
                    server_type="Ecs",
                    server_ip=host.primary_ip_address,
                    port=GATEWAY_PORT,
                    # Unset means 0, and 0 means no traffic.
                    weight=100,
                )
                for host in args.hosts
            ],
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=TIMEOUTS),
        )


def private_address(zone_mappings: Sequence[Any] | None) -> str:
    """The balancer's address inside the network in its first zone, or nothing when the cloud tells none."""
    for mapping in zone_mappings or []:
        for holder in (mapping, *(_field(mapping, "load_balancer_addresses") or [])):
            address = _field(holder, "intranet_address")
            if address:
                return str(address)
    return ""


def _field(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
