"""Caches and their accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.cloud.records import fixed, fixed_reference, reference, secret
from infra.local.cloud.specs.accounts import ADMINISTRATOR
from infra.local.cloud.specs.forms import Form

RIGHTS = {
    # Neither may administer the instance; the cloud keeps that for itself.
    "RoleReadWrite": "+@all -@admin",
    "RoleReadOnly": "+@read +@connection +info -@admin",
}
"""What each privilege may, in Redis's words."""
ACCOUNT_NAME = Form(
    "up to 100 lower-case letters, digits and underscores, a letter first",
    pattern=r"[a-z][a-z0-9_]*",
    longest=100,
)
RESERVED_ACCOUNTS = (ADMINISTRATOR, "default")


@dataclass(frozen=True)
class CacheSpec:
    instance_class: str = ""
    engine_version: str = "7.0"
    switch_id: str = fixed_reference("Switch", "")
    security_ips: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = reference("SecurityGroup", ())
    password: str = secret("")  # of the default account; none: it is off
    release_protection: bool = False
    name: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class CacheAccountSpec:
    instance_id: str = fixed_reference("Cache")
    account_name: str = fixed()
    password: str = secret("")
    privilege: str = "RoleReadWrite"
    description: str = ""
