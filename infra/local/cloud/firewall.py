"""Security groups: rules of the machine's forward hook by address, so they hold across a host's restart."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from infra.local.cloud.context import Context
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.kind import Kind
from infra.local.cloud.networks import network_of
from infra.local.cloud.records import Record
from infra.local.cloud.specs.firewall import (
    ALL_PORTS,
    DIRECTIONS,
    GROUP_TYPES,
    INNER_ACCESS,
    POLICIES,
    RULE_PRIORITIES,
    SecurityGroupSpec,
    SecurityRuleSpec,
    port_range,
    port_range_fault,
    ports_fault,
)


class SecurityGroups(Kind[SecurityGroupSpec]):
    name = "SecurityGroup"
    prefix = "sg"
    spec_type = SecurityGroupSpec
    quota = 100
    not_found = "InvalidSecurityGroupId.NotFound"

    def check(self, record: Record[SecurityGroupSpec]) -> None:
        if record.spec.security_group_type not in GROUP_TYPES:
            raise CloudError("InvalidSecurityGroupType", f"{record.owner.name}: {record.spec.security_group_type!r}")
        if record.spec.inner_access_policy not in INNER_ACCESS:
            raise CloudError("InvalidInnerAccessPolicy", f"{record.owner.name}: {record.spec.inner_access_policy!r}")

    def after_change(self, record: Record[SecurityGroupSpec]) -> None:
        self.context.renew_firewall()


class SecurityRules(Kind[SecurityRuleSpec]):
    name = "SecurityRule"
    prefix = "sgr"
    spec_type = SecurityRuleSpec
    not_found = "InvalidSecurityGroupRuleId.NotFound"

    def physical(self, spec: SecurityRuleSpec) -> str:
        """What the cloud tells rules apart by. It takes a second equal one in silence, and deletes both with either."""
        source = spec.source_security_group_id or str(IPv4Network(spec.cidr_ip, strict=False))
        parts = (spec.security_group_id, spec.type, spec.ip_protocol, spec.port_range, source, spec.policy)
        return ":".join((*parts, str(spec.priority)))

    def check(self, record: Record[SecurityRuleSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.type not in DIRECTIONS or spec.policy not in POLICIES:
            raise CloudError("InvalidParameter", f"rule {owner}: type {spec.type!r}, policy {spec.policy!r}")
        if spec.ip_protocol not in ("tcp", "udp", "icmp", "gre", "all"):
            raise CloudError("InvalidIpProtocol.ValueNotSupported", f"rule {owner}: {spec.ip_protocol!r}")
        if spec.priority not in RULE_PRIORITIES:
            message = f"rule {owner}: priority {spec.priority}, not {RULE_PRIORITIES}"
            raise CloudError("InvalidPriority.ValueNotSupported", message)
        if bool(spec.cidr_ip) == bool(spec.source_security_group_id):
            message = f"rule {owner}: exactly one of cidr_ip and source_security_group_id"
            raise CloudError("InvalidParameter.SourceCidr", message)
        if spec.cidr_ip:
            network_of(spec.cidr_ip, "InvalidSourceCidrIp.Malformed")
        ports = ports_fault(spec.ip_protocol, spec.port_range) or port_range_fault(spec.port_range)
        refuse("InvalidPortRange.Malformed", f"rule {owner}: port_range", ports)
        siblings = [other for other in self.list() if other.spec.security_group_id == spec.security_group_id]
        if len(siblings) >= 200 and record.id not in {other.id for other in siblings}:
            raise CloudError("AuthorizationLimitExceed", f"rule {owner}: its group has 200 rules, the quota")

    def after_change(self, record: Record[SecurityRuleSpec]) -> None:
        self.context.renew_firewall()


# --- what is guarded


@dataclass(frozen=True)
class Guarded:
    """An address behind the firewall. A host has groups; a managed instance has one port and a list of who may come."""

    id: str
    address: str
    groups: tuple[str, ...] = ()
    port: int = 0
    allowed: tuple[str, ...] = ()


def guarded(context: Context) -> Iterator[Guarded]:
    for record in context.store.of_kind("Host", "Balancer"):
        groups = tuple(record.spec.security_group_ids)
        if "address" in record.attributes and (groups or record.kind == "Host"):
            yield Guarded(record.id, record.attributes["address"], groups)
    for record in context.store.of_kind("DatabaseInstance", "Cache"):
        if "address" in record.attributes:
            spec, attributes = record.spec, record.attributes
            yield Guarded(
                record.id, attributes["address"], tuple(spec.security_group_ids), attributes["port"], spec.security_ips
            )


def members(context: Context) -> dict[str, list[str]]:
    """Group → addresses of what is in it. A managed instance names groups that may come, it is in none of them."""
    addresses: dict[str, list[str]] = {}
    for record in context.store.of_kind("Host", "Balancer"):
        for group in record.spec.security_group_ids:
            addresses.setdefault(group, []).extend(record.attributes.get("addresses", []))
    return addresses


def _open(context: Context) -> list[str]:
    """Addresses that the whole network may reach: name server, object store, balancers without groups."""
    balancers = [record for record in context.store.of_kind("Balancer") if not record.spec.security_group_ids]
    addresses = [address for record in balancers for address in record.attributes.get("addresses", [])]
    return [str(context.name_server), str(context.object_store), *addresses]


# --- rendering


def render(context: Context) -> str:
    """The whole ruleset of the environment, as `nft -f` takes it; replaces what is there in one transaction."""
    table = table_name(context.environment)
    replace = f"table inet {table} {{}}\ndelete table inet {table}\n"
    if context.vpc is None:
        return replace
    things = list(guarded(context))
    rules = context.store.of_kind("SecurityRule")
    groups = {record.id: record for record in context.store.of_kind("SecurityGroup")}
    inside = members(context)
    chains, arrivals, departures = [], [], []
    for thing in things:
        lines = list(_managed(thing, inside) if thing.port else _arriving(thing, groups, rules, inside))
        chains.append(_chain(f"to_{_token(thing.id)}", [*lines, "drop"]))
        arrivals.append(f"{thing.address} : jump to_{_token(thing.id)}")
        leaving = [] if thing.port else list(_leaving(thing, rules, inside))
        if leaving:
            chains.append(_chain(f"from_{_token(thing.id)}", leaving))
            departures.append(f"{thing.address} : jump from_{_token(thing.id)}")
    forward = [
        "type filter hook forward priority -10; policy accept;",
        f"ip saddr != {context.require_cidr()} ip daddr != {context.require_cidr()} return",
        "ct state established,related accept",
        *([f"ip saddr vmap {{ {', '.join(departures)} }}"] if departures else []),
        *([f"ip daddr vmap {{ {', '.join(arrivals)} }}"] if arrivals else []),
        f"ip daddr {_addresses(_open(context))} accept",
        # An address that has no record yet (its container is just starting) is closed until it has its rules.
        f"ip daddr {context.require_cidr()} drop",
    ]
    return f"{replace}table inet {table} {{\n{''.join(chains)}{_chain('forward', forward)}}}\n"


def table_name(environment: str) -> str:
    return "yw_" + environment.replace("-", "_")


def _token(identity: str) -> str:
    return identity.replace("-", "_")


def _chain(name: str, lines: Iterable[str]) -> str:
    return f"  chain {name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _addresses(addresses: Iterable[str]) -> str:
    return "{ " + ", ".join(sorted(set(addresses))) + " }"


def _managed(thing: Guarded, inside: dict[str, list[str]]) -> Iterator[str]:
    come = [entry for entry in thing.allowed if entry]
    for group in thing.groups:
        come += inside.get(group, [])
    networks = {str(IPv4Network(entry, strict=False)) for entry in come}
    if "0.0.0.0/0" in networks:
        yield f"tcp dport {thing.port} accept"
        return
    for network in sorted(networks):
        yield f"ip saddr {network} tcp dport {thing.port} accept"


def _arriving(
    thing: Guarded, groups: Mapping[str, Record[Any]], rules: list[Record[Any]], inside: dict[str, list[str]]
) -> Iterator[str]:
    yield from _compiled(thing, rules, inside, "ingress", "saddr")
    for group in thing.groups:
        spec = groups[group].spec if group in groups else None
        # Members of a basic group reach one another unless its policy says otherwise; enterprise groups never.
        if spec and spec.security_group_type == "normal" and spec.inner_access_policy == "Accept" and inside.get(group):
            yield f"ip saddr {_addresses(inside[group])} accept"


def _leaving(thing: Guarded, rules: list[Record[Any]], inside: dict[str, list[str]]) -> Iterator[str]:
    """Everything may leave unless an egress rule drops it; an accepted packet still meets the other end's rules."""
    compiled = list(_compiled(thing, rules, inside, "egress", "daddr"))
    if any(line.endswith(" drop") for line in compiled):
        yield from (re.sub(r" accept$", " return", line) for line in compiled)


