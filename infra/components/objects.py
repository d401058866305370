"""A bucket with everything that is dangerous when left at its default."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
from pulumi_alicloud import oss

PARTS = ["acl", "policy", "versioning", "serverSideEncryptionRule", "logging", "loggingIsenable"]
"""Fields of the bucket that the parts below own: left alone on the bucket, or each would undo the other."""


@dataclass(frozen=True)
class BucketArgs:
    bucket: str | pulumi.Output[str]
    resource_group_id: pulumi.Input[str]
    key_id: pulumi.Input[str]
    log_bucket: pulumi.Input[str] | None
    """Where its access log goes; none: into itself, for the log bucket."""
    may_lose_objects: bool
    """Whether deleting the bucket deletes what is in it."""


class Bucket(pulumi.ComponentResource):
    def __init__(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Bucket", name, None, opts)
        bucket = oss.Bucket(
            f"{name}-bucket",
            bucket=args.bucket,
            storage_class="Standard",
            redundancy_type="ZRS",
            resource_group_id=args.resource_group_id,
            force_destroy=args.may_lose_objects,
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=PARTS),
        )
        self.bucket = bucket.bucket
        child = pulumi.ResourceOptions(parent=self)
        private = oss.BucketPublicAccessBlock(
            f"{name}-public-access-block", bucket=self.bucket, block_public_access=True, opts=child
        )
        oss.BucketAcl(
            f"{name}-acl",
            bucket=self.bucket,
            acl="private",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[private]),
        )
        oss.BucketVersioning(f"{name}-versioning", bucket=self.bucket, status="Enabled", opts=child)
        oss.BucketServerSideEncryption(
            f"{name}-encryption",
            bucket=self.bucket,
            sse_algorithm="KMS",
            kms_master_key_id=args.key_id,
            opts=child,
        )
        oss.BucketPolicy(
            f"{name}-policy", bucket=self.bucket, policy=self.bucket.apply(encrypted_transport_only), opts=child
        )
        oss.BucketHttpsConfig(
            f"{name}-https", bucket=self.bucket, enable=True, tls_versions=["TLSv1.2", "TLSv1.3"], opts=child
        )
        oss.BucketLogging(
            f"{name}-logging",
            bucket=self.bucket,
            target_bucket=args.log_bucket if args.log_bucket is not None else self.bucket,
            target_prefix=pulumi.Output.concat("access/", self.bucket, "/"),
            opts=child,
        )
        self.register_outputs({"bucket": self.bucket})


def encrypted_transport_only(bucket: str) -> str:
    """Denies everybody whatever does not come by TLS; grants nothing."""
    statement = {
        "Effect": "Deny",
        "Action": ["oss:*"],
        "Principal": ["*"],
        "Resource": [f"acs:oss:*:*:{bucket}", f"acs:oss:*:*:{bucket}/*"],
        "Condition": {"Bool": {"acs:SecureTransport": ["false"]}},
    }
    return json.dumps({"Version": "1", "Statement": [statement]}, sort_keys=True)
