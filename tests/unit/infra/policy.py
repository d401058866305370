"""What an auditor asks of rendered stacks: rules over declared resources, each with a value that it must catch.

The rules are the level-3 protection list of the production guide; `test_programs.py` applies them to production's
stacks, and spoils each rule's property once to see that the rule notices.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

from infra.ports import ALERTMANAGER_PORT, EXPORTERS, GATEWAY_METRICS_PORT, PROMETHEUS_PORT, RECEIVER_PORT
from infra.render import Declared

ANYWHERE = ("0.0.0.0/0", "::/0")
SIGNALS = {str(port) for port in (PROMETHEUS_PORT, ALERTMANAGER_PORT, RECEIVER_PORT)}
ADMINISTRATION = {"22", "3389", "3306", "5432", "6379"} | SIGNALS
WIDEST = 100
ABSENT = object()


@dataclass(frozen=True)
class Rule:
    """Resources of `type` keep `holds` of their input at `path`; `spoiled` is a value that breaks it."""

    title: str
    type: str
    path: tuple[str, ...]
    holds: Callable[[Any], bool]
    spoiled: Any

    def violations(self, resources: Iterable[Declared]) -> list[str]:
        return [
            f"{self.title}: {resource.name}"
            for resource in resources
            if resource.type == self.type and not self.holds(value_at(resource.inputs, self.path))
        ]

    def spoil(self, resource: Declared) -> Declared:
        return replace(resource, inputs=with_value(resource.inputs, self.path, self.spoiled))


def value_at(inputs: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        inputs = inputs.get(step, ABSENT) if isinstance(inputs, Mapping) else ABSENT
    return inputs


def with_value(inputs: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, rest = path[0], path[1:]
    inner = with_value(inputs.get(first, {}), rest, value) if rest else value
    changed = {**inputs, first: inner}
    return {key: kept for key, kept in changed.items() if kept is not ABSENT}


def equals(expected: Any) -> Callable[[Any], bool]:
    return lambda value: bool(value == expected)


def at_least(least: int) -> Callable[[Any], bool]:
    return lambda value: value is not ABSENT and value >= least


def is_set(value: Any) -> bool:
    return value not in (ABSENT, None, "")


def no_open_list(value: Any) -> bool:
    return value is ABSENT or not set(value) & set(ANYWHERE)


def denies_plain_http(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if value == "[unknown]":
        return True
    statements = json.loads(value)["Statement"]
    open_to_all = [
        statement for statement in statements if statement["Effect"] == "Allow" and "*" in statement["Principal"]
    ]
    denied = [
        statement
        for statement in statements
        if statement["Effect"] == "Deny" and "acs:SecureTransport" in str(statement["Condition"])
    ]
    return bool(denied) and not open_to_all


def narrow_ports(value: Any) -> bool:
    if not isinstance(value, str) or "-1" in value:
        return False
    first, last = (int(end) for end in value.split("/"))
    return 1 <= first <= last < first + WIDEST


def no_full_access(value: Any) -> bool:
    if value == "[unknown]":
        return True
    return not any(
        statement["Effect"] == "Allow" and "*" in (*statement["Action"], *statement["Resource"])
        for statement in json.loads(value)["Statement"]
    )


ECS, RDS, CACHE = (
    "alicloud:ecs/instance:Instance",
    "alicloud:rds/instance:Instance",
    "alicloud:kvstore/instance:Instance",
)
RULE_OF_GROUP, BACKUP = "alicloud:ecs/securityGroupRule:SecurityGroupRule", "alicloud:rds/backupPolicy:BackupPolicy"
ELSEWHERE = "alicloud:rds/rdsInstanceCrossBackupPolicy:RdsInstanceCrossBackupPolicy"
HOME = "cn-hangzhou"
BALANCER, LISTENER = "alicloud:alb/loadBalancer:LoadBalancer", "alicloud:alb/listener:Listener"
FULL_ACCESS = json.dumps({"Statement": [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]})
OPEN_BUCKET = json.dumps({"Statement": [{"Effect": "Allow", "Principal": ["*"], "Action": ["oss:*"]}]})

RULES = [
    Rule("system disk encrypted", ECS, ("systemDiskEncrypted",), equals(True), False),
    Rule("metadata by token only", ECS, ("httpTokens",), equals("required"), "optional"),
    Rule("no public bandwidth", ECS, ("internetMaxBandwidthOut",), lambda v: v in (ABSENT, 0), 5),
    Rule("security agent", ECS, ("securityEnhancementStrategy",), equals("Active"), ABSENT),
    Rule("in a vSwitch", ECS, ("vswitchId",), is_set, ABSENT),
    Rule("host kept from deletion", ECS, ("deletionProtection",), equals(True), False),
    Rule("log-in by key", ECS, ("keyName",), is_set, ABSENT),
    Rule("no log-in by password", ECS, ("password",), equals(ABSENT), "Secret-1"),
    Rule("snapshots", ECS, ("systemDiskAutoSnapshotPolicyId",), is_set, ABSENT),
    Rule("no source anywhere", RULE_OF_GROUP, ("cidrIp",), lambda v: v not in ANYWHERE, "0.0.0.0/0"),
    Rule("no IPv6 source anywhere", RULE_OF_GROUP, ("ipv6CidrIp",), lambda v: v not in ANYWHERE, "::/0"),
    Rule("narrow ports", RULE_OF_GROUP, ("portRange",), narrow_ports, "1/65535"),
    Rule(
        "members of a group are strangers",
        "alicloud:ecs/securityGroup:SecurityGroup",
        ("innerAccessPolicy",),
        equals("Drop"),
        "Accept",
    ),
    Rule("narrow way out", "alicloud:ecs/eipAddress:EipAddress", ("bandwidth",), lambda v: int(v) <= 100, "200"),
    Rule("address kept", "alicloud:ecs/eipAddress:EipAddress", ("deletionProtection",), equals(True), False),
    Rule("NAT kept", "alicloud:vpc/natGateway:NatGateway", ("deletionProtection",), equals(True), False),
    Rule("no open whitelist", RDS, ("securityIps",), no_open_list, ["0.0.0.0/0"]),
    Rule("database over two zones", RDS, ("zoneIdSlaveA",), is_set, ABSENT),
    Rule("database TLS", RDS, ("sslAction",), equals("Open"), "Close"),
    Rule("database encrypted", RDS, ("encryptionKey",), is_set, ABSENT),
    Rule("SQL log", RDS, ("sqlCollectorStatus",), equals("Enabled"), "Disabled"),
    Rule("SQL log half a year", RDS, ("sqlCollectorConfigValue",), at_least(180), 30),
    Rule("database kept", RDS, ("deletionProtection",), equals(True), False),
    Rule("log backup", BACKUP, ("enableBackupLog",), equals(True), False),
    Rule("backups a month", BACKUP, ("backupRetentionPeriod",), at_least(30), 7),
    Rule("backups elsewhere too", ELSEWHERE, ("crossBackupRegion",), lambda v: v not in (ABSENT, HOME), "cn-hangzhou"),
    Rule("logs elsewhere too", ELSEWHERE, ("logBackupEnabled",), equals("Enable"), "Disabled"),
    Rule("cache asks who", CACHE, ("vpcAuthMode",), equals("Open"), "Close"),
    Rule("cache TLS", CACHE, ("sslEnable",), equals("Enable"), "Disable"),
    Rule("cache over two zones", CACHE, ("secondaryZoneId",), is_set, ABSENT),
    Rule("cache whitelist", CACHE, ("securityIps",), no_open_list, ["0.0.0.0/0"]),
    Rule("cache kept", CACHE, ("instanceReleaseProtection",), equals(True), False),
    Rule("bucket private", "alicloud:oss/bucketAcl:BucketAcl", ("acl",), equals("private"), "public-read"),
    Rule(
        "bucket blocks the public",
        "alicloud:oss/bucketPublicAccessBlock:BucketPublicAccessBlock",
        ("blockPublicAccess",),
        equals(True),
        False,
    ),
    Rule("bucket by TLS", "alicloud:oss/bucketPolicy:BucketPolicy", ("policy",), denies_plain_http, OPEN_BUCKET),
    Rule(
        "bucket keeps versions",
        "alicloud:oss/bucketVersioning:BucketVersioning",
        ("status",),
        equals("Enabled"),
        "Suspended",
    ),
    Rule(
        "bucket encrypted",
        "alicloud:oss/bucketServerSideEncryption:BucketServerSideEncryption",
        ("sseAlgorithm",),
        equals("KMS"),
        "AES256",
    ),
    Rule("bucket over zones", "alicloud:oss/bucket:Bucket", ("redundancyType",), equals("ZRS"), "LRS"),
    Rule("trail on", "alicloud:actiontrail/trail:Trail", ("status",), equals("Enable"), ABSENT),
    Rule("trail whole", "alicloud:actiontrail/trail:Trail", ("eventRw",), equals("All"), "Write"),
    Rule("trail everywhere", "alicloud:actiontrail/trail:Trail", ("trailRegion",), equals("All"), "cn-hangzhou"),
    Rule("logs half a year", "alicloud:log/store:Store", ("retentionPeriod",), at_least(180), 30),
    Rule("logs encrypted", "alicloud:log/store:Store", ("encryptConf", "enable"), equals(True), False),
    Rule("balancer over two zones", BALANCER, ("zoneMappings",), lambda v: len(v) >= 2, [{}]),
    Rule("web firewall", BALANCER, ("loadBalancerEdition",), equals("StandardWithWaf"), "Basic"),
    Rule("balancer kept", BALANCER, ("deletionProtectionEnabled",), equals(True), False),
    Rule("HTTPS", LISTENER, ("listenerProtocol",), equals("HTTPS"), "HTTP"),
    Rule("TLS 1.2 or newer", LISTENER, ("securityPolicyId",), lambda v: "1_2" in str(v), "tls_cipher_policy_1_0"),
    Rule("key rotates", "alicloud:kms/key:Key", ("automaticRotation",), equals("Enabled"), "Disabled"),
    Rule("key kept", "alicloud:kms/key:Key", ("deletionProtection",), equals("Enabled"), "Disabled"),
    Rule("no power over everything", "alicloud:ram/policy:Policy", ("policyDocument",), no_full_access, FULL_ACCESS),
]

BANNED = {
    "alicloud:rds/connection:Connection",
    "alicloud:kvstore/connection:Connection",
    "alicloud:ecs/disk:Disk",
    "alicloud:ecs/diskAttachment:DiskAttachment",
    "alicloud:ecs/keyPair:KeyPair",
    "alicloud:ecs/keyPairAttachment:KeyPairAttachment",
    "alicloud:ecs/launchTemplate:LaunchTemplate",
    "alicloud:ecs/snapshot:Snapshot",
    "alicloud:ecs/snapshotPolicy:SnapshotPolicy",
    "alicloud:ecs/eip:Eip",
    "alicloud:rds/account:Account",
    "alicloud:ram/groupMembership:GroupMembership",
    "alicloud:ram/roleAttachment:RoleAttachment",
    "alicloud:vpc/subnet:Subnet",
    "alicloud:vpc/networkAclEntries:NetworkAclEntries",
    "alicloud:vpc/networkAclAttachment:NetworkAclAttachment",
    "alicloud:vpc/networkInterface:NetworkInterface",
    "alicloud:actiontrail/trailDeprecated:TrailDeprecated",
    "alicloud:log/ossShipper:OssShipper",
    "alicloud:cas/certificate:Certificate",
    "alicloud:slb/loadBalancer:LoadBalancer",
}


def banned(resources: Iterable[Declared]) -> list[str]:
    return [
        f"{resource.type}: {resource.name}"
        for resource in resources
        if resource.type in BANNED or resource.type.startswith("alicloud:waf/")
    ]


@cache
def deprecated_fields(type_: str) -> frozenset[str]:
    """Inputs that the SDK's own class calls deprecated: in its documentation or in its code."""
    _, path, class_name = type_.split(":")
    cls = getattr(import_module(f"pulumi_alicloud.{path.split('/')[0]}"), class_name)
    declared = vars(inspect.getmodule(cls))
    arguments = declared.get(f"{class_name}InitArgs") or declared[f"{class_name}Args"]
    lines = inspect.getsource(arguments.__init__).splitlines()
    documented = {
        line.split("]")[-1].split(":")[0].strip()
        for line in lines
        if ":param" in line and "has been deprecated" in line.split(": ", 1)[-1][:120]
    }
    warned = {line.split('"')[1] for line in lines if "pulumi.log.warn" in line and "is deprecated" in line}
    return frozenset(camel(name) for name in documented | {text.split(" ")[0] for text in warned})


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def old_fields(resources: Iterable[Declared]) -> list[str]:
    return [
        f"{resource.type}.{field}: {resource.name}"
        for resource in resources
        if resource.type.startswith("alicloud:")
        for field in sorted(deprecated_fields(resource.type) & set(resource.inputs))
    ]


