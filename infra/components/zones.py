"""Names: the public domain of the sites, and two private zones that the network's hosts see in its place."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_alicloud import dns, pvtz


@dataclass(frozen=True)
class ZonesArgs:
    site_suffix: str
    private_zone: str
    vpc_id: pulumi.Input[str]
    region: str
    resource_group_id: pulumi.Input[str]


class Zones(pulumi.ComponentResource):
    def __init__(self, name: str, args: ZonesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Zones", name, None, opts)
        self._args = args
        self.public = dns.AlidnsDomain(
            f"{name}-public",
            domain_name=args.site_suffix,
            resource_group_id=args.resource_group_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.public_domain = self.public.domain_name
        self.site_zone_id = self._private(f"{name}-sites", args.site_suffix)
        self.private_zone_id = self._private(f"{name}-internal", args.private_zone)
        self.register_outputs({})

    def _private(self, name: str, zone_name: str) -> pulumi.Output[str]:
        zone = pvtz.Zone(
            name,
            zone_name=zone_name,
            # Every name under the suffix is ours, so nothing is asked of the public zone.
            proxy_pattern="ZONE",
            # The other kind cannot be left again.
            dns_group="NORMAL_ZONE",
            resource_group_id=self._args.resource_group_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        attached = pvtz.ZoneAttachment(
            f"{name}-attachment",
            zone_id=zone.id,
            vpcs=[pvtz.ZoneAttachmentVpcArgs(vpc_id=self._args.vpc_id, region_id=self._args.region)],
            opts=pulumi.ResourceOptions(parent=self),
        )
        return attached.zone_id


@dataclass(frozen=True)
class SiteNameArgs:
    label: str
    public_domain: pulumi.Input[str]
    site_zone_id: pulumi.Input[str]
    balancer_name: pulumi.Input[str]
    remark: str


class SiteName(pulumi.ComponentResource):
    """A site's name, outside and inside, pointing to the balancer of the cell that serves it."""

    def __init__(self, name: str, args: SiteNameArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:SiteName", name, None, opts)
        dns.AlidnsRecord(
            f"{name}-public",
            domain_name=args.public_domain,
            rr=args.label,
            type="CNAME",
            value=args.balancer_name,
            ttl=600,
            remark=args.remark,
            opts=pulumi.ResourceOptions(parent=self),
        )
        pvtz.ZoneRecord(
            f"{name}-private",
            zone_id=args.site_zone_id,
            rr=args.label,
            type="CNAME",
            value=args.balancer_name,
            ttl=60,
            remark=args.remark,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
