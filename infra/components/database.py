"""A cell's PostgreSQL instance, and the chain that makes a database in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import rds

from infra.names import owner_account

PRIVILEGED_ACCOUNT = "yiwang_admin"
"""Used by the database role of the playbooks only."""
ENGINE_VERSION = "15.0"
SQL_LOG_DAYS = 180


@dataclass(frozen=True)
class DatabaseArgs:
    physical_name: str
    instance_class: str
    storage_gib: int
    zones: pulumi.Output[Sequence[str]]
    vswitch_ids: pulumi.Output[Sequence[str]]
    security_group_ids: Sequence[pulumi.Input[str]]
    resource_group_id: pulumi.Input[str]
    key_id: pulumi.Input[str]
    account_id: pulumi.Input[str]
    backup_retention_days: int
    backup_region: str
    """A second region that also keeps the backups; empty: none."""
    privileged_password: pulumi.Input[str]
    deletion_protection: bool


class Database(pulumi.ComponentResource):
    """An instance over two zones, its backups and its one privileged account; `OwnedDatabase` declares databases."""

    def __init__(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Database", name, None, opts)
        self.instance = rds.Instance(
            f"{name}-instance",
            instance_name=args.physical_name,
            engine="PostgreSQL",
            engine_version=ENGINE_VERSION,
            category="HighAvailability",
            instance_type=args.instance_class,
            instance_storage=args.storage_gib,
            db_instance_storage_type="cloud_essd",
            instance_charge_type="Postpaid",
            zone_id=args.zones[0],
            zone_id_slave_a=args.zones[1],
            vswitch_id=args.vswitch_ids.apply(lambda ids: ",".join(ids)),
            security_group_ids=args.security_group_ids,
            resource_group_id=args.resource_group_id,
            db_time_zone="Asia/Shanghai",
            ssl_action="Open",
            ca_type="aliyun",
            encryption_key=args.key_id,
            role_arn=pulumi.Output.concat("acs:ram::", args.account_id, ":role/aliyunrdsinstanceencryptiondefaultrole"),
            sql_collector_status="Enabled",
            sql_collector_config_value=SQL_LOG_DAYS,
            deletion_protection=args.deletion_protection,
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create="100m", update="100m", delete="40m")
            ),
        )
        backup = rds.BackupPolicy(
            f"{name}-backup",
            instance_id=self.instance.id,
            preferred_backup_periods=["Monday", "Wednesday", "Friday", "Sunday"],
            preferred_backup_time="18:00Z-19:00Z",
            backup_retention_period=args.backup_retention_days,
            enable_backup_log=True,
            log_backup_retention_period=args.backup_retention_days,
            opts=pulumi.ResourceOptions(parent=self),
        )
        settled: pulumi.Resource = backup
        if args.backup_region:
            settled = rds.RdsInstanceCrossBackupPolicy(
                f"{name}-backup-elsewhere",
                instance_id=self.instance.id,
                cross_backup_region=args.backup_region,
                retention=args.backup_retention_days,
                log_backup_enabled="Enable",
                opts=pulumi.ResourceOptions(parent=self, depends_on=[backup]),
            )
        self.privileged = rds.RdsAccount(
            f"{name}-privileged",
            db_instance_id=self.instance.id,
            account_name=PRIVILEGED_ACCOUNT,
            account_password=args.privileged_password,
            account_type="Super",
            account_description="database role of the playbooks",
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[settled], custom_timeouts=pulumi.CustomTimeouts(delete="10m")
            ),
        )
        self.register_outputs({})


@dataclass(frozen=True)
class OwnedDatabaseArgs:
    instance_id: pulumi.Input[str]
    database: str
    owner_password: pulumi.Input[str]
    description: str
    after: pulumi.Resource | None
    """The last thing done to the same instance: it takes one operation at a time."""


class OwnedDatabase(pulumi.ComponentResource):
    """Owner account → database → grant. `last` is what the next chain on the instance waits for."""

    def __init__(self, name: str, args: OwnedDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:OwnedDatabase", name, None, opts)
        owner = rds.RdsAccount(
            f"{name}-owner",
            db_instance_id=args.instance_id,
            account_name=owner_account(args.database),
            account_password=args.owner_password,
            account_type="Normal",
            account_description=args.description,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.after] if args.after else None,
                custom_timeouts=pulumi.CustomTimeouts(delete="10m"),
            ),
        )
        # The database goes before its owner does: an account cannot be dropped while it owns one.
        database = rds.Database(
            f"{name}-database",
            instance_id=args.instance_id,
            data_base_name=args.database,
            character_set="UTF8,C,en_US.utf8",
            description=args.description,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[owner],
                custom_timeouts=pulumi.CustomTimeouts(create="10m", delete="10m"),
            ),
        )
        self.last = rds.AccountPrivilege(
            f"{name}-grant",
            instance_id=args.instance_id,
            account_name=owner.account_name,
            db_names=[database.data_base_name],
            privilege="DBOwner",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[database]),
        )
        self.register_outputs({})
