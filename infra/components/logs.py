"""A log project with encrypted stores; one for the foundation, one for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import log


@dataclass(frozen=True)
class LogProjectArgs:
    project_name: pulumi.Input[str]
    stores: Sequence[str]
    retention_days: pulumi.Input[int]
    resource_group_id: pulumi.Input[str]
    description: str


class LogProject(pulumi.ComponentResource):
    def __init__(self, name: str, args: LogProjectArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:LogProject", name, None, opts)
        self.project = log.Project(
            f"{name}-project",
            project_name=args.project_name,
            description=args.description,
            resource_group_id=args.resource_group_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.project_name = self.project.project_name
        self._stores = {
            store: log.Store(
                f"{name}-{store}",
                # The project's output, not its name as text: a store must not be asked for before its project.
                project_name=self.project.project_name,
                logstore_name=store,
                retention_period=args.retention_days,
                shard_count=2,
                auto_split=True,
                max_split_shard_count=16,
                append_meta=True,
                encrypt_conf=log.StoreEncryptConfArgs(enable=True, encrypt_type="default"),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for store in args.stores
        }
        self.register_outputs({"project_name": self.project_name})

    def store(self, name: str) -> pulumi.Output[str]:
        return self._stores[name].logstore_name
