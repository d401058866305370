"""The network of an environment: one VPC over two zones, the way out, its flow log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import ecs, vpc

from infra.addresses import AddressPlan


@dataclass(frozen=True)
class NetworkArgs:
    physical_name: str
    addresses: AddressPlan
    zones: Sequence[str]
    resource_group_id: pulumi.Input[str]
    log_project: pulumi.Input[str]
    flow_log_store: pulumi.Input[str]
    deletion_protection: bool


class Network(pulumi.ComponentResource):
    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Network", name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        self._name = name
        self._args = args
        self.vpc = vpc.Network(
            f"{name}-vpc",
            vpc_name=args.physical_name,
            cidr_block=str(args.addresses.network),
            resource_group_id=args.resource_group_id,
            opts=self._child,
        )
        self.vpc_id = self.vpc.id
        self.services = self._vswitches(f"{name}-services", args.addresses.services, after=None)
        self.balancers = self._vswitches(f"{name}-balancers", args.addresses.balancers, after=self.services[-1])
        self._way_out(name)
        vpc.FlowLog(
            f"{name}-flow-log",
            flow_log_name=f"{args.physical_name}-flow",
            resource_type="VPC",
            resource_id=self.vpc.id,
            traffic_type="All",
            project_name=args.log_project,
            log_store_name=args.flow_log_store,
            status="Active",
            opts=self._child,
        )
        self.management_group = self._group("management", "the bastion; hosts take SSH from this group alone")
        self.monitoring_group = self._group("monitoring", "monitoring hosts; they alone read metrics of all cells")
        self.register_outputs({"vpc_id": self.vpc_id})

    def _group(self, role: str, description: str) -> ecs.SecurityGroup:
        """A group that cells name as the source of rules; whoever is in it, no member reaches another by it."""
        return ecs.SecurityGroup(
            f"{self._name}-{role}",
            security_group_name=f"{self._args.physical_name}-{role}",
            description=description,
            vpc_id=self.vpc.id,
            resource_group_id=self._args.resource_group_id,
            security_group_type="normal",
            inner_access_policy="Drop",
            opts=self._child,
        )

    def _vswitches(self, name: str, ranges: Sequence[object], after: vpc.Switch | None) -> list[vpc.Switch]:
        """One after the other: the cloud answers TaskConflict to vSwitches made at once."""
        made: list[vpc.Switch] = []
        for number, (zone, cidr) in enumerate(zip(self._args.zones, ranges, strict=True), start=1):
            previous = made[-1] if made else after
            made.append(
                vpc.Switch(
                    f"{name}-{number}",
                    vswitch_name=f"{self._args.physical_name}-{name.split('-', 1)[-1]}-{number}",
                    vpc_id=self.vpc.id,
                    zone_id=zone,
                    cidr_block=str(cidr),
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[previous] if previous else None),
                )
            )
        return made

    def _way_out(self, name: str) -> None:
        """Hosts have no public address; what they open leaves by one gateway."""
        args = self._args
        nat = vpc.NatGateway(
            f"{name}-nat",
            nat_gateway_name=f"{args.physical_name}-nat",
            vpc_id=self.vpc.id,
            vswitch_id=self.services[0].id,
            nat_type="Enhanced",
            network_type="internet",
            payment_type="PayAsYouGo",
            internet_charge_type="PayByLcu",
            deletion_protection=args.deletion_protection,
            opts=self._child,
        )
        address = ecs.EipAddress(
            f"{name}-nat-address",
            address_name=f"{args.physical_name}-nat",
            bandwidth="100",
            internet_charge_type="PayByTraffic",
            payment_type="PayAsYouGo",
            deletion_protection=args.deletion_protection,
            resource_group_id=args.resource_group_id,
            opts=self._child,
        )
        bound = ecs.EipAssociation(
            f"{name}-nat-binding",
            allocation_id=address.id,
            instance_id=nat.id,
            instance_type="Nat",
            opts=self._child,
        )
        for number, vswitch in enumerate(self.services, start=1):
            vpc.SnatEntry(
                f"{name}-way-out-{number}",
                snat_entry_name=f"{args.physical_name}-services-{number}",
                snat_table_id=nat.snat_table_ids,
                source_vswitch_id=vswitch.id,
                snat_ip=address.ip_address,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[bound]),
            )
