"""Caches and their accounts."""

from __future__ import annotations

from infra.local.plugin.binding import KeptClass
from infra.local.plugin.products.rds import strong_password
from infra.local.plugin.realised import AnyRecord, RealClass, listed, with_commas
from infra.local.plugin.rules import ClassRules, on, one_of, tags, text
from infra.local.plugin.values import Values

INSTANCE = "alicloud:kvstore/instance:Instance"
ACCOUNT = "alicloud:kvstore/account:Account"
CONNECTION = "alicloud:kvstore/connection:Connection"
BACKUP = "alicloud:kvstore/backupPolicy:BackupPolicy"
SECURITY_GROUP = "alicloud:ecs/securityGroup:SecurityGroup"
SWITCH = "alicloud:vpc/switch:Switch"


def _instance(record: AnyRecord) -> Values:
    attributes = record.attributes
    return {
        "connectionDomain": attributes.get("connection_domain", ""),
        "privateConnectionPort": str(attributes.get("port", "")),
        "status": attributes.get("status", "Normal"),
    }


RULES: dict[str, ClassRules] = {
    INSTANCE: ClassRules(
        INSTANCE,
        rules=(
            text("dbInstanceName", "[P] kvstore_instance", shortest=2, longest=256, says="2 to 256 characters"),
            one_of("instanceType", "[P] kvstore_instance", "Redis", "Memcache"),
            one_of("engineVersion", "[P] kvstore_instance", "2.8", "4.0", "5.0", "6.0", "7.0"),
            one_of("paymentType", "[P] kvstore_instance", "PrePaid", "PostPaid"),
            one_of("vpcAuthMode", "[P] kvstore_instance", "Open", "Close"),
            one_of("sslEnable", "[P] kvstore_instance", "Enable", "Disable", "Update"),
            one_of("tdeStatus", "[P] kvstore_instance", "Enabled"),
            on("password", "8 to 32 characters, three of four kinds", "[P] kvstore_instance", strong_password),
            tags("[P] kvstore_instance"),
        ),
        replace=frozenset({"instanceType", "capacity"}),
        replace_source="[S] resource_alicloud_kvstore_instance.go",
        secrets=frozenset({"password", "kmsEncryptedPassword"}),
        refers={"vswitchId": SWITCH, "securityGroupId": SECURITY_GROUP},
    ),
    ACCOUNT: ClassRules(
        ACCOUNT,
        rules=(
            text(
                "accountName",
                "[P] kvstore_account",
                pattern=r"[a-z][a-z0-9_]*",
                longest=100,
                says="up to 100 lower-case letters, digits and underscores, a letter first",
            ),
            on("accountPassword", "8 to 32 characters, three of four kinds", "[P] kvstore_account", strong_password),
            one_of("accountPrivilege", "[P] kvstore_account", "RoleReadOnly", "RoleReadWrite"),
            one_of("accountType", "[P] kvstore_account", "Normal"),
        ),
        replace=frozenset({"accountName", "accountType", "instanceId"}),
        replace_source="[S] resource_alicloud_kvstore_account.go",
    ),
    CONNECTION: ClassRules(
        CONNECTION, refused="makes an endpoint on the internet [P]: use the instance's connectionDomain in the network"
    ),
    BACKUP: ClassRules(BACKUP, refused="is retired: use the instance's backupPeriods and backupTime [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    INSTANCE: RealClass(
        "Cache",
        {
            "instanceClass": "instance_class",
            "engineVersion": "engine_version",
            "vswitchId": "switch_id",
            "securityIps": listed("security_ips"),
            "securityGroupId": with_commas("security_group_ids"),
            "password": "password",
            "instanceReleaseProtection": "release_protection",
            "dbInstanceName": "name",
            "tags": "tags",
        },
        outputs=_instance,
    ),
    ACCOUNT: RealClass(
        "CacheAccount",
        {
            "instanceId": "instance_id",
            "accountName": "account_name",
            "accountPassword": "password",
            "accountPrivilege": "privilege",
            "description": "description",
        },
        outputs=lambda record: {"status": "Available"},
        id_of=lambda record: f"{record.spec.instance_id}:{record.spec.account_name}",
    ),
}
