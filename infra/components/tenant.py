"""One tenant: its database in each cell that the plan names, its prefix of the bucket and a key, its site's name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_alicloud import ram

from infra import names
from infra.components.database import OwnedDatabase, OwnedDatabaseArgs
from infra.components.zones import SiteName, SiteNameArgs


@dataclass(frozen=True)
class TenantArgs:
    code: str
    display_name: str
    label: str
    physical_name: str
    serving: str
    """The cell that its site's name points to."""
    cells: Sequence[str]
    """The cells that hold a database for it: the serving one and, during a move, the one that is preparing."""
    database_instance_ids: dict[str, pulumi.Input[str]]
    balancer_names: dict[str, pulumi.Input[str]]
    owner_password: pulumi.Input[str]
    bucket: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    public_domain: pulumi.Input[str]
    site_zone_id: pulumi.Input[str]
    may_be_forced: bool
    """Whether its identity is deleted with whatever hangs on it."""
    after: dict[str, pulumi.Resource] = field(default_factory=dict)
    """cell → the last thing that this stack does to that cell's instance before this tenant."""


class Tenant(pulumi.ComponentResource):
    """The cell is part of a database's logical name: a move adds one and removes one, and never replaces."""

    def __init__(self, name: str, args: TenantArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Tenant", name, None, opts)
        self._name = name
        self._args = args
        self.last: dict[str, pulumi.Resource] = {}
        """cell → what the next tenant on that cell's instance waits for."""
        for cell in args.cells:
            self.last[cell] = OwnedDatabase(
                f"{name}-{cell}",
                OwnedDatabaseArgs(
                    instance_id=args.database_instance_ids[cell],
                    database=names.tenant_database(args.code),
                    owner_password=args.owner_password,
                    description=args.display_name,
                    after=args.after.get(cell),
                ),
                pulumi.ResourceOptions(parent=self),
            ).last
        self.access_key = self._object_access()
        SiteName(
            f"{name}-site",
            SiteNameArgs(
                label=args.label,
                public_domain=args.public_domain,
                site_zone_id=args.site_zone_id,
                balancer_name=args.balancer_names[args.serving],
                remark=args.code,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})

    def _object_access(self) -> ram.AccessKey:
        args = self._args
        child = pulumi.ResourceOptions(parent=self)
        user = ram.User(
            f"{self._name}-user",
            name=args.physical_name,
            display_name=args.physical_name,
            comments=f"{args.code} {args.display_name}: objects",
            force=args.may_be_forced,
            tags={"tenant": args.code},
            opts=child,
        )
        policy = ram.Policy(
            f"{self._name}-policy",
            policy_name=args.physical_name,
            policy_document=pulumi.Output.all(args.bucket, args.key_arn).apply(
                lambda bucket_and_key: own_prefix_only(
                    bucket_and_key[0], names.tenant_prefix(args.code), bucket_and_key[1]
                )
            ),
            description=f"{args.code} {args.display_name}: its own prefix",
            # A policy keeps five versions; without this the sixth change fails.
            rotate_strategy="DeleteOldestNonDefaultVersionWhenLimitExceeded",
            force=args.may_be_forced,
            tags={"tenant": args.code},
            opts=child,
        )
        attached = ram.UserPolicyAttachment(
            f"{self._name}-attachment",
            # By name: the user's id is a number that attachments do not take.
            user_name=user.name,
            policy_name=policy.policy_name,
            policy_type="Custom",
            opts=child,
        )
        return ram.AccessKey(
            f"{self._name}-access-key",
            user_name=user.name,
            status="Active",
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[attached], additional_secret_outputs=["secret", "encryptedSecret"]
            ),
        )


def own_prefix_only(bucket: str, prefix: str, key_arn: str) -> str:
    """Reads, writes and lists below the prefix, and nothing else of the bucket."""
    statements = [
        {
            "Effect": "Allow",
            "Action": [
                "oss:GetObject",
                "oss:PutObject",
                "oss:DeleteObject",
                "oss:AbortMultipartUpload",
                "oss:ListParts",
            ],
            "Resource": [f"acs:oss:*:*:{bucket}/{prefix}*"],
        },
        {
            "Effect": "Allow",
            "Action": ["oss:ListObjects"],
            "Resource": [f"acs:oss:*:*:{bucket}"],
            "Condition": {"StringLike": {"oss:Prefix": [f"{prefix}*"]}},
        },
        {"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": [key_arn]},
    ]
    return json.dumps({"Version": "1", "Statement": statements}, sort_keys=True)
