"""What all stacks share and that is no capacity: network, names, the shared key, audit trail, operators' key."""

from __future__ import annotations

import pulumi
from pulumi_alicloud import cas, ecs, resourcemanager

from infra import names
from infra.components.audit import Audit, AuditArgs
from infra.components.keys import Key, KeyArgs
from infra.components.logs import LogProject, LogProjectArgs
from infra.components.network import Network, NetworkArgs
from infra.components.objects import Bucket, BucketArgs
from infra.components.zones import Zones, ZonesArgs
from infra.links import FoundationLinks, publish
from infra.outputs import FoundationOutputs
from infra.programs.stack import Stack, export_contract
from infra.settings import FoundationSettings

CERTIFICATE_REGION = "cn-hangzhou"
"""Balancers name a certificate by its number and the region of the certificate service, not their own."""
FLOW_LOG = "flow"


def declare(stack: Stack[FoundationSettings]) -> None:
    settings = stack.settings
    environment = stack.environment
    stack.shape_all()
    opts = pulumi.ResourceOptions(provider=stack.provider(settings.region))

    group = resourcemanager.ResourceGroup(
        "shared",
        resource_group_name=names.shared(environment, "shared"),
        display_name=names.shared(environment, "shared"),
        opts=opts,
    )
    logs = LogProject(
        "logs",
        LogProjectArgs(
            project_name=names.log_project(environment, "shared", settings.account_suffix),
            stores=[FLOW_LOG],
            retention_days=settings.log_retention_days,
            resource_group_id=group.id,
            description="audit trail and flow log",
        ),
        opts,
    )
    Audit(
        "audit",
        AuditArgs(
            physical_name=names.shared(environment, "audit"),
            region=settings.region,
            account_id=settings.account_id,
            log_project=logs.project_name,
        ),
        opts,
    )
    key = Key(
        "shared",
        KeyArgs(
            physical_name=names.shared(environment, "shared"),
            description="disks, databases and logs of all stacks",
            instance_id=settings.kms_instance_id or None,
            deletion_protection=settings.protect,
        ),
        opts,
    )
    network = Network(
        "network",
        NetworkArgs(
            physical_name=names.shared(environment, "network"),
            addresses=settings.addresses,
            zones=settings.zones,
            resource_group_id=group.id,
            log_project=logs.project_name,
            flow_log_store=logs.store(FLOW_LOG),
            deletion_protection=settings.protect,
        ),
        opts,
    )
    log_bucket = Bucket(
        "access-logs",
        BucketArgs(
            bucket=names.bucket(environment, "logs", settings.account_suffix),
            resource_group_id=group.id,
            key_id=key.key_id,
            log_bucket=None,
            may_lose_objects=not settings.protect,
        ),
        # A cloud in one machine serves its object store inside the network; elsewhere the order costs nothing.
        pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[network.vpc])),
    )
    zones = Zones(
        "names",
        ZonesArgs(
            site_suffix=settings.site_suffix,
            private_zone=settings.private_zone,
            vpc_id=network.vpc_id,
            region=settings.region,
            resource_group_id=group.id,
        ),
        opts,
    )
    certificate = cas.ServiceCertificate(
        "sites",
        certificate_name=names.shared(environment, "sites"),
        cert=settings.certificate,
        key=pulumi.Output.secret(settings.certificate_key),
        resource_group_id=group.id,
        opts=opts,
    )
    operators = ecs.EcsKeyPair(
        "operators",
        key_pair_name=names.shared(environment, "operators"),
        public_key=settings.ssh_public_key,
        resource_group_id=group.id,
        opts=opts,
    )
    snapshots = ecs.AutoSnapshotPolicy(
        "system-disks",
        auto_snapshot_policy_name=names.shared(environment, "system-disks"),
        repeat_weekdays=["1", "4"],
        time_points=["3"],
        retention_days=14,
        resource_group_id=group.id,
        opts=opts,
    )
    certificate_id = pulumi.Output.concat(certificate.id, "-", CERTIFICATE_REGION)
    publish(
        FoundationLinks,
        region=settings.region,
        account_id=settings.account_id,
        account_suffix=settings.account_suffix,
        kms_instance_id=settings.kms_instance_id,
        zones=list(settings.zones),
        vpc_id=network.vpc_id,
        service_vswitch_ids=[vswitch.id for vswitch in network.services],
        balancer_vswitch_ids=[vswitch.id for vswitch in network.balancers],
        balancer_cidrs=[str(cidr) for cidr in settings.addresses.balancers],
        management_group_id=network.management_group.id,
        monitoring_group_id=network.monitoring_group.id,
        resource_group_id=group.id,
        key_id=key.key_id,
        key_pair_name=operators.key_pair_name,
        snapshot_policy_id=snapshots.id,
        certificate_id=certificate_id,
        log_bucket=log_bucket.bucket,
        log_retention_days=settings.log_retention_days,
        site_suffix=settings.site_suffix,
        site_port=settings.site_port,
        public_domain=zones.public_domain,
        site_zone_id=zones.site_zone_id,
        private_zone=settings.private_zone,
        private_zone_id=zones.private_zone_id,
    )
    export_contract(
        FoundationOutputs,
        {
            "environment": environment,
            "region": settings.region,
            "vpc_id": network.vpc_id,
            "cidr": settings.cidr,
            "vswitches": {zone: vswitch.id for zone, vswitch in zip(settings.zones, network.services, strict=True)},
            "site_suffix": settings.site_suffix,
            "site_port": settings.site_port,
            "private_zone": settings.private_zone,
            "account_suffix": settings.account_suffix,
            "certificate_id": certificate_id,
            "authority_certificate": settings.authority_certificate,
            "object_endpoint": settings.object_endpoint,
            "name_servers": list(settings.name_servers),
            "ssh_user": settings.ssh_user,
            "ssh_arguments": settings.ssh_arguments,
        },
    )
