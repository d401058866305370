"""The object store of an environment: versitygw on files, HAProxy before it for TLS and for what OSS refuses.

Accounts are the access keys of RAM users; the policies attached to a user become statements of each bucket's policy.
OSS refuses bodies in `aws-chunked` encoding and path-style addressing: so does this.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import Context, write_atomically
from infra.local.cloud.errors import CloudError
from infra.local.images import CLOUD_IMAGE

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ROOT_KEY = "yw-cloud"
_ADMIN_PORT = 7071  # path-style, for the machine alone
_CORES, _MEMORY_MIB = 0.5, 256

_OBJECT_ACTIONS: dict[str, tuple[str, ...]] = {
    "oss:GetObject": ("s3:GetObject",),
    "oss:GetObjectMeta": ("s3:GetObject",),
    "oss:HeadObject": ("s3:GetObject",),
    "oss:PutObject": ("s3:PutObject",),
    "oss:DeleteObject": ("s3:DeleteObject",),
    "oss:AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "oss:ListParts": ("s3:ListMultipartUploadParts",),
    "oss:GetObjectVersion": ("s3:GetObjectVersion",),
    "oss:DeleteObjectVersion": ("s3:DeleteObjectVersion",),
    "oss:GetObjectAcl": ("s3:GetObjectAcl",),
    "oss:GetObjectTagging": ("s3:GetObjectTagging",),
    "oss:PutObjectTagging": ("s3:PutObjectTagging",),
    "oss:DeleteObjectTagging": ("s3:DeleteObjectTagging",),
}
_LISTING = ("s3:ListBucket", "s3:ListBucketVersions")
_BUCKET_ACTIONS: dict[str, tuple[str, ...]] = {
    "oss:ListObjects": ("s3:ListBucket",),
    "oss:ListObjectsV2": ("s3:ListBucket",),
    "oss:GetBucket": ("s3:ListBucket",),
    "oss:ListObjectVersions": ("s3:ListBucketVersions",),
    "oss:ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
    "oss:GetBucketInfo": ("s3:GetBucketLocation",),
    "oss:GetBucketLocation": ("s3:GetBucketLocation",),
    "oss:GetBucketVersioning": ("s3:GetBucketVersioning",),
}
_CONDITIONS = {"oss:prefix": "s3:prefix", "oss:delimiter": "s3:delimiter", "acs:currenttime": "aws:CurrentTime"}


# --- policies


def bucket_policy(bucket: str, grants: list[tuple[list[str], dict[str, Any]]]) -> dict[str, Any] | None:
    """The bucket's policy from RAM policies: `grants` are (access keys, policy document); None when nothing applies."""
    statements = []
    for keys, document in grants:
        for statement in document["Statement"]:
            statements += list(_compiled(bucket, keys, statement)) if keys else []
    return {"Version": "2012-10-17", "Statement": statements} if statements else None


def _compiled(bucket: str, keys: list[str], statement: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A RAM statement's part for one bucket: actions on objects and on the bucket are different statements there."""
    resources = [_path(resource) for resource in _listed(statement["Resource"])]
    paths = [path for path in resources if fnmatch.fnmatchcase(bucket, path.partition("/")[0])]
    objects = [f"arn:aws:s3:::{bucket}/{path.partition('/')[2]}" for path in paths if "/" in path]
    objects += [f"arn:aws:s3:::{bucket}/*" for path in paths if path == "*"]
    whole = any("/" not in path for path in paths)
    condition = _condition(statement.get("Condition", {}))
    common = {"Effect": statement["Effect"], "Principal": {"AWS": sorted(keys)}}
    if condition:
        common["Condition"] = condition
    on_objects = _actions(statement["Action"], _OBJECT_ACTIONS)
    on_bucket = _actions(statement["Action"], _BUCKET_ACTIONS)
    narrowed = any(key in ("s3:prefix", "s3:delimiter") for tests in condition.values() for key in tests)
    if objects and on_objects and not narrowed:
        yield {**common, "Action": on_objects, "Resource": objects}
    if narrowed:
        # A test of the prefix says something of listings only.
        on_bucket = [action for action in on_bucket if action in _LISTING]
    if whole and on_bucket:
        yield {**common, "Action": on_bucket, "Resource": [f"arn:aws:s3:::{bucket}"]}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _path(resource: str) -> str:
    """`acs:oss:*:*:bucket/prefix/*` → `bucket/prefix/*`."""
    return re.sub(r"^acs:oss:[^:]*:[^:]*:", "", resource)


def _actions(wanted: Any, actions: dict[str, tuple[str, ...]]) -> list[str]:
    patterns = [pattern.lower() for pattern in _listed(wanted)]
    s3_actions = {
        translated
        for name, translations in actions.items()
        for translated in translations
        if any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in patterns)
    }
    return sorted(s3_actions)


