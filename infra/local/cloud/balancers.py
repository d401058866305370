"""ALB: HAProxy on the network, listening with the listeners' certificates and checking server groups' health.

As in the cloud, all servers of a group are used when none is healthy, and a server of weight 0 gets no traffic and no
checks.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from infra.local.cloud import haproxy
from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import Context, write_atomically
from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.networks import allocate_address
from infra.local.cloud.records import Record, fixed, fixed_reference, reference
from infra.local.images import CLOUD_IMAGE

_CORES, _MEMORY_MIB = 0.75, 160


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


class Balancers(Kind[BalancerSpec]):
    name = "Balancer"
    prefix = "alb"
    spec_type = BalancerSpec
    quota = 60
    not_found = "ResourceNotFound.LoadBalancer"

    def further_targets(self, spec: BalancerSpec) -> tuple[str, ...]:
        return tuple(mapping.switch_id for mapping in spec.zone_mappings)

    def check(self, record: Record[BalancerSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if len({mapping.zone_id for mapping in spec.zone_mappings}) < 2:
            raise CloudError("IllegalParam.ZoneMappings", f"balancer {owner}: in fewer than two zones")
        if spec.edition not in ("Basic", "Standard", "StandardWithWaf"):
            raise CloudError("IllegalParam.LoadBalancerEdition", f"balancer {owner}: {spec.edition!r}")

    def check_delete(self, record: Record[BalancerSpec]) -> None:
        if record.spec.deletion_protection:
            message = f"balancer {record.owner.name} is protected: set deletion_protection to false first"
            raise CloudError("ResourceInConfiguring.DeletionProtection", message)

    def realise(self, record: Record[BalancerSpec]) -> Mapping[str, Any]:
        address = allocate_address(self.context, record.spec.zone_mappings[0].switch_id, record.id)
        dns_name = f"{record.id}.{self.context.settings.region}.alb.{self.context.domain}"
        return {"address": address, "addresses": [address], "dns_name": dns_name, "status": "Active"}

    def after_change(self, record: Record[BalancerSpec]) -> None:
        self.context.renew_firewall()
        self.context.renew_balancers()
        self.context.renew_names()
        self.context.renew_front_door()

    def observe(self, record: Record[BalancerSpec]) -> Record[BalancerSpec] | None:
        if self.context.stopped:
            return record
        seen = self.context.containers.look(container_name(self.context, record))
        if seen is None:
            return None
        attributes = {**record.attributes, "status": "Active" if seen.alive else "Inactive"}
        return dataclasses.replace(record, attributes=attributes)

    def withdraw(self, record: Record[BalancerSpec]) -> None:
        with self.store.lock(f"balancer-{record.id}"):
            # Renewals for a server group that goes at the same time wait for the lock, then leave this one alone.
            self._save(dataclasses.replace(record, ready=False))
            self.context.containers.remove(container_name(self.context, record))
            shutil.rmtree(folder(self.context, record), ignore_errors=True)

    def health(self, key: str) -> dict[str, dict[str, str]]:
        """Server group → server → state as HAProxy sees it (UP, DOWN, `no check` …)."""
        record = self.require(key)
        answer = haproxy.ask(folder(self.context, record), "show stat")
        if answer is None:
            raise CloudError("ServiceUnavailable", f"balancer {record.owner.name} does not answer: {key}")
        states: dict[str, dict[str, str]] = {}
        for row in csv.DictReader(answer.removeprefix("# ").splitlines()):
            if row["svname"] not in ("FRONTEND", "BACKEND") and not row["pxname"].endswith("_open"):
                states.setdefault(row["pxname"], {})[row["svname"]] = row["status"]
        return states


# --- server groups


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


class ServerGroups(Kind[ServerGroupSpec]):
    name = "ServerGroup"
    prefix = "sgp"
    spec_type = ServerGroupSpec
    quota = 3000
    not_found = "ResourceNotFound.ServerGroup"

    def check(self, record: Record[ServerGroupSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.protocol not in ("HTTP", "HTTPS"):
            raise CloudError("IllegalParam.Protocol", f"server group {owner}: {spec.protocol!r}")
        if spec.scheduler not in ("Wrr", "Wlc", "Sch"):
            raise CloudError("IllegalParam.Scheduler", f"server group {owner}: {spec.scheduler!r}")
        check = spec.health_check
        if not 1 <= check.interval <= 50 or not 1 <= check.timeout <= 300:
            message = f"server group {owner}: health check interval 1 to 50 s, time-out 1 to 300 s"
            raise CloudError("IllegalParam.HealthCheckInterval", message)
        if not all(2 <= number <= 10 for number in (check.healthy_threshold, check.unhealthy_threshold)):
            raise CloudError("IllegalParam.HealthCheckThreshold", f"server group {owner}: thresholds 2 to 10")
        if not check.path.startswith("/") or re.search(r"[\s\"']", check.path + check.host):
            raise CloudError("IllegalParam.HealthCheckPath", f"server group {owner}: path {check.path!r}")
        for server in spec.servers:
            if not 1 <= server.port <= 65535 or not 0 <= server.weight <= 100:
                message = f"server group {owner}: port {server.port}, weight {server.weight}"
                raise CloudError("IllegalParam.Server", message)
            if server.server_type == "Ecs":
                self.context.require_kind("Host", server.server_id, f"server group {owner}")

    def after_change(self, record: Record[ServerGroupSpec]) -> None:
        self.context.renew_balancers()


# --- listeners and rules


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


class Listeners(Kind[ListenerSpec]):
    name = "Listener"
    prefix = "lsn"
    spec_type = ListenerSpec
    not_found = "ResourceNotFound.Listener"

    def physical(self, spec: ListenerSpec) -> str:
        return f"{spec.load_balancer_id}:{spec.port}"

    def check(self, record: Record[ListenerSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.protocol not in ("HTTP", "HTTPS") or not 1 <= spec.port <= 65535:
            raise CloudError("IllegalParam.ListenerProtocol", f"listener {owner}: {spec.protocol!r} port {spec.port}")
        if (spec.protocol == "HTTPS") != bool(spec.certificate_ids):
            message = f"listener {owner}: HTTPS needs a certificate, HTTP takes none"
            raise CloudError("IllegalParam.Certificates", message)
        if not spec.default_server_group_id:
            raise CloudError("IllegalParam.DefaultActions", f"listener {owner}: forwards to no server group")
        if not 1 <= spec.idle_timeout <= 600 or not 1 <= spec.request_timeout <= 600:
            raise CloudError("IllegalParam.Timeout", f"listener {owner}: time-outs are 1 to 600 s")
        others = [listener for listener in self.list() if listener.spec.load_balancer_id == spec.load_balancer_id]
        if len(others) >= 50 and record.id not in {listener.id for listener in others}:
            raise CloudError("QuotaExceeded.ListenersNum", f"listener {owner}: the balancer has 50, the quota")

    def after_change(self, record: Record[ListenerSpec]) -> None:
        self.context.renew_balancers()


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


class ListenerRules(Kind[ListenerRuleSpec]):
    name = "ListenerRule"
    prefix = "rule"
    spec_type = ListenerRuleSpec
    not_found = "ResourceNotFound.Rule"

    def physical(self, spec: ListenerRuleSpec) -> str:
        return f"{spec.listener_id}:{spec.priority}"

    def further_targets(self, spec: ListenerRuleSpec) -> tuple[str, ...]:
        return (spec.action.server_group_id,) if spec.action.server_group_id else ()

    def check(self, record: Record[ListenerRuleSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if not 1 <= spec.priority <= 10000 or not 1 <= len(spec.conditions) <= 10:
            raise CloudError("IllegalParam.Rule", f"rule {owner}: priority 1 to 10,000, 1 to 10 conditions")
        for condition in spec.conditions:
            if condition.type not in ("Host", "Path"):
                raise CloudError("IllegalParam.ConditionType", f"rule {owner}: condition {condition.type!r}")
            if any(re.search(r"[\s\"'{}]", value) or not value for value in condition.values):
                raise CloudError("IllegalParam.ConditionValue", f"rule {owner}: {', '.join(condition.values)}")
        if spec.action.type not in ("ForwardGroup", "FixedResponse", "Redirect"):
            raise CloudError("IllegalParam.ActionType", f"rule {owner}: action {spec.action.type!r}")
        listener = self.context.require_kind("Listener", spec.listener_id, f"rule {owner}")
        if self._others(listener.spec.load_balancer_id, record.id) >= 100:
            raise CloudError("QuotaExceeded.RulesNum", f"rule {owner}: the balancer has 100, the quota")

    def _others(self, balancer: str, mine: str) -> int:
        listeners = {
            listener.id for listener in self.store.of_kind("Listener") if listener.spec.load_balancer_id == balancer
        }
        return sum(rule.spec.listener_id in listeners and rule.id != mine for rule in self.list())

    def after_change(self, record: Record[ListenerRuleSpec]) -> None:
        self.context.renew_balancers()


# --- rendering


def container_name(context: Context, balancer: Record[Any]) -> str:
    return context.containers.name(balancer.id)


def folder(context: Context, balancer: Record[Any]) -> Path:
    return context.root / "balancers" / balancer.id


@dataclass(frozen=True)
class Parts:
    """What one balancer's configuration is made from."""

    listeners: list[Record[ListenerSpec]]
    rules: list[Record[ListenerRuleSpec]]
    groups: dict[str, Record[ServerGroupSpec]]
    hosts: dict[str, str]


