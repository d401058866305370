"""Databases: instances, their accounts, databases and grants."""

from __future__ import annotations

from infra.local.cloud.specs.accounts import PASSWORD_RULE, password_fault
from infra.local.cloud.specs.databases import (
    ACCOUNT_NAME_RULE,
    DATABASE_NAME_RULE,
    STORAGE_GB,
    DatabaseAccountSpec,
    DatabaseInstanceSpec,
    DatabaseSpec,
    GrantSpec,
    account_name_fault,
    database_name_fault,
    storage_fault,
)
from infra.local.plugin.rules import ClassRules, Failure, known, number, on, one_of, tags, text, whole
from infra.local.plugin.shapes import AnyRecord, KeptClass, RealClass, listed, switched, with_commas
from infra.local.plugin.values import Values

INSTANCE = "alicloud:rds/instance:Instance"
ACCOUNT = "alicloud:rds/rdsAccount:RdsAccount"
DATABASE = "alicloud:rds/database:Database"
PRIVILEGE = "alicloud:rds/accountPrivilege:AccountPrivilege"
BACKUP = "alicloud:rds/backupPolicy:BackupPolicy"
PARAMETERS = "alicloud:rds/rdsParameterGroup:RdsParameterGroup"
OLD_ACCOUNT = "alicloud:rds/account:Account"
CONNECTION = "alicloud:rds/connection:Connection"
KMS_KEY = "alicloud:kms/key:Key"
SQL_LOG_DAYS = (30, 180, 365, 1095, 1825)
ENGINES = ("MySQL", "SQLServer", "PostgreSQL", "MariaDB")


def _parameters_once(inputs: Values) -> Failure | None:
    if inputs.get("parameters") and inputs.get("dbParamGroupId"):
        return Failure("parameters", "cannot be together with dbParamGroupId: each would undo the other")
    return None


def _second_zone(inputs: Values) -> Failure | None:
    if inputs.get("category") != "HighAvailability" or not known(inputs, "vswitchId", "zoneIdSlaveA"):
        return None
    switches = str(inputs["vswitchId"]).split(",")
    if inputs.get("zoneIdSlaveA") != inputs.get("zoneId") and len(switches) < 2:
        return Failure("vswitchId", "names one vSwitch; over two zones it is a list with a comma, one for each zone")
    return None


def _encryption(inputs: Values) -> Failure | None:
    if inputs.get("encryptionKey") is not None and inputs.get("roleArn") is None:
        return Failure("roleArn", "is required together with encryptionKey")
    return None


def _grant(inputs: Values) -> Failure | None:
    """One owner for a database, and no other right on PostgreSQL. The engine is known by the instance alone."""
    if known(inputs, "privilege") and inputs["privilege"] not in (
        "ReadOnly",
        "ReadWrite",
        "DDLOnly",
        "DMLOnly",
        "DBOwner",
    ):
        return Failure("privilege", "must be one of ReadOnly, ReadWrite, DDLOnly, DMLOnly, DBOwner")
    return None


def _log_retention(inputs: Values) -> Failure | None:
    """The real provider lowers it without a word: refused here, so that nobody counts on logs that are gone."""
    if not known(inputs, "logBackupRetentionPeriod", "backupRetentionPeriod"):
        return None
    if inputs["logBackupRetentionPeriod"] <= inputs["backupRetentionPeriod"]:
        return None
    return Failure("logBackupRetentionPeriod", "is longer than backupRetentionPeriod, and would be cut to it")


def _instance(record: AnyRecord) -> Values:
    attributes = record.attributes
    return {
        "connectionString": attributes.get("connection_string", ""),
        "port": str(attributes.get("port", "")),
        "status": attributes.get("status", "Running"),
    }


