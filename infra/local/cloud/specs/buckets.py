"""Buckets, users, their policies and access keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.cloud.records import fixed, fixed_name
from infra.local.cloud.specs.forms import Form

BUCKET_NAME = Form(
    "3 to 63 lower-case letters, digits and hyphens, a letter or digit at each end",
    pattern=r"[a-z0-9][a-z0-9-]*[a-z0-9]",
    shortest=3,
    longest=63,
)
USER_NAME = Form("1 to 64 letters, digits, dots, hyphens and underscores", pattern=r"[A-Za-z0-9._-]{1,64}")
POLICY_NAME = Form("1 to 128 letters, digits and hyphens", pattern=r"[A-Za-z0-9-]+", shortest=1, longest=128)
MOST_POLICY_BYTES = 6144
KEY_STATES = ("Active", "Inactive")


def policy_size_fault(document: str) -> str | None:
    size = len(document.encode())
    return f"has {size} bytes; allowed: {MOST_POLICY_BYTES}" if size > MOST_POLICY_BYTES else None


def policy_fault(document: str) -> str | None:
    try:
        statements = json.loads(document)["Statement"]
        complete = all({"Effect", "Action", "Resource"} <= set(statement) for statement in statements)
    except (ValueError, KeyError, TypeError):
        complete = False
    return None if complete else "is no JSON document with Statement of Effect, Action and Resource"


@dataclass(frozen=True)
class BucketSpec:
    bucket: str = fixed()
    versioning: str = ""  # "", Enabled or Suspended
    storage_class: str = fixed("Standard")
    redundancy_type: str = fixed("LRS")
    force_destroy: bool = False
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class UserSpec:
    name: str = ""
    display_name: str = ""
    comments: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class PolicySpec:
    name: str = fixed()
    document: str = ""
    description: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class PolicyAttachmentSpec:
    user_name: str = fixed_name("User")
    policy_name: str = fixed_name("Policy")
    policy_type: str = fixed("Custom")


@dataclass(frozen=True)
class AccessKeySpec:
    user_name: str = fixed_name("User")
    status: str = "Active"
