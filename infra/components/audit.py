"""Who changed what in the account: every call, read or write, of every region, kept in a log project."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_alicloud import actiontrail


@dataclass(frozen=True)
class AuditArgs:
    physical_name: str
    region: str
    account_id: str
    log_project: pulumi.Input[str]


class Audit(pulumi.ComponentResource):
    def __init__(self, name: str, args: AuditArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Audit", name, None, opts)
        actiontrail.Trail(
            f"{name}-trail",
            trail_name=args.physical_name,
            event_rw="All",
            trail_region="All",
            # A trail made by the API does not record until it is told to.
            status="Enable",
            sls_project_arn=pulumi.Output.concat(f"acs:log:{args.region}:{args.account_id}:project/", args.log_project),
            sls_write_role_arn=f"acs:ram::{args.account_id}:role/aliyunserviceroleforactiontrail",
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