def _parts(context: Context, balancer: Record[Any]) -> Parts:
    store = context.store
    listeners = [listener for listener in store.of_kind("Listener") if listener.spec.load_balancer_id == balancer.id]
    mine = {listener.id for listener in listeners}
    rules = [rule for rule in store.of_kind("ListenerRule") if rule.spec.listener_id in mine]
    used = {listener.spec.default_server_group_id for listener in listeners}
    used |= {rule.spec.action.server_group_id for rule in rules}
    groups = {group.id: group for group in store.of_kind("ServerGroup") if group.id in used}
    hosts = {host.id: host.attributes.get("address", "") for host in store.of_kind("Host")}
    return Parts(listeners, rules, groups, hosts)


def render(parts: Parts, gateway: str) -> str:
    blocks = [_GLOBAL.replace("GATEWAY", gateway).replace("ERRORS", "\n".join(_errors()))]
    for listener in sorted(parts.listeners, key=lambda listener: listener.spec.port):
        rules = [rule for rule in parts.rules if rule.spec.listener_id == listener.id]
        blocks.append("\n".join(_frontend(listener, rules, parts.groups)))
    for group in sorted(parts.groups.values(), key=lambda group: group.id):
        blocks.append("\n".join(_backend(group, parts.hosts, checked=True)))
        blocks.append("\n".join(_backend(group, parts.hosts, checked=False)))
    return "\n\n".join(blocks) + "\n"


