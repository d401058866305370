"""Database instances, and what is in them: accounts, databases, grants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.cloud.records import fixed, fixed_reference, reference, secret
from infra.local.cloud.specs.accounts import ADMINISTRATOR
from infra.local.cloud.specs.forms import Form, Span

STORAGE_GB = Span(5, 64000)
_ACCOUNT_NAME = Form(
    "2 to 63 lower-case letters, digits and underscores, a letter first, no underscore last",
    pattern=r"[a-z][a-z0-9_]{0,61}[a-z0-9]",
)
_RESERVED_ACCOUNTS = frozenset(
    {ADMINISTRATOR, "postgres", "public", "rds_superuser", "replicator", "root", "admin", "aurora"}
)
_DATABASE_NAME = Form(
    "2 to 64 of a-z, 0-9, - and _; begins with a letter, ends with a letter or digit",
    pattern=r"[a-z][a-z0-9_-]*[a-z0-9]",
    shortest=2,
    longest=64,
)
_RESERVED_DATABASES = frozenset({"postgres", "template0", "template1"})


ACCOUNT_NAME_RULE = f"{_ACCOUNT_NAME.says}; no reserved name"
DATABASE_NAME_RULE = f"{_DATABASE_NAME.says}; no reserved name"


def account_name_fault(name: str) -> str | None:
    reserved = name in _RESERVED_ACCOUNTS or name.startswith("pg_")
    return _ACCOUNT_NAME.fault(name) or ("is reserved" if reserved else None)


def database_name_fault(name: str) -> str | None:
    return _DATABASE_NAME.fault(name) or ("is reserved" if name in _RESERVED_DATABASES else None)


def storage_fault(size: int) -> str | None:
    if size in STORAGE_GB and size % 5 == 0:
        return None
    return f"is {size}; allowed: {STORAGE_GB} GB, in steps of 5"


@dataclass(frozen=True)
class DatabaseInstanceSpec:
    """`switch_ids`: one a zone, the first holds the primary. Who may connect: `security_ips` and members of groups."""

    instance_class: str = ""
    engine: str = fixed("PostgreSQL")
    engine_version: str = fixed("15.0")
    storage_gb: int = 20
    switch_ids: tuple[str, ...] = fixed_reference("Switch", ())
    security_ips: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = reference("SecurityGroup", ())
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ssl: bool = False
    deletion_protection: bool = False
    name: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class DatabaseAccountSpec:
    instance_id: str = fixed_reference("DatabaseInstance")
    account_name: str = fixed()
    account_type: str = fixed("Normal")  # Normal or Super
    password: str = secret("")
    description: str = ""


@dataclass(frozen=True)
class DatabaseSpec:
    instance_id: str = fixed_reference("DatabaseInstance")
    database_name: str = fixed()
    character_set: str = fixed("UTF8")
    description: str = ""


@dataclass(frozen=True)
class GrantSpec:
    instance_id: str = fixed_reference("DatabaseInstance")
    account_name: str = fixed()
    privilege: str = fixed("DBOwner")
    database_names: tuple[str, ...] = ()