def open_administration(resources: Iterable[Declared]) -> list[str]:
    """Ports of operators and databases open to addresses instead of to a group."""
    return [
        f"{resource.inputs['portRange']} from {resource.inputs['cidrIp']}: {resource.name}"
        for resource in resources
        if resource.type == RULE_OF_GROUP
        and resource.inputs["portRange"].split("/")[0] in ADMINISTRATION
        and "cidrIp" in resource.inputs
    ]


def metrics_for_others(resources: Iterable[Declared], monitoring_group: str) -> list[str]:
    """Rules that let anybody but the monitoring hosts reach metrics, or a range of ports."""
    violations = []
    for resource in resources:
        if resource.type != RULE_OF_GROUP or resource.inputs.get("sourceSecurityGroupId") == monitoring_group:
            continue
        first, last = (int(end) for end in resource.inputs["portRange"].split("/"))
        metrics = any(first <= port <= last for port in (*EXPORTERS.values(), GATEWAY_METRICS_PORT))
        if metrics or first != last:
            violations.append(f"{first}/{last}: {resource.name}")
    return violations


def in_group(resources: Iterable[Declared], group: str) -> list[str]:
    return [
        resource.name for resource in resources if resource.type == ECS and group in resource.inputs["securityGroups"]
    ]


def doors_for_strangers(resources: Iterable[Declared]) -> list[str]:
    """Databases and caches that let in a group of another stack: no host opens another cell's."""
    declared = list(resources)
    own = {
        f"id-of-{resource.name}" for resource in declared if resource.type == "alicloud:ecs/securityGroup:SecurityGroup"
    }
    doors = []
    for resource in declared:
        if resource.type == RDS:
            doors += [f"{group}: {resource.name}" for group in set(resource.inputs["securityGroupIds"]) - own]
        if resource.type == CACHE:
            groups = set(resource.inputs["securityGroupId"].split(","))
            doors += [f"{group}: {resource.name}" for group in groups - own]
    return doors


def without_tenant(resources: Iterable[Declared], codes: Iterable[str]) -> list[str]:
    """Resources named after a tenant that do not carry its code in what the cloud gets to see."""
    names = []
    for resource in resources:
        code = next((code for code in codes if resource.name.startswith(f"t{code}")), None)
        if code is None or not resource.custom:
            continue
        tags = resource.inputs.get("tags")
        carried = tags.get("tenant") == code if tags else code in json.dumps(resource.inputs)
        if not carried:
            names.append(resource.name)
    return names
