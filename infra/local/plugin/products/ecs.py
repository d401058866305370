"""Hosts, and who may connect to them."""

from __future__ import annotations

import hashlib

from infra.local.cloud.specs.firewall import (
    DIRECTIONS,
    GROUP_TYPES,
    INNER_ACCESS,
    POLICIES,
    RULE_PRIORITIES,
    SecurityGroupSpec,
    SecurityRuleSpec,
    port_range_fault,
    ports_fault,
)
from infra.local.cloud.specs.hosts import GROUPS_OF_A_HOST, HostSpec, KeyPairSpec, public_key_fault
from infra.local.cloud.specs.networks import range_fault
from infra.local.plugin.rules import (
    ClassRules,
    Failure,
    items,
    known,
    number,
    on,
    one_of,
    tags,
    text,
    whole,
    within,
)
from infra.local.plugin.shapes import AnyRecord, KeptClass, RealClass, listed
from infra.local.plugin.values import Values, has_unknown

INSTANCE = "alicloud:ecs/instance:Instance"
SECURITY_GROUP = "alicloud:ecs/securityGroup:SecurityGroup"
SECURITY_GROUP_RULE = "alicloud:ecs/securityGroupRule:SecurityGroupRule"
DEPLOYMENT_SET = "alicloud:ecs/ecsDeploymentSet:EcsDeploymentSet"
KEY_PAIR = "alicloud:ecs/ecsKeyPair:EcsKeyPair"
SNAPSHOT_POLICY = "alicloud:ecs/autoSnapshotPolicy:AutoSnapshotPolicy"
EIP = "alicloud:ecs/eipAddress:EipAddress"
EIP_ASSOCIATION = "alicloud:ecs/eipAssociation:EipAssociation"
KMS_KEY = "alicloud:kms/key:Key"

RETIRED = {
    "alicloud:ecs/disk:Disk": "ecs.EcsDisk",
    "alicloud:ecs/diskAttachment:DiskAttachment": "ecs.EcsDiskAttachment",
    "alicloud:ecs/keyPair:KeyPair": "ecs.EcsKeyPair",
    "alicloud:ecs/keyPairAttachment:KeyPairAttachment": "ecs.EcsKeyPairAttachment",
    "alicloud:ecs/launchTemplate:LaunchTemplate": "ecs.EcsLaunchTemplate",
    "alicloud:ecs/snapshot:Snapshot": "ecs.EcsSnapshot",
    "alicloud:ecs/snapshotPolicy:SnapshotPolicy": "ecs.AutoSnapshotPolicy",
    "alicloud:ecs/eip:Eip": "ecs.EipAddress",
}
NAMED = r"(?!https?://|aliyun|acs:)\D.*"
PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "gre", "all")


def _ports_of_protocol(inputs: Values) -> Failure | None:
    if not known(inputs, "ipProtocol"):
        return None
    ports = inputs.get("portRange")
    if has_unknown(ports):
        return None
    fault = ports_fault(inputs["ipProtocol"], ports)
    return Failure("portRange", fault) if fault else None


def _one_source(inputs: Values) -> Failure | None:
    sources = ("cidrIp", "ipv6CidrIp", "sourceSecurityGroupId", "prefixListId")
    given = [name for name in sources if inputs.get(name) is not None]
    if len(given) == 1:
        return None
    if not given:
        return Failure("cidrIp", f"give one of {', '.join(sources)}: the rule names nobody")
    return Failure(given[1], f"{' and '.join(given)} are given: one rule names one source; declare a rule for each")


def _network(value: object) -> str | None:
    if "," in str(value):
        return "holds several ranges; one rule takes one: declare a rule for each"
    return range_fault(value)


def _one_way_in(inputs: Values) -> Failure | None:
    if inputs.get("keyName") is not None and inputs.get("password") is not None:
        return Failure("password", "cannot be together with keyName: a host takes one of them")
    return None


def _instance(record: AnyRecord) -> Values:
    address = record.attributes.get("address", "")
    return {"primaryIpAddress": address, "privateIp": address, "status": record.attributes.get("status", "Running")}


def _eip(id: str, inputs: Values) -> Values:
    last = int(hashlib.sha256(id.encode()).hexdigest()[:4], 16)
    # 203.0.113.0/24 is set aside for examples (RFC 5737): nobody is there.
    return {"ipAddress": f"203.0.113.{1 + last % 254}", "status": "Available", "createTime": "2026-01-01T00:00:00Z"}


def _eip_protected(inputs: Values) -> str | None:
    return "deletionProtection is on: turn it off, update, then delete" if inputs.get("deletionProtection") else None


def _key_pair(record: AnyRecord) -> Values:
    return {"fingerPrint": hashlib.md5(record.spec.public_key.encode()).hexdigest()}  # noqa: S324


