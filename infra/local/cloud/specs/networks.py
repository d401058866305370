"""Network and vSwitch, and what an address range must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network

from infra.local.cloud.records import fixed, fixed_reference
from infra.local.cloud.specs.forms import Span

SWITCH_MASKS = Span(16, 29)


def range_fault(value: object) -> str | None:
    """A range of IPv4 addresses, or one address."""
    try:
        IPv4Network(str(value))
    except ValueError as error:
        return f"is no network range: {error}"
    return None


@dataclass(frozen=True)
class NetworkSpec:
    cidr: str = fixed()
    name: str = ""
    description: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class SwitchSpec:
    vpc_id: str = fixed_reference("Network")
    cidr: str = fixed()
    zone_id: str = fixed()
    name: str = ""
    description: str = ""
    tags: Mapping[str, str] | None = None