_GLOBAL = """\
global
  log stdout format raw local0 notice
  maxconn 4000
  hard-stop-after 60s
  ssl-default-bind-options ssl-min-ver TLSv1.2

defaults
  mode http
  log global
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-request 15s
  timeout queue 10s
  option redispatch
  retries 2
  http-reuse safe
ERRORS

frontend alive
  bind 127.0.0.1:8404
  http-request return status 200"""


# What the balancer answers by itself, where the cloud's has pages of its own: status → title.
ERRORS = {
    400: "The request is malformed.",
    408: "The request took too long to arrive.",
    500: "The balancer failed.",
    502: "The gateway gave no valid answer.",
    503: "The site is not available just now.",
    504: "The gateway took too long to answer.",
}


def _errors() -> Iterator[str]:
    for status, title in ERRORS.items():
        told = json.dumps({"type": "urn:yiwang:problem:balancer", "title": title, "status": status})
        retry = " hdr Retry-After 2" if status == 503 else ""
        yield f"  http-error status {status} content-type application/problem+json{retry} string '{told}'"


def _frontend(
    listener: Record[ListenerSpec], rules: list[Record[ListenerRuleSpec]], groups: Mapping[str, Record[ServerGroupSpec]]
) -> Iterator[str]:
    spec = listener.spec
    yield f"frontend {listener.id}"
    tls = f" ssl crt /settings/{listener.id}/ alpn h2,http/1.1" if spec.protocol == "HTTPS" else ""
    yield f"  bind 0.0.0.0:{spec.port}{tls}"
    yield f"  timeout client {spec.request_timeout}s"
    yield f"  timeout http-keep-alive {spec.idle_timeout}s"
    yield "  option forwardfor"
    yield f"  http-request set-header X-Forwarded-Proto {spec.protocol.lower()}"
    yield f"  http-request set-header X-Forwarded-Port {spec.port}"
    for rule in sorted(rules, key=lambda rule: rule.spec.priority):
        yield from _rule(rule, groups)
    yield from _forward(spec.default_server_group_id, "")