def _condition(condition: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Conditions in the store's words.

    TLS is enforced by the store's own port, so the test of it falls away.

    Raises:
        CloudError: a condition that the store cannot test; granting without it would grant too much.
    """
    translated: dict[str, dict[str, list[str]]] = {}
    for operator, tests in condition.items():
        for key, values in tests.items():
            if key.lower() == "acs:securetransport":
                continue
            if key.lower() not in _CONDITIONS:
                raise CloudError("MalformedPolicyDocument", f"condition key {key!r} is not known to this object store")
            translated.setdefault(operator, {})[_CONDITIONS[key.lower()]] = _listed(values)
    return translated


# --- the store


class ObjectStore:
    def __init__(self, context: Context) -> None:
        self._context = context

    # --- where it is

    @property
    def container_name(self) -> str:
        return self._context.containers.name("object-store")

    @property
    def scheme(self) -> str:
        return "https" if self._context.settings.object_certificate else "http"

    @property
    def port(self) -> int:
        return self._context.settings.object_port or (443 if self.scheme == "https" else 80)

    @property
    def authority(self) -> str:
        plain = self.port == (443 if self.scheme == "https" else 80)
        return self._context.object_domain if plain else f"{self._context.object_domain}:{self.port}"

    @property
    def endpoint(self) -> str:
        """As clients on the network give it; buckets are virtual hosts under it."""
        return f"{self.scheme}://{self.authority}"

    # --- running it

    def make_run(self, seen: Seen | None = None) -> bool:
        with self._context.store.lock("object-store"):
            changed = self._write_settings()
            made = self._context.containers.ensure(self._container(), seen, fresh=changed)
            if made:
                self._wait()
            return made

    def renew(self) -> None:
        """Accounts, then policies that name them. Nothing runs before the first bucket."""
        if self._context.stopped or not self._context.store.count("Bucket"):
            return
        self.make_run()
        with self._context.store.lock("object-store-policies"):
            self._put_policies(self._write_accounts())

    @property
    def _folder(self) -> Path:
        return self._context.folder("object-store")

    def _write_settings(self) -> bool:
        settings = self._context.settings
        # Metadata in files: a bucket's policy names all its tenants, more than an extended attribute holds.
        for name in ("data", "versions", "accounts", "metadata"):
            (self._folder / name).mkdir(exist_ok=True)
        secret = self._context.store.sealed_fact("object-store-root", lambda: secrets.token_hex(20))
        changed = write_atomically(self._folder / "root.env", _environment(secret), mode=0o600)
        if settings.object_certificate:
            pem = Path(settings.object_certificate).read_text() + Path(settings.object_key).read_text()
            changed |= write_atomically(self._folder / "site.pem", pem, mode=0o600)
        with self._context.store.lock("object-store-policies"):
            self._write_accounts()
        text = _HAPROXY.format(
            bind=f"*:{self.port}" + (" ssl crt /store/site.pem" if settings.object_certificate else ""),
            domain=self._context.object_domain,
            gateway=self._context.gateway,
            admin=_ADMIN_PORT,
            region=settings.region,
        )
        return write_atomically(self._folder / "haproxy.cfg", text) or changed

    def _container(self) -> Container:
        options = (
            *self._context.network_options(self._context.object_store),
            *self._context.resolver_options(),
            *("--volume", f"{self._folder}:/store", "--sysctl", "net.ipv4.ip_unprivileged_port_start=0"),
        )
        command = ("haproxy", "-W", "-db", "-f", "/store/haproxy.cfg")
        labels = (("yiwang.service", "object-store"),)
        return Container(
            self.container_name, (CLOUD_IMAGE,), options, command, labels, cores=_CORES, memory_mib=_MEMORY_MIB
        )

    def _wait(self) -> None:
        errors = (ClientError, BotoCoreError, OSError)
        failing = retry_if_exception_type(errors)
        again = retry(stop=stop_after_delay(30), wait=wait_fixed(0.1), retry=failing, reraise=True)
        try:
            again(self.administrator().list_buckets)()
        except errors as error:
            raise self._context.containers.unanswered(self.container_name, "the object store", error) from error

    # --- accounts and policies

    def _write_accounts(self) -> set[str]:
        """Returns the keys that the object store knows now. Under the lock: an older list must not come last."""
        accounts = {
            key.attributes["access_key_id"]: {
                "access": key.attributes["access_key_id"],
                "secret": key.attributes["secret_access_key"],
                "role": "user",
            }
            for key in self._context.store.of_kind("AccessKey")
            if key.spec.status == "Active" and "access_key_id" in key.attributes
        }
        content = json.dumps({"accessAccounts": accounts}, sort_keys=True)
        write_atomically(self._folder / "accounts" / "users.json", content, mode=0o600)
        return set(accounts)

    def _grants(self, accounts: set[str]) -> list[tuple[list[str], dict[str, Any]]]:
        store = self._context.store
        keys: dict[str, list[str]] = {}
        for key in store.of_kind("AccessKey"):
            if key.attributes.get("access_key_id") in accounts:
                keys.setdefault(key.spec.user_name, []).append(key.attributes["access_key_id"])
        documents = {policy.spec.name: json.loads(policy.spec.document) for policy in store.of_kind("Policy")}
        return [
            (keys.get(attachment.spec.user_name, []), documents[attachment.spec.policy_name])
            for attachment in store.of_kind("PolicyAttachment")
            if attachment.spec.policy_name in documents
        ]

    def _put_policies(self, accounts: set[str]) -> None:
        """A policy that names an account which the store does not know yet is refused whole."""
        grants = self._grants(accounts)
        for bucket in self._context.store.of_kind("Bucket"):
            name = bucket.spec.bucket
            policy = bucket_policy(name, grants)
            digest = hashlib.sha256(json.dumps(policy).encode()).hexdigest()
            fact = f"bucket-policy-{name}"
            if not bucket.ready or self._context.store.fact(fact) == digest:
                continue
            client = self.administrator()
            if policy is None:
                client.delete_bucket_policy(Bucket=name)
            else:
                client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
            self._context.store.set_fact(fact, digest)

    # --- buckets

    def administrator(self) -> S3Client:
        """The store's root account, by the way that only the machine has."""
        return self._context.per_thread("object-store", self._connect)

    def _connect(self) -> S3Client:
        client: S3Client = boto3.client(
            "s3",
            endpoint_url=f"http://{self._context.object_store}:{_ADMIN_PORT}",
            region_name=self._context.settings.region,
            aws_access_key_id=_ROOT_KEY,
            aws_secret_access_key=self._context.store.sealed_fact("object-store-root", lambda: secrets.token_hex(20)),
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                retries={"max_attempts": 3},
                connect_timeout=5,
                read_timeout=30,
            ),
        )
        return client

    def make_bucket(self, name: str, versioning: str) -> None:
        client = self.administrator()
        if not self.bucket_exists(name):
            # A new bucket has no policy, whatever an older one of that name had.
            self._context.store.set_fact(f"bucket-policy-{name}", "")
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=name)
        if versioning == "Enabled":
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        elif versioning == "Suspended":
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Suspended"})

    def bucket_exists(self, name: str) -> bool:
        return (self._folder / "data" / name).is_dir()

    def remove_bucket(self, name: str, with_objects: bool) -> None:
        if not self.bucket_exists(name):
            return
        client = self.administrator()
        if with_objects:
            self._empty(name)
        try:
            client.delete_bucket(Bucket=name)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("BucketNotEmpty", "VersionedBucketNotEmpty"):
                raise CloudError(
                    "BucketNotEmpty", f"bucket {name} holds objects: empty it or set force_destroy"
                ) from error
            if code != "NoSuchBucket":
                raise CloudError(code, f"bucket {name}: {error}") from error
        self._context.store.set_fact(f"bucket-policy-{name}", "")

    def _empty(self, name: str) -> None:
        client = self.administrator()
        for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
            for entry in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                client.delete_object(Bucket=name, Key=entry["Key"], VersionId=entry["VersionId"])
        for listing in client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in listing.get("Contents", []):
                client.delete_object(Bucket=name, Key=item["Key"])


