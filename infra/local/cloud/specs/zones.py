"""Private zones, public domains, and the records of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from infra.local.cloud.records import fixed, fixed_name, fixed_reference
from infra.local.cloud.specs.forms import Form

DOMAIN = Form(
    "a domain name of lower-case labels",
    pattern=r"([a-z0-9_]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    shortest=1,
    longest=253,
)
PUBLIC_DOMAIN = Form(
    "a domain name of two labels at least",
    pattern=r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]",
    longest=253,
)
HOST_RECORD = Form(
    "@, or lower-case labels of letters, digits, hyphens and underscores; * alone or as the first of them",
    pattern=r"@|\*|(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*",
    longest=253,
)


def value_fault(kind: str, value: str) -> str | None:
    """What a record of a type points to."""
    if kind == "A":
        try:
            IPv4Address(value)
        except ValueError:
            return f"{value!r} is no IPv4 address"
    elif kind in ("CNAME", "MX", "PTR") and DOMAIN.fault(value.rstrip(".")):
        return f"{value!r} is no domain name"
    return None


@dataclass(frozen=True)
class PrivateZoneSpec:
    zone_name: str = fixed()
    remark: str = ""
    proxy_pattern: str = "ZONE"
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ZoneAttachmentSpec:
    zone_id: str = fixed_reference("PrivateZone")
    vpc_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class ZoneRecordSpec:
    zone_id: str = fixed_reference("PrivateZone")
    rr: str = "@"
    type: str = fixed("A")
    value: str = ""
    ttl: int = 60
    priority: int = 0
    remark: str = ""


@dataclass(frozen=True)
class PublicDomainSpec:
    domain_name: str = fixed()
    remark: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class PublicRecordSpec:
    domain_name: str = fixed_name("PublicDomain")
    rr: str = "@"
    type: str = "A"
    value: str = ""
    ttl: int = 600
    priority: int = 0
    status: str = "ENABLE"
    remark: str = ""
