"""Buckets and the parts that are resources of their own."""

from __future__ import annotations

import json
from typing import Any

from infra.local.cloud.specs.buckets import BUCKET_NAME, BucketSpec
from infra.local.plugin.invokes import ACCOUNT
from infra.local.plugin.rules import ClassRules, Verdict, form, json_document, on, one_of, tags, text
from infra.local.plugin.shapes import AnyRecord, KeptClass, RealClass
from infra.local.plugin.values import Values

BUCKET = "alicloud:oss/bucket:Bucket"
ACL = "alicloud:oss/bucketAcl:BucketAcl"
VERSIONING = "alicloud:oss/bucketVersioning:BucketVersioning"
POLICY = "alicloud:oss/bucketPolicy:BucketPolicy"
PUBLIC_ACCESS_BLOCK = "alicloud:oss/bucketPublicAccessBlock:BucketPublicAccessBlock"
ENCRYPTION = "alicloud:oss/bucketServerSideEncryption:BucketServerSideEncryption"
HTTPS = "alicloud:oss/bucketHttpsConfig:BucketHttpsConfig"
LOGGING = "alicloud:oss/bucketLogging:BucketLogging"
KMS_KEY = "alicloud:kms/key:Key"
MOST_POLICY_BYTES = 16 * 1024
PARTS = (ACL, VERSIONING, POLICY, PUBLIC_ACCESS_BLOCK, ENCRYPTION, HTTPS, LOGGING)


def _bucket(record: AnyRecord) -> Values:
    """Endpoints without the scheme, as the cloud tells them."""
    endpoint = str(record.attributes.get("endpoint", "")).partition("://")[2]
    return {
        "location": record.attributes.get("location", ""),
        "intranetEndpoint": endpoint,
        "extranetEndpoint": endpoint,
        "owner": ACCOUNT,
    }


def _not_public(value: Any) -> Verdict:
    """A bucket made by the API blocks public access by itself since 13 October 2025: the cloud answers AccessDenied."""
    if value in ("public-read", "public-read-write"):
        return f"is {value}: buckets block public access, so the cloud refuses it; use private"
    return None if value == "private" else f"is {value!r}; allowed: private"


def _statements(value: Any) -> Verdict:
    try:
        parsed = json.loads(value)
    except (TypeError, ValueError):
        return None
    if not isinstance(parsed, dict) or not isinstance(parsed.get("Statement"), list):
        return "has no list of statements: {'Version': '1', 'Statement': [...]}"
    for number, statement in enumerate(parsed["Statement"]):
        absent = [name for name in ("Effect", "Action", "Resource", "Principal") if name not in statement]
        if absent:
            return f"statement {number} lacks {', '.join(absent)}"
    return None


def _part(
    page: str, *rules: Any, replace: frozenset[str] = frozenset({"bucket"}), token: str, **refers: str
) -> ClassRules:
    return ClassRules(
        token,
        rules=rules,
        replace=replace,
        replace_source=f"[S] resource_alicloud_{page}.go",
        refers={"bucket": BUCKET, **refers},
    )


RULES: dict[str, ClassRules] = {
    BUCKET: ClassRules(
        BUCKET,
        rules=(
            form("bucket", "[P] oss_bucket", BUCKET_NAME),
            one_of("storageClass", "[P] oss_bucket", "Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive"),
            one_of("redundancyType", "[P] oss_bucket", "LRS", "ZRS"),
            on("acl", "private", "[A] put-bucket", _not_public),
            tags("[P] oss_bucket"),
        ),
        replace_source="[S] resource_alicloud_oss_bucket.go",
    ),
    ACL: _part("oss_bucket_acl", on("acl", "private", "[A] put-bucket", _not_public), token=ACL),
    VERSIONING: _part(
        "oss_bucket_versioning",
        one_of("status", "[P] oss_bucket_versioning", "Enabled", "Suspended"),
        token=VERSIONING,
    ),
    POLICY: _part(
        "oss_bucket_policy",
        json_document("policy", "[A] bucket policy", MOST_POLICY_BYTES),
        on("policy", "statements with effect, action, resource, principal", "[A] bucket policy", _statements),
        token=POLICY,
    ),
    PUBLIC_ACCESS_BLOCK: _part("oss_bucket_public_access_block", token=PUBLIC_ACCESS_BLOCK),
    ENCRYPTION: _part(
        "oss_bucket_server_side_encryption",
        one_of("sseAlgorithm", "[P] oss_bucket_server_side_encryption", "KMS", "AES256", "SM4"),
        one_of("kmsDataEncryption", "[P] oss_bucket_server_side_encryption", "SM4"),
        token=ENCRYPTION,
        kmsMasterKeyId=KMS_KEY,
    ),
    HTTPS: _part(
        "oss_bucket_https_config",
        one_of("tlsVersions[]", "[P] oss_bucket_https_config", "TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3"),
        token=HTTPS,
    ),
    LOGGING: _part(
        "oss_bucket_logging",
        text("targetPrefix", "[P] oss_bucket_logging", longest=1023, says="up to 1023 characters"),
        token=LOGGING,
        targetBucket=BUCKET,
    ),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    BUCKET: RealClass(
        BucketSpec,
        {
            "bucket": "bucket",
            "storageClass": "storage_class",
            "redundancyType": "redundancy_type",
            "forceDestroy": "force_destroy",
            "tags": "tags",
        },
        outputs=_bucket,
        id_of=lambda record: str(record.spec.bucket),
    ),
    **{part: KeptClass(make_id=lambda _, inputs: str(inputs["bucket"])) for part in PARTS},
}