def _rule(rule: Record[ListenerRuleSpec], groups: Mapping[str, Record[ServerGroupSpec]]) -> Iterator[str]:
    """A rule's decision is kept in a variable, so that the first rule that matches wins whatever its action."""
    name, action = rule.id, rule.spec.action
    conditions = [f"{name}_{number}" for number in range(len(rule.spec.conditions))]
    for label, condition in zip(conditions, rule.spec.conditions, strict=True):
        for value in condition.values:
            yield f"  acl {label} {_match(condition.type, value)}"
    undecided = "!{ var(txn.rule) -m found }"
    yield f"  http-request set-var(txn.rule) str({name}) if {undecided} {' '.join(conditions)}"
    chosen = f"{{ var(txn.rule) -m str {name} }}"
    if action.type == "FixedResponse":
        content = json.dumps(action.content)
        kind = action.content_type
        yield f"  http-request return status {action.http_code} content-type {kind} string {content} if {chosen}"
    elif action.type == "Redirect":
        yield f"  http-request redirect location {action.location} code {action.http_code or 301} if {chosen}"
    else:
        yield from _forward(action.server_group_id, chosen)


def _match(kind: str, value: str) -> str:
    pattern = "^" + "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in value) + "$"
    fetch = "req.hdr(host),field(1,:),lower" if kind == "Host" else "path"
    return f"{fetch} -m reg {pattern}"


def _forward(group: str, condition: str) -> Iterator[str]:
    """To the group's healthy servers; to all of them where none is healthy."""
    open_when = " ".join(filter(None, (condition, f"{{ nbsrv({group}) lt 1 }}")))
    yield f"  use_backend {group}_open if {open_when}"
    yield f"  use_backend {group} if {condition}" if condition else f"  default_backend {group}"


def _backend(group: Record[ServerGroupSpec], hosts: Mapping[str, str], checked: bool) -> Iterator[str]:
    spec, check = group.spec, group.spec.health_check
    checking = checked and check.enabled
    yield f"backend {group.id}{'' if checked else '_open'}"
    yield {"Wrr": "  balance roundrobin", "Wlc": "  balance leastconn", "Sch": "  balance source"}[spec.scheduler]
    if checking and check.protocol == "HTTP":
        host = f" hdr Host {check.host}" if check.host else ""
        yield "  option httpchk"
        yield f"  http-check send meth {check.method} uri {check.path} ver HTTP/1.1{host}"
        yield f"  http-check expect rstatus ^({'|'.join(code[5] for code in check.codes)})"
        yield f"  timeout check {check.timeout}s"
    for number, server in enumerate(spec.servers):
        address = hosts.get(server.server_id, "") if server.server_type == "Ecs" else server.server_id
        if not address:
            continue
        options = f"weight {server.weight}" + (" ssl verify none" if spec.protocol == "HTTPS" else "")
        if checking and server.weight > 0:
            rise, fall = check.healthy_threshold, check.unhealthy_threshold
            options += f" check inter {check.interval}s rise {rise} fall {fall}"
            options += f" port {check.port}" if check.port else ""
        yield f"  server s{number}_{address.replace('.', '_')} {address}:{server.port} {options}"


