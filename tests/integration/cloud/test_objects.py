"""The object store: prefixes that hold, and what OSS refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.cloud.errors import CloudError
from infra.local.cloud.specs.buckets import AccessKeySpec, BucketSpec, PolicySpec
from tests.integration.cloud.site import ENVIRONMENT, Site, owner, resolving


def policy(bucket: str, prefix: str) -> str:
    listing = {"StringLike": {"oss:Prefix": [f"{prefix}*"]}}
    statements: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Action": ["oss:GetObject", "oss:PutObject", "oss:DeleteObject"],
            "Resource": [f"acs:oss:*:*:{bucket}/{prefix}*"],
        },
        {"Effect": "Allow", "Action": "oss:ListObjects", "Resource": f"acs:oss:*:*:{bucket}", "Condition": listing},
    ]
    if not prefix:
        statements[1].pop("Condition")
    return json.dumps({"Version": "1", "Statement": statements})


@pytest.fixture(scope="module")
def bucket(site: Site) -> Iterator[str]:
    name = site.bucket()
    with resolving(f"objects.{ENVIRONMENT}.localhost", str(site.cloud.hosts.context.object_store)):
        yield name


@pytest.fixture(scope="module")
def clients(site: Site, bucket: str) -> dict[str, Any]:
    return {code: site.objects(site.key(f"yw-{code}", policy(bucket, f"{code}/"))) for code in ("330106", "330112")}


def refused(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403))
    return False


def is_kept_out(client: Any, bucket: str, prefix: str) -> bool:
    """Whether a client can neither read, write, delete nor list under a prefix, nor list the whole bucket."""
    return all(
        [
            refused(client.get_object, Bucket=bucket, Key=f"{prefix}a"),
            refused(client.get_object, Bucket=bucket, Key=f"{prefix}missing"),
            refused(client.put_object, Bucket=bucket, Key=f"{prefix}b", Body=b"x"),
            refused(client.delete_object, Bucket=bucket, Key=f"{prefix}a"),
            refused(client.list_objects_v2, Bucket=bucket, Prefix=prefix),
            refused(client.list_objects_v2, Bucket=bucket),
        ]
    )


def test_a_key_works_under_its_own_prefix_only(site: Site, bucket: str, clients: dict[str, Any]) -> None:
    mine, other = clients["330106"], clients["330112"]
    mine.put_object(Bucket=bucket, Key="330106/a", Body="材料".encode())
    assert mine.get_object(Bucket=bucket, Key="330106/a")["Body"].read().decode() == "材料"
    assert [content["Key"] for content in mine.list_objects_v2(Bucket=bucket, Prefix="330106/")["Contents"]] == [
        "330106/a"
    ]
    assert is_kept_out(other, bucket, "330106/")

    # The twin: a policy that names no prefix must be caught by the same check.
    record = site.known("Policy", "yw-330112")
    site.cloud.policies.update(record.id, PolicySpec("yw-330112", policy(bucket, "")))
    assert not is_kept_out(other, bucket, "330106/")
    site.cloud.policies.update(record.id, record.spec)
    assert is_kept_out(other, bucket, "330106/")


def test_chunked_bodies_and_path_style_are_refused_as_oss_does(
    site: Site, bucket: str, clients: dict[str, Any]
) -> None:
    key = site.cloud.access_keys.list()[0]
    chunked = site.objects(key, request_checksum_calculation="when_supported")
    with pytest.raises(ClientError, match="aws-chunked encoding is not supported"):
        chunked.put_object(Bucket=bucket, Key="330106/c", Body=_Stream(b"x" * 100))
    path_style = site.objects(key, s3={"addressing_style": "path"})
    with pytest.raises(ClientError, match="SecondLevelDomainForbidden"):
        path_style.get_object(Bucket=bucket, Key="330106/a")


class _Stream:
    """A body that a client cannot hash before it sends: the default is then aws-chunked with a trailer."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def read(self, size: int = -1) -> bytes:
        end = len(self._content) if size < 0 else self._at + size
        part = self._content[self._at : end]
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset if whence == 0 else len(self._content) + offset
        return self._at

    def tell(self) -> int:
        return self._at


def test_a_key_that_is_switched_off_or_deleted_opens_nothing(site: Site, bucket: str, clients: dict[str, Any]) -> None:
    second = site.cloud.access_keys.create(owner("second"), AccessKeySpec("yw-330106"))
    client = site.objects(second)
    client.list_objects_v2(Bucket=bucket, Prefix="330106/")
    site.cloud.access_keys.update(second.id, AccessKeySpec("yw-330106", "Inactive"))
    assert refused(client.list_objects_v2, Bucket=bucket, Prefix="330106/")
    with pytest.raises(CloudError) as refusal:
        site.cloud.access_keys.create(owner("third"), AccessKeySpec("yw-330106"))
    assert refusal.value.code == "LimitExceeded.User.AccessKey"
    site.cloud.access_keys.delete(second.id)


def test_a_bucket_that_holds_objects_stays(site: Site, bucket: str) -> None:
    kept = f"yw-{ENVIRONMENT}-kept"
    made = site.cloud.buckets.create(owner("kept"), BucketSpec(kept, versioning="Enabled"))
    root = site.cloud.buckets.objects.administrator()
    root.put_object(Bucket=kept, Key="a", Body=b"1")
    with pytest.raises(CloudError) as refusal:
        site.cloud.buckets.delete(made.id)
    assert refusal.value.code == "BucketNotEmpty"
    site.cloud.buckets.update(made.id, BucketSpec(kept, versioning="Enabled", force_destroy=True))
    site.cloud.buckets.delete(made.id)
    assert site.cloud.buckets.read(made.id) is None
