"""Caches and their accounts."""

from __future__ import annotations

from infra.local.cloud.specs.accounts import PASSWORD_RULE, password_fault
from infra.local.cloud.specs.caches import ACCOUNT_NAME, RIGHTS, CacheAccountSpec, CacheSpec
from infra.local.plugin.rules import ClassRules, form, on, one_of, tags, text
from infra.local.plugin.shapes import AnyRecord, KeptClass, RealClass, listed, with_commas
from infra.local.plugin.values import Values

INSTANCE = "alicloud:kvstore/instance:Instance"
ACCOUNT = "alicloud:kvstore/account:Account"
CONNECTION = "alicloud:kvstore/connection:Connection"
BACKUP = "alicloud:kvstore/backupPolicy:BackupPolicy"


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
            on("password", PASSWORD_RULE, "[P] kvstore_instance", password_fault),
            tags("[P] kvstore_instance"),
        ),
        replace=frozenset({"instanceType", "capacity"}),
        replace_source="[S] resource_alicloud_kvstore_instance.go",
        secrets=frozenset({"password", "kmsEncryptedPassword"}),
    ),
    ACCOUNT: ClassRules(
        ACCOUNT,
        rules=(
            form("accountName", "[P] kvstore_account", ACCOUNT_NAME),
            on("accountPassword", PASSWORD_RULE, "[P] kvstore_account", password_fault),
            one_of("accountPrivilege", "[P] kvstore_account", *sorted(RIGHTS)),
            one_of("accountType", "[P] kvstore_account", "Normal"),
        ),
        replace=frozenset({"accountType"}),
        replace_source="[S] resource_alicloud_kvstore_account.go",
    ),
    CONNECTION: ClassRules(
        CONNECTION, refused="makes an endpoint on the internet [P]: use the instance's connectionDomain in the network"
    ),
    BACKUP: ClassRules(BACKUP, refused="is retired: use the instance's backupPeriods and backupTime [D]"),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    INSTANCE: RealClass(
        CacheSpec,
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
        in_place=frozenset({"vswitchId"}),
    ),
    ACCOUNT: RealClass(
        CacheAccountSpec,
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
