"""A cell's cache. An account sees every key of the instance, so it holds only what may be lost and nothing in clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import kvstore

MOST_ACCOUNTS = 18
"""The cloud's limit for an instance."""
PORT = 6379
MONITORING_ACCOUNT = "monitoring"


@dataclass(frozen=True)
class CacheArgs:
    physical_name: str
    instance_class: str
    zones: pulumi.Output[Sequence[str]]
    vswitch_ids: pulumi.Output[Sequence[str]]
    security_group_ids: Sequence[pulumi.Input[str]]
    resource_group_id: pulumi.Input[str]
    passwords: Mapping[str, pulumi.Input[str]]
    """service → password; the account is called like the service."""
    monitoring_password: pulumi.Input[str]
    release_protection: bool


class Cache(pulumi.ComponentResource):
    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Cache", name, None, opts)
        accounts = {
            **{service: (password, "RoleReadWrite") for service, password in args.passwords.items()},
            # Metrics need no write; the cloud's accounts know nothing narrower than every key of the instance.
            MONITORING_ACCOUNT: (args.monitoring_password, "RoleReadOnly"),
        }
        if len(accounts) > MOST_ACCOUNTS:
            raise ValueError(f"cache {name}: {len(accounts)} accounts, an instance takes {MOST_ACCOUNTS}")
        self.instance = kvstore.Instance(
            f"{name}-instance",
            db_instance_name=args.physical_name,
            instance_type="Redis",
            engine_version="7.0",
            instance_class=args.instance_class,
            payment_type="PostPaid",
            zone_id=args.zones[0],
            secondary_zone_id=args.zones[1],
            vswitch_id=args.vswitch_ids[0],
            security_group_id=pulumi.Output.all(*args.security_group_ids).apply(lambda ids: ",".join(ids)),
            resource_group_id=args.resource_group_id,
            vpc_auth_mode="Open",
            ssl_enable="Enable",
            # Full caches forget; they do not refuse.
            config={"maxmemory-policy": "allkeys-lru"},
            instance_release_protection=args.release_protection,
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create="40m", update="80m", delete="40m")
            ),
        )
        previous: pulumi.Resource = self.instance
        for account, (password, privilege) in accounts.items():
            previous = kvstore.Account(
                f"{name}-{account}",
                instance_id=self.instance.id,
                account_name=account,
                account_password=password,
                account_type="Normal",
                account_privilege=privilege,
                description=f"service {account}",
                opts=pulumi.ResourceOptions(parent=self, depends_on=[previous]),
            )
        self.host = self.instance.connection_domain
        self.register_outputs({"host": self.host})