# --- the containers


class BalancerContainers:
    """Writes each balancer's configuration and certificates; reloads where they changed, listening sockets kept."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def renew(self) -> None:
        for balancer in self._context.store.of_kind("Balancer"):
            if "address" in balancer.attributes:
                self.renew_one(balancer)

    def renew_one(self, balancer: Record[Any], seen: Seen | None = None) -> bool:
        with self._context.store.lock(f"balancer-{balancer.id}"):
            current = self._context.store.get(balancer.id)
            if current is None or not current.ready:
                return False
            parts = _parts(self._context, balancer)
            changed = self._write(balancer, parts)
            made = self._context.containers.ensure(self._container(balancer), seen)
            told = haproxy.take_up(
                folder(self._context, balancer),
                lambda: self._reload(balancer),
                lambda: self._context.containers.ensure(self._container(balancer), fresh=True),
                f"balancer {balancer.owner.name}",
            )
            if changed or made or told:
                self._wait(balancer, parts)
            return changed or made or told

    def _write(self, balancer: Record[Any], parts: Parts) -> bool:
        settings = folder(self._context, balancer)
        settings.mkdir(parents=True, exist_ok=True)
        for listener in parts.listeners:
            wanted = settings / listener.id
            wanted.mkdir(exist_ok=True)
            for number, key in enumerate(listener.spec.certificate_ids):
                certificate = self._context.store.get(key)
                assert certificate is not None, "a listener's link keeps its certificate"
                pem = certificate.spec.certificate.strip() + "\n" + certificate.spec.private_key.strip() + "\n"
                write_atomically(wanted / f"{number:02}.pem", pem, mode=0o600)
            for stale in sorted(wanted.glob("*.pem"))[len(listener.spec.certificate_ids) :]:
                stale.unlink()
        return haproxy.write(settings, render(parts, str(self._context.gateway)))

    def _container(self, balancer: Record[Any]) -> Container:
        options = (
            *self._context.network_options(balancer.attributes["address"]),
            *self._context.resolver_options(),
            *haproxy.volumes(folder(self._context, balancer)),
            *("--sysctl", "net.ipv4.ip_unprivileged_port_start=0"),
        )
        return Container(
            name=container_name(self._context, balancer),
            image=(CLOUD_IMAGE,),
            options=options,
            command=haproxy.COMMAND,
            labels=self._context.labels(balancer),
            cores=_CORES,
            memory_mib=_MEMORY_MIB,
        )

    def _reload(self, balancer: Record[Any]) -> None:
        name = container_name(self._context, balancer)
        self._context.containers.execute(name, "haproxy", "-c", "-q", "-f", f"/settings/{haproxy.FILE}")
        self._context.containers.signal(name, "USR2")

    def _wait(self, balancer: Record[Any], parts: Parts) -> None:
        for listener in parts.listeners:
            wait_for_port(balancer.attributes["address"], listener.spec.port, f"balancer {balancer.owner.name}")


def wait_for_port(address: str, port: int, what: str, seconds: float = 20) -> None:
    failing = retry_if_exception_type(OSError)
    again = retry(stop=stop_after_delay(seconds), wait=wait_fixed(0.05), retry=failing, reraise=True)
    try:
        again(lambda: socket.create_connection((address, port), timeout=2).close())()
    except OSError as error:
        raise CloudError("InternalError", f"{what} does not listen on {address}:{port}: {error}") from error
