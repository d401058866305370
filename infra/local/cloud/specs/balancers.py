"""Balancers, their listeners and rules, and the groups of servers behind them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from infra.local.cloud.records import fixed, fixed_reference, reference
from infra.local.cloud.specs.forms import Span

EDITIONS = ("Basic", "Standard", "StandardWithWaf")
CHECK_INTERVALS = Span(1, 50)
CHECK_TIMEOUTS = Span(1, 300)
CHECK_THRESHOLDS = Span(2, 10)
WEIGHTS = Span(0, 100)
TIMEOUTS = Span(1, 600)
LISTENER_PRIORITIES = Span(1, 10000)
CONDITIONS = Span(1, 10)
FINAL_ACTIONS = ("ForwardGroup", "Redirect", "FixedResponse")
"""What a rule ends with."""


def zones_fault(zones: Iterable[Hashable]) -> str | None:
    """Zones that are not known yet differ from each other and from all others."""
    if len(set(zones)) >= 2:
        return None
    return "names fewer than two zones: a balancer spreads over two at least"


@dataclass(frozen=True)
class ZoneMapping:
    zone_id: str
    switch_id: str


@dataclass(frozen=True)
class BalancerSpec:
    vpc_id: str = fixed_reference("Network")
    name: str = ""
    zone_mappings: tuple[ZoneMapping, ...] = ()
    address_type: str = "Intranet"
    edition: str = "Standard"
    security_group_ids: tuple[str, ...] = reference("SecurityGroup", ())
    deletion_protection: bool = False
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Server:
    """`server_id` is a host's id (Ecs) or an address (Ip)."""

    server_id: str
    port: int
    weight: int = 100
    server_type: str = "Ecs"
    description: str = ""


@dataclass(frozen=True)
class HealthCheck:
    enabled: bool = True
    protocol: str = "HTTP"  # HTTP or TCP
    path: str = "/"
    method: str = "GET"
    host: str = ""
    codes: tuple[str, ...] = ("http_2xx", "http_3xx")
    port: int = 0  # 0: the server's own
    interval: int = 2
    timeout: int = 5
    healthy_threshold: int = 3
    unhealthy_threshold: int = 3


@dataclass(frozen=True)
class ServerGroupSpec:
    vpc_id: str = fixed_reference("Network")
    name: str = ""
    protocol: str = fixed("HTTP")
    scheduler: str = "Wrr"
    servers: tuple[Server, ...] = ()
    health_check: HealthCheck = field(default_factory=HealthCheck)
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class ListenerSpec:
    load_balancer_id: str = fixed_reference("Balancer")
    port: int = fixed(443)
    protocol: str = fixed("HTTPS")
    certificate_ids: tuple[str, ...] = reference("Certificate", ())
    default_server_group_id: str = reference("ServerGroup", "")
    idle_timeout: int = 15
    request_timeout: int = 60
    security_policy_id: str = "tls_cipher_policy_1_2"
    description: str = ""
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Condition:
    type: str  # Host or Path
    values: tuple[str, ...]


@dataclass(frozen=True)
class Action:
    type: str = "ForwardGroup"  # ForwardGroup, FixedResponse or Redirect
    server_group_id: str = ""
    http_code: int = 0
    content: str = ""
    content_type: str = "text/plain"
    location: str = ""


@dataclass(frozen=True)
class ListenerRuleSpec:
    listener_id: str = fixed_reference("Listener")
    priority: int = 1
    name: str = ""
    conditions: tuple[Condition, ...] = ()
    action: Action = field(default_factory=Action)