def _environment(secret: str) -> str:
    return f"export ROOT_ACCESS_KEY_ID={_ROOT_KEY}\nexport ROOT_SECRET_ACCESS_KEY={secret}\n"


_HAPROXY = """\
global
  log stdout format raw local0 notice
  maxconn 2000

defaults
  mode http
  log global
  timeout connect 5s
  timeout client 5m
  timeout server 5m
  timeout http-keep-alive 30s

program versitygw
  command /bin/sh -c '. /store/root.env; exec versitygw --port 127.0.0.1:7070 --region {region} \
--iam-dir /store/accounts --iam-cache-disable --virtual-domain {domain} --disable-acl --keep-alive --quiet \
posix --versioning-dir /store/versions --sidecar /store/metadata /store/data'
  no option start-on-reload

frontend objects
  bind {bind}
  acl chunked req.hdr(content-encoding) -m sub aws-chunked
  acl chunked req.hdr(x-amz-content-sha256) -m beg STREAMING-
  acl plain_host req.hdr(host),field(1,:),lower -m str {domain}
  http-request return status 400 content-type application/xml string \
"<Error><Code>InvalidArgument</Code><Message>aws-chunked encoding is not supported with the specified \
x-amz-content-sha256 value.</Message></Error>" if chunked
  http-request return status 403 content-type application/xml string \
"<Error><Code>SecondLevelDomainForbidden</Code><Message>Please use virtual hosted style to access.\
</Message></Error>" if plain_host !{{ path / }}
  default_backend store

frontend administration
  bind *:{admin}
  http-request deny unless {{ src {gateway} 127.0.0.1 }}
  default_backend store

backend store
  server versitygw 127.0.0.1:7070
"""
