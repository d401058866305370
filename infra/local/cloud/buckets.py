"""OSS and RAM: buckets, users, policies and access keys. The object store itself is in `object_store`."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from infra.local.cloud.errors import CloudError, Missing, refuse
from infra.local.cloud.kind import Kind
from infra.local.cloud.object_store import ObjectStore
from infra.local.cloud.records import Record
from infra.local.cloud.specs.buckets import (
    BUCKET_NAME,
    KEY_STATES,
    POLICY_NAME,
    USER_NAME,
    AccessKeySpec,
    BucketSpec,
    PolicyAttachmentSpec,
    PolicySpec,
    UserSpec,
    policy_fault,
    policy_size_fault,
)


class _Stored(Kind[Any]):
    """Kinds whose change is a change of the object store's accounts or policies."""

    def after_change(self, record: Record[Any]) -> None:
        self.context.renew_object_store()


class Buckets(_Stored):
    name = "Bucket"
    prefix = "bkt"
    spec_type = BucketSpec
    quota = 100  # an account and region
    not_found = "NoSuchBucket"

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore(self.context)

    def physical(self, spec: BucketSpec) -> str:
        return spec.bucket

    def check(self, record: Record[BucketSpec]) -> None:
        spec = record.spec
        refuse("InvalidBucketName", f"bucket {spec.bucket!r}", BUCKET_NAME.fault(spec.bucket))
        if spec.versioning not in ("", "Enabled", "Suspended"):
            raise CloudError("InvalidArgument", f"bucket {spec.bucket}: versioning {spec.versioning!r}")

    def realise(self, record: Record[BucketSpec]) -> Mapping[str, Any]:
        self.objects.make_run()
        self.objects.make_bucket(record.spec.bucket, record.spec.versioning)
        settings = self.context.settings
        return {
            "endpoint": self.objects.endpoint,
            "location": f"oss-{settings.region}",
            "url": f"{self.objects.scheme}://{record.spec.bucket}.{self.objects.authority}",
        }

    def observe(self, record: Record[BucketSpec]) -> Record[BucketSpec] | None:
        if self.context.stopped:
            return record
        return record if self.objects.bucket_exists(record.spec.bucket) else None

    def withdraw(self, record: Record[BucketSpec]) -> None:
        self.objects.remove_bucket(record.spec.bucket, record.spec.force_destroy)


class Users(_Stored):
    name = "User"
    prefix = "usr"
    spec_type = UserSpec
    quota = 5000
    not_found = "EntityNotExist.User"

    def physical(self, spec: UserSpec) -> str:
        return spec.name

    def check(self, record: Record[UserSpec]) -> None:
        name = record.spec.name
        refuse("InvalidParameter.UserName.InvalidChars", f"user {name!r}", USER_NAME.fault(name))

    def realise(self, record: Record[UserSpec]) -> Mapping[str, Any]:
        # A user's id is a number of 18 digits; policies are attached by name.
        return {"user_id": "2" + f"{int(hashlib.sha256(record.id.encode()).hexdigest(), 16) % 10**17:017}"}


class Policies(_Stored):
    name = "Policy"
    prefix = "pol"
    spec_type = PolicySpec
    quota = 1500
    not_found = "EntityNotExist.Policy"

    def physical(self, spec: PolicySpec) -> str:
        return spec.name

    def check(self, record: Record[PolicySpec]) -> None:
        spec = record.spec
        refuse("InvalidParameter.PolicyName.InvalidChars", f"policy {spec.name!r}", POLICY_NAME.fault(spec.name))
        refuse("LimitExceeded.Policy.Document", f"policy {spec.name}", policy_size_fault(spec.document))
        refuse("MalformedPolicyDocument", f"policy {spec.name}", policy_fault(spec.document))


class PolicyAttachments(_Stored):
    name = "PolicyAttachment"
    prefix = "pat"
    spec_type = PolicyAttachmentSpec
    not_found = "EntityNotExist.User.Policy"

    def physical(self, spec: PolicyAttachmentSpec) -> str:
        return f"{spec.policy_type}:{spec.policy_name}:{spec.user_name}"

    def check(self, record: Record[PolicyAttachmentSpec]) -> None:
        spec = record.spec
        if self.store.by_physical("User", spec.user_name) is None:
            raise Missing("EntityNotExist.User", f"user {spec.user_name} does not exist")
        if spec.policy_type == "Custom" and self.store.by_physical("Policy", spec.policy_name) is None:
            raise Missing("EntityNotExist.Policy", f"policy {spec.policy_name} does not exist")
        others = [
            attachment
            for attachment in self.list()
            if attachment.spec.user_name == spec.user_name and attachment.id != record.id
        ]
        if len(others) >= 10:
            raise CloudError("LimitExceeded.User.Policy", f"user {spec.user_name} has 10 custom policies, the quota")


class AccessKeys(_Stored):
    """Attributes: `access_key_id`, and `secret_access_key`, which is encrypted at rest."""

    name = "AccessKey"
    prefix = "ak"
    spec_type = AccessKeySpec
    not_found = "EntityNotExist.User.AccessKey"

    def check(self, record: Record[AccessKeySpec]) -> None:
        spec = record.spec
        if self.store.by_physical("User", spec.user_name) is None:
            raise Missing("EntityNotExist.User", f"user {spec.user_name} does not exist")
        if spec.status not in KEY_STATES:
            raise CloudError("InvalidParameter.Status", f"access key {record.owner.name}: {spec.status!r}")
        others = [key for key in self.list() if key.spec.user_name == spec.user_name and key.id != record.id]
        if len(others) >= 2:
            raise CloudError("LimitExceeded.User.AccessKey", f"user {spec.user_name} has two access keys, the quota")

    def realise(self, record: Record[AccessKeySpec]) -> Mapping[str, Any]:
        digest = hashlib.sha256(record.id.encode()).hexdigest()
        return {
            "access_key_id": record.attributes.get("access_key_id") or f"LTAI{digest[:20]}",
            "secret_access_key": record.attributes.get("secret_access_key") or secrets.token_hex(15),
        }
