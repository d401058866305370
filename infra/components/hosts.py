"""Hosts of one role in one cell, spread over zones and over the machines beneath."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import ecs

from infra import names
from infra.addresses import ZONES


@dataclass(frozen=True)
class HostGroupArgs:
    physical_name: str
    cell: str
    role: str
    count: int
    instance_type: str
    image_id: str
    zones: pulumi.Output[Sequence[str]]
    vswitch_ids: pulumi.Output[Sequence[str]]
    security_group_ids: Sequence[pulumi.Input[str]]
    key_pair_name: pulumi.Input[str]
    key_id: pulumi.Input[str]
    snapshot_policy_id: pulumi.Input[str]
    resource_group_id: pulumi.Input[str]
    system_disk_gib: int
    deletion_protection: bool


class HostGroup(pulumi.ComponentResource):
    """Hosts hold no data: one is removed or rebuilt by the count in the plan."""

    def __init__(self, name: str, args: HostGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:HostGroup", name, None, opts)
        self._args = args
        self._spread = ecs.EcsDeploymentSet(
            f"{name}-spread",
            deployment_set_name=args.physical_name,
            strategy="Availability",
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.instances = [self._host(number) for number in range(1, args.count + 1)]
        self.register_outputs({})

    def _host(self, number: int) -> ecs.Instance:
        args = self._args
        name = names.host(args.cell, args.role, number)
        zone = (number - 1) % ZONES
        return ecs.Instance(
            name,
            instance_name=f"{args.physical_name}-{number}",
            host_name=name,
            instance_type=args.instance_type,
            image_id=args.image_id,
            availability_zone=args.zones[zone],
            vswitch_id=args.vswitch_ids[zone],
            security_groups=args.security_group_ids,
            deployment_set_id=self._spread.id,
            instance_charge_type="PostPaid",
            internet_max_bandwidth_out=0,
            key_name=args.key_pair_name,
            http_endpoint="enabled",
            http_tokens="required",
            security_enhancement_strategy="Active",
            deletion_protection=args.deletion_protection,
            resource_group_id=args.resource_group_id,
            system_disk_category="cloud_essd",
            system_disk_size=args.system_disk_gib,
            system_disk_encrypted=True,
            system_disk_kms_key_id=args.key_id,
            system_disk_auto_snapshot_policy_id=args.snapshot_policy_id,
            tags={"role": args.role},
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m", delete="40m")
            ),
        )

    def named(self) -> list[tuple[str, ecs.Instance]]:
        return [
            (names.host(self._args.cell, self._args.role, number), instance)
            for number, instance in enumerate(self.instances, start=1)
        ]

    def outputs(self) -> list[dict[str, object]]:
        """As `HostOutputs` has them."""
        return [
            {
                "name": name,
                "role": self._args.role,
                "zone": instance.availability_zone,
                "address": instance.primary_ip_address,
                "instance_type": self._args.instance_type,
                "instance_id": instance.id,
            }
            for name, instance in self.named()
        ]
