"""Security groups and their rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.cloud.records import fixed, fixed_reference
from infra.local.cloud.specs.forms import Span

GROUP_TYPES = ("normal", "enterprise")
INNER_ACCESS = ("Accept", "Drop")
DIRECTIONS = ("ingress", "egress")
POLICIES = ("accept", "drop")
RULE_PRIORITIES = Span(1, 100)
ALL_PORTS = "-1/-1"
_WITH_PORTS = ("tcp", "udp")


def port_range(text: object) -> tuple[int, int] | None:
    """First and last port of a text that has both."""
    match = re.fullmatch(r"(-?\d+)/(-?\d+)", str(text))
    return (int(match[1]), int(match[2])) if match else None


def port_range_fault(text: object) -> str | None:
    ports = port_range(text)
    if ports is None:
        return f"is {text!r}; allowed: first/last, for example 22/22"
    if text == ALL_PORTS or 1 <= ports[0] <= ports[1] <= 65535:
        return None
    return f"is {text}; allowed: 1/65535 at most, the first not above the last"


def ports_fault(protocol: str, text: str | None) -> str | None:
    """tcp and udp must name their ports, the others have none."""
    if protocol in _WITH_PORTS and text in (None, ALL_PORTS):
        return "is required for tcp and udp: first/last, for example 8080/8080"
    if protocol not in _WITH_PORTS and text not in (None, ALL_PORTS):
        return f"must be {ALL_PORTS} or absent for {protocol}"
    return None


@dataclass(frozen=True)
class SecurityGroupSpec:
    vpc_id: str = fixed_reference("Network")
    name: str = ""
    description: str = ""
    security_group_type: str = "normal"  # normal or enterprise
    inner_access_policy: str = "Accept"  # whether members of a normal group reach one another
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class SecurityRuleSpec:
    security_group_id: str = fixed_reference("SecurityGroup")
    type: str = fixed("ingress")  # ingress or egress
    ip_protocol: str = fixed("tcp")  # tcp, udp, icmp, gre or all
    port_range: str = fixed("-1/-1")
    cidr_ip: str = fixed("")
    source_security_group_id: str = fixed_reference("SecurityGroup", "")
    policy: str = fixed("accept")
    priority: int = fixed(1)
    description: str = ""