RULES: dict[str, ClassRules] = {
    INSTANCE: ClassRules(
        INSTANCE,
        rules=(
            text(
                "instanceType", "[P] instance", pattern=r"ecs\..+", says="ecs. and the type, for example ecs.g7.large"
            ),
            text(
                "instanceName",
                "[P] instance",
                pattern=r"(?!https?://).*",
                shortest=2,
                longest=128,
                says="2 to 128 characters, not a URL",
            ),
            text(
                "hostName",
                "[P] instance",
                pattern=r"(?![.-])(?!.*[.-]{2})[A-Za-z0-9.-]+(?<![.-])",
                shortest=2,
                longest=64,
                says="2 to 64 letters, digits, dots and hyphens, none of these at an end or twice",
            ),
            number("systemDiskSize", "[P] instance", 20, 500),
            number("internetMaxBandwidthOut", "[P] instance", 0, 100),
            one_of("instanceChargeType", "[P] instance", "PrePaid", "PostPaid"),
            one_of("internetChargeType", "[P] instance", "PayByBandwidth", "PayByTraffic"),
            one_of("httpTokens", "[P] instance", "optional", "required"),
            one_of("httpEndpoint", "[P] instance", "enabled", "disabled"),
            one_of("securityEnhancementStrategy", "[P] instance", "Active", "Deactive"),
            one_of(
                "systemDiskCategory",
                "[P] instance",
                *("ephemeral_ssd", "cloud_efficiency", "cloud_ssd", "cloud_essd", "cloud", "cloud_auto"),
                *("cloud_essd_entry", "elastic_ephemeral_disk_standard", "elastic_ephemeral_disk_premium"),
            ),
            items("dataDisks", "[P] instance", 0, 16),
            number("dataDisks[].size", "[P] instance", 20, 32768),
            items("securityGroups", "[A] security group limits", GROUPS_OF_A_HOST.low, GROUPS_OF_A_HOST.high),
            whole("keyName or password, not both", "[P] instance", _one_way_in),
            tags("[P] instance"),
        ),
        replace=frozenset(
            {
                *("availabilityZone", "systemDiskCategory", "systemDiskEncrypted", "systemDiskKmsKeyId"),
                *("systemDiskEncryptAlgorithm", "systemDiskStorageClusterId", "securityEnhancementStrategy"),
                *("dataDisks", "hpcClusterId", "networkInterfaces"),
            }
        ),
        replace_source="[S] resource_alicloud_instance.go",
        secrets=frozenset({"password"}),
        refers={
            "deploymentSetId": DEPLOYMENT_SET,
            "systemDiskKmsKeyId": KMS_KEY,
            "systemDiskAutoSnapshotPolicyId": SNAPSHOT_POLICY,
        },
    ),
    SECURITY_GROUP: ClassRules(
        SECURITY_GROUP,
        rules=(
            text(
                "securityGroupName",
                "[P] security_group",
                pattern=r"(?!https?://).*",
                shortest=2,
                longest=128,
                says="2 to 128 characters, not a URL",
            ),
            one_of("securityGroupType", "[P] security_group", *GROUP_TYPES),
            one_of("innerAccessPolicy", "[P] security_group", *INNER_ACCESS),
            tags("[P] security_group"),
        ),
        replace=frozenset({"securityGroupType"}),
        replace_source="[S] resource_alicloud_ecs_security_group.go",
    ),
    SECURITY_GROUP_RULE: ClassRules(
        SECURITY_GROUP_RULE,
        rules=(
            one_of("type", "[P] security_group_rule", *DIRECTIONS),
            one_of("ipProtocol", "[P] security_group_rule", *PROTOCOLS),
            one_of("policy", "[P] security_group_rule", *POLICIES),
            # A VPC knows no internet side; the cloud answers InvalidNicType.
            one_of("nicType", "[P] security_group_rule", "intranet"),
            within("priority", "[P] security_group_rule", RULE_PRIORITIES),
            on("portRange", "first/last", "[P] security_group_rule", port_range_fault),
            on("cidrIp", "one network range", "[P] security_group_rule; #2755", _network),
            whole("ports for tcp and udp only", "[P] security_group_rule", _ports_of_protocol),
            whole("exactly one source", "[P] security_group_rule", _one_source),
        ),
        replace=frozenset({"nicType", "ipv6CidrIp", "sourceGroupOwnerAccount", "prefixListId"}),
        replace_source="[S] resource_alicloud_security_group_rule.go",
    ),
    DEPLOYMENT_SET: ClassRules(
        DEPLOYMENT_SET,
        rules=(
            one_of("strategy", "[P] ecs_deployment_set", "Availability", "AvailabilityGroup", "LowLatency"),
            text("deploymentSetName", "[P] ecs_deployment_set", shortest=2, longest=128, says="2 to 128 characters"),
        ),
        replace=frozenset({"strategy", "domain", "granularity"}),
        replace_source="[S] resource_alicloud_ecs_deployment_set.go",
    ),
    KEY_PAIR: ClassRules(
        KEY_PAIR,
        rules=(
            text("keyPairName", "[P] ecs_key_pair", pattern=NAMED, shortest=2, longest=128, says="2 to 128 characters"),
            on("publicKey", "an OpenSSH public key", "[P] ecs_key_pair", public_key_fault),
            tags("[P] ecs_key_pair"),
        ),
        replace=frozenset({"keyName", "keyNamePrefix"}),
        replace_source="[S] resource_alicloud_ecs_key_pair.go",
    ),
    SNAPSHOT_POLICY: ClassRules(
        SNAPSHOT_POLICY,
        rules=(
            items("repeatWeekdays", "[P] ecs_auto_snapshot_policy", 1, 7),
            items("timePoints", "[P] ecs_auto_snapshot_policy", 1, 24),
            one_of("repeatWeekdays[]", "[P] ecs_auto_snapshot_policy", *"1234567"),
            one_of("timePoints[]", "[P] ecs_auto_snapshot_policy", *(str(hour) for hour in range(24))),
            on(
                "retentionDays",
                "-1 (for ever) or 1 to 65536",
                "[P] ecs_auto_snapshot_policy",
                lambda days: None if days == -1 or 1 <= days <= 65536 else f"is {days}; allowed: -1, 1 to 65536",
            ),
        ),
    ),
    EIP: ClassRules(
        EIP,
        rules=(
            text("addressName", "[P] eip_address", pattern=NAMED, shortest=2, longest=128, says="2 to 128 characters"),
            on(
                "bandwidth",
                "1 to 500 Mbit/s",
                "[P] eip_address",
                lambda value: (
                    None if str(value).isdigit() and 1 <= int(value) <= 500 else f"is {value}; allowed: 1 to 500"
                ),
            ),
            one_of("paymentType", "[P] eip_address", "Subscription", "PayAsYouGo"),
            one_of("internetChargeType", "[P] eip_address", "PayByBandwidth", "PayByTraffic", "PayByDominantTraffic"),
            tags("[P] eip_address"),
        ),
        replace=frozenset(
            {
                "isp",
                "internetChargeType",
                "paymentType",
                "instanceChargeType",
                "securityProtectionTypes",
                "publicIpAddressPoolId",
            }
        ),
        replace_source="[S] resource_alicloud_eip_address.go",
    ),
    EIP_ASSOCIATION: ClassRules(
        EIP_ASSOCIATION,
        rules=(
            one_of(
                "instanceType",
                "[P] eip_association",
                *("Nat", "SlbInstance", "EcsInstance", "NetworkInterface", "HaVip", "IpAddress"),
            ),
        ),
        replace=frozenset({"allocationId", "instanceId", "instanceType", "privateIpAddress", "vpcId", "mode"}),
        replace_source="[S] resource_alicloud_eip_association.go",
        refers={"allocationId": EIP},
    ),
    **{old: ClassRules(old, refused=f"is retired: use {new} [D]") for old, new in RETIRED.items()},
}
CLASSES: dict[str, KeptClass | RealClass] = {
    INSTANCE: RealClass(
        HostSpec,
        {
            "instanceType": "instance_type",
            "vswitchId": "switch_id",
            "securityGroups": listed("security_group_ids"),
            "keyName": "key_name",
            "privateIp": "private_ip",
            "imageId": "image_id",
            "userData": "user_data",
            "deletionProtection": "deletion_protection",
            "description": "description",
            "tags": "tags",
        },
        more=lambda inputs, _: {"name": inputs.get("hostName") or inputs.get("instanceName") or ""},
        outputs=_instance,
        in_place=frozenset({"privateIp", "vswitchId"}),
    ),
    SECURITY_GROUP: RealClass(
        SecurityGroupSpec,
        {
            "vpcId": "vpc_id",
            "securityGroupName": "name",
            "description": "description",
            "securityGroupType": "security_group_type",
            "innerAccessPolicy": "inner_access_policy",
            "tags": "tags",
        },
    ),
    SECURITY_GROUP_RULE: RealClass(
        SecurityRuleSpec,
        {
            "securityGroupId": "security_group_id",
            "type": "type",
            "ipProtocol": "ip_protocol",
            "portRange": "port_range",
            "cidrIp": "cidr_ip",
            "sourceSecurityGroupId": "source_security_group_id",
            "policy": "policy",
            "priority": "priority",
            "description": "description",
        },
        outputs=lambda record: {"securityGroupRuleId": record.id},
    ),
    DEPLOYMENT_SET: KeptClass(make_id=lambda creation, _: creation.fresh("ds-bp1")),
    KEY_PAIR: RealClass(
        KeyPairSpec,
        {"keyPairName": "name", "publicKey": "public_key", "tags": "tags"},
        outputs=_key_pair,
        id_of=lambda record: str(record.spec.name),
    ),
    SNAPSHOT_POLICY: KeptClass(
        make_id=lambda creation, _: creation.fresh("sp-bp1"), compute=lambda *_: {"status": "Normal"}
    ),
    EIP: KeptClass(make_id=lambda creation, _: creation.fresh("eip-bp1"), compute=_eip, protected=_eip_protected),
    EIP_ASSOCIATION: KeptClass(make_id=lambda _, inputs: f"{inputs['allocationId']}:{inputs['instanceId']}"),
}