def _compiled(
    thing: Guarded, rules: list[Record[Any]], inside: dict[str, list[str]], direction: str, end: str
) -> Iterator[str]:
    """Rules of all the thing's groups by priority; at the same priority a drop goes first, as in the cloud."""
    mine = [rule for rule in rules if rule.spec.security_group_id in thing.groups and rule.spec.type == direction]
    for rule in sorted(mine, key=lambda rule: (rule.spec.priority, rule.spec.policy != "drop", rule.id)):
        spec = rule.spec
        peers = inside.get(spec.source_security_group_id, []) if spec.source_security_group_id else []
        if spec.source_security_group_id and not peers:
            continue
        if spec.cidr_ip == "0.0.0.0/0":
            who = ""
        else:
            who = f"ip {end} {_addresses(peers) if peers else IPv4Network(spec.cidr_ip)} "
        yield f"{who}{_traffic(spec)}{spec.policy}"


def _traffic(spec: SecurityRuleSpec) -> str:
    ports = None if spec.port_range == ALL_PORTS else port_range(spec.port_range)
    if ports:
        first, last = ports
        return f"{spec.ip_protocol} dport {first if first == last else f'{first}-{last}'} "
    return {"icmp": "ip protocol icmp ", "gre": "ip protocol gre ", "all": ""}[spec.ip_protocol]


class Firewall:
    """Loads the rendered rules; loads nothing when they are loaded already."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def renew(self, force: bool = False) -> None:
        with self._context.store.lock("firewall"):
            rules = render(self._context)
            digest = hashlib.sha256(rules.encode()).hexdigest()
            if not force and self._context.store.fact("firewall") == digest:
                return
            _nft(rules)
            self._context.store.set_fact("firewall", digest)

    def loaded(self) -> bool:
        listing = ["nft", "list", "chain", "inet", table_name(self._context.environment), "forward"]
        return subprocess.run(listing, capture_output=True, check=False).returncode == 0

    def withdraw(self) -> None:
        table = table_name(self._context.environment)
        _nft(f"table inet {table} {{}}\ndelete table inet {table}\n")
        self._context.store.set_fact("firewall", "")


def _nft(rules: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=rules, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CloudError("InternalError", f"nft: {done.stderr.strip()[:600]}")