RULES: dict[str, ClassRules] = {
    INSTANCE: ClassRules(
        INSTANCE,
        rules=(
            one_of("engine", "[P] db_instance", *ENGINES),
            text("instanceName", "[P] db_instance", shortest=2, longest=255, says="2 to 255 characters"),
            one_of("category", "[P] db_instance", "Basic", "HighAvailability", "AlwaysOn", "Finance", "cluster"),
            one_of("instanceChargeType", "[P] db_instance", "Postpaid", "Prepaid", "Serverless"),
            one_of(
                "dbInstanceStorageType",
                "[P] db_instance",
                *("local_ssd", "cloud_ssd", "cloud_essd", "cloud_essd2", "cloud_essd3", "general_essd"),
            ),
            one_of("sslAction", "[P] db_instance", "Open", "Close", "Update"),
            one_of("sqlCollectorStatus", "[P] db_instance", "Enabled", "Disabled"),
            one_of("sqlCollectorConfigValue", "[P] db_instance", *SQL_LOG_DAYS),
            on("instanceStorage", f"{STORAGE_GB} GB, in steps of 5", "[P] db_instance", storage_fault),
            whole("parameters or dbParamGroupId, not both", "[P] db_instance", _parameters_once),
            whole("a vSwitch for each zone", "#2845, #2940 [S]", _second_zone),
            whole("roleArn with encryptionKey", "[P] db_instance", _encryption),
            tags("[P] db_instance; [A]", longest_key=64),
        ),
        replace=frozenset({"zoneId", "zoneIdSlaveA", "zoneIdSlaveB", "vpcId"}),
        replace_source="[S] resource_alicloud_db_instance.go",
        secrets=frozenset({"serverKey"}),
        refers={"encryptionKey": KMS_KEY},
    ),
    ACCOUNT: ClassRules(
        ACCOUNT,
        rules=(
            on("accountName", ACCOUNT_NAME_RULE, "[P] rds_account", account_name_fault),
            on("accountPassword", PASSWORD_RULE, "[P] rds_account", password_fault),
            one_of("accountType", "[P] rds_account", "Normal", "Super", "Sysadmin"),
            text("accountDescription", "[P] rds_account", shortest=2, longest=256, says="2 to 256 characters"),
        ),
        replace=frozenset({"name", "type", "instanceId"}),
        replace_source="[S] resource_alicloud_rds_account.go",
    ),
    DATABASE: ClassRules(
        DATABASE,
        rules=(
            on("dataBaseName", DATABASE_NAME_RULE, "[P] db_database", database_name_fault),
            text("description", "[P] db_database", shortest=2, longest=256, says="2 to 256 characters"),
        ),
        replace=frozenset({"name"}),
        replace_source="[S] resource_alicloud_db_database.go",
    ),
    PRIVILEGE: ClassRules(
        PRIVILEGE,
        rules=(whole("a right that exists", "[P] db_account_privilege", _grant),),
        replace=frozenset({"privilege"}),
        replace_source="[S] resource_alicloud_db_account_privilege.go",
    ),
    BACKUP: ClassRules(
        BACKUP,
        rules=(
            number("backupRetentionPeriod", "[P] db_backup_policy", 7, 730),
            number("logBackupRetentionPeriod", "[P] db_backup_policy", 7, 730),
            text(
                "preferredBackupTime",
                "[P] db_backup_policy",
                pattern=r"([01]\d|2[0-3]):00Z-([01]\d|2[0-3]):00Z",
                says="a full hour, for example 18:00Z-19:00Z",
            ),
            one_of(
                "preferredBackupPeriods[]",
                "[P] db_backup_policy",
                *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
            ),
            whole("log retention within data retention", "[P] db_backup_policy", _log_retention),
        ),
        replace=frozenset({"instanceId"}),
        replace_source="[S] resource_alicloud_db_backup_policy.go",
        refers={"instanceId": INSTANCE},
    ),
    PARAMETERS: ClassRules(
        PARAMETERS,
        replace=frozenset({"engine", "engineVersion"}),
        replace_source="[S] resource_alicloud_rds_parameter_group.go",
    ),
    OLD_ACCOUNT: ClassRules(OLD_ACCOUNT, refused="is retired: use rds.RdsAccount [D]"),
    CONNECTION: ClassRules(
        CONNECTION, refused="makes an endpoint on the internet [P]: use the instance's connectionString in the network"
    ),
}


CLASSES: dict[str, KeptClass | RealClass] = {
    INSTANCE: RealClass(
        DatabaseInstanceSpec,
        {
            "instanceType": "instance_class",
            "engine": "engine",
            "engineVersion": "engine_version",
            "instanceStorage": "storage_gb",
            "vswitchId": with_commas("switch_ids"),
            "securityIps": listed("security_ips"),
            "securityGroupIds": listed("security_group_ids"),
            "sslAction": switched("ssl", "Open", "Close"),
            "deletionProtection": "deletion_protection",
            "instanceName": "name",
            "tags": "tags",
        },
        more=lambda inputs, _: {
            "parameters": {parameter["name"]: parameter["value"] for parameter in inputs.get("parameters", [])}
        },
        outputs=_instance,
        in_place=frozenset({"engineVersion"}),
    ),
    ACCOUNT: RealClass(
        DatabaseAccountSpec,
        {
            "dbInstanceId": "instance_id",
            "accountName": "account_name",
            "accountType": "account_type",
            "accountPassword": "password",
            "accountDescription": "description",
        },
        outputs=lambda record: {"status": "Available"},
        id_of=lambda record: f"{record.spec.instance_id}:{record.spec.account_name}",
    ),
    DATABASE: RealClass(
        DatabaseSpec,
        {
            "instanceId": "instance_id",
            "dataBaseName": "database_name",
            "characterSet": "character_set",
            "description": "description",
        },
        outputs=lambda record: {"status": "Running"},
        id_of=lambda record: f"{record.spec.instance_id}:{record.spec.database_name}",
    ),
    PRIVILEGE: RealClass(
        GrantSpec,
        {
            "instanceId": "instance_id",
            "accountName": "account_name",
            "dbNames": listed("database_names"),
        },
        # The provider's own default, which PostgreSQL does not take.
        more=lambda inputs, _: {"privilege": inputs.get("privilege", "ReadOnly")},
        id_of=lambda record: f"{record.spec.instance_id}:{record.spec.account_name}:{record.spec.privilege}",
    ),
    BACKUP: KeptClass(make_id=lambda _, inputs: str(inputs["instanceId"])),
}
