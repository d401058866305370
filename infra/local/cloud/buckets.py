"""OSS and RAM: buckets, users, policies and access keys. The object store itself is in `object_store`."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.object_store import ObjectStore
from infra.local.cloud.records import Record, fixed

_BUCKET = re.compile(r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")
_RAM_NAME = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_POLICY_NAME = re.compile(r"^[A-Za-z0-9-]{1,128}$")


class _Stored(Kind[Any]):
    """Kinds whose change is a change of the object store's accounts or policies."""

    def after_change(self, record: Record[Any]) -> None:
        self.context.renew_object_store()


@dataclass(frozen=True)
class BucketSpec:
    bucket: str = fixed()
    versioning: str = ""  # "", Enabled or Suspended
    storage_class: str = fixed("Standard")
    redundancy_type: str = fixed("LRS")
    force_destroy: bool = False
    tags: Mapping[str, str] | None = None


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
        if not _BUCKET.match(spec.bucket):
            message = f"bucket {spec.bucket!r}: 3 to 63 of a-z, 0-9 and -, not at either end"
            raise CloudError("InvalidBucketName", message)
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


@dataclass(frozen=True)
class UserSpec:
    name: str = ""
    display_name: str = ""
    comments: str = ""
    tags: Mapping[str, str] | None = None


class Users(_Stored):
    name = "User"
    prefix = "usr"
    spec_type = UserSpec
    quota = 5000
    not_found = "EntityNotExist.User"

    def physical(self, spec: UserSpec) -> str:
        return spec.name

    def check(self, record: Record[UserSpec]) -> None:
        if not _RAM_NAME.match(record.spec.name):
            raise CloudError("InvalidParameter.UserName.InvalidChars", f"user {record.spec.name!r}")

    def realise(self, record: Record[UserSpec]) -> Mapping[str, Any]:
        # A user's id is a number of 18 digits; policies are attached by name.
        return {"user_id": "2" + f"{int(hashlib.sha256(record.id.encode()).hexdigest(), 16) % 10**17:017}"}


@dataclass(frozen=True)
class PolicySpec:
    name: str = fixed()
    document: str = ""
    description: str = ""
    tags: Mapping[str, str] | None = None


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
        if not _POLICY_NAME.match(spec.name):
            raise CloudError("InvalidParameter.PolicyName.InvalidChars", f"policy {spec.name!r}")
        if len(spec.document.encode()) > 6144:
            raise CloudError("LimitExceeded.Policy.Document", f"policy {spec.name}: more than 6,144 bytes")
        try:
            statements = json.loads(spec.document)["Statement"]
            complete = all({"Effect", "Action", "Resource"} <= set(statement) for statement in statements)
        except (ValueError, KeyError, TypeError):
            complete = False
        if not complete:
            message = f"policy {spec.name}: no JSON with Statement of Effect, Action and Resource"
            raise CloudError("MalformedPolicyDocument", message)


@dataclass(frozen=True)
class PolicyAttachmentSpec:
    user_name: str = fixed()
    policy_name: str = fixed()
    policy_type: str = fixed("Custom")


class PolicyAttachments(_Stored):
    name = "PolicyAttachment"
    prefix = "pat"
    spec_type = PolicyAttachmentSpec
    not_found = "EntityNotExist.User.Policy"

    def physical(self, spec: PolicyAttachmentSpec) -> str:
        return f"{spec.policy_type}:{spec.policy_name}:{spec.user_name}"

    def further_targets(self, spec: PolicyAttachmentSpec) -> list[str]:
        records = [self.store.by_physical("User", spec.user_name), self.store.by_physical("Policy", spec.policy_name)]
        return [record.id for record in records if record is not None]

    def check(self, record: Record[PolicyAttachmentSpec]) -> None:
        spec = record.spec
        if self.store.by_physical("User", spec.user_name) is None:
            raise CloudError("EntityNotExist.User", f"user {spec.user_name} does not exist")
        if spec.policy_type == "Custom" and self.store.by_physical("Policy", spec.policy_name) is None:
            raise CloudError("EntityNotExist.Policy", f"policy {spec.policy_name} does not exist")
        others = [
            attachment
            for attachment in self.list()
            if attachment.spec.user_name == spec.user_name and attachment.id != record.id
        ]
        if len(others) >= 10:
            raise CloudError("LimitExceeded.User.Policy", f"user {spec.user_name} has 10 custom policies, the quota")


@dataclass(frozen=True)
class AccessKeySpec:
    user_name: str = fixed()
    status: str = "Active"


class AccessKeys(_Stored):
    """Attributes: `access_key_id`, and `secret_access_key`, which is encrypted at rest."""

    name = "AccessKey"
    prefix = "ak"
    spec_type = AccessKeySpec
    not_found = "EntityNotExist.User.AccessKey"

    def further_targets(self, spec: AccessKeySpec) -> list[str]:
        user = self.store.by_physical("User", spec.user_name)
        return [user.id] if user else []

    def check(self, record: Record[AccessKeySpec]) -> None:
        spec = record.spec
        if self.store.by_physical("User", spec.user_name) is None:
            raise CloudError("EntityNotExist.User", f"user {spec.user_name} does not exist")
        if spec.status not in ("Active", "Inactive"):
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
