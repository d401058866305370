"""What a balancer's HAProxy is told: its configuration, rendered from the records that make it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from infra.local.cloud.context import Context
from infra.local.cloud.records import Record
from infra.local.cloud.specs.balancers import ListenerRuleSpec, ListenerSpec, ServerGroupSpec


@dataclass(frozen=True)
class Parts:
    """What one balancer's configuration is made from."""

    listeners: list[Record[ListenerSpec]]
    rules: list[Record[ListenerRuleSpec]]
    groups: dict[str, Record[ServerGroupSpec]]
    hosts: dict[str, str]


def parts_of(context: Context, balancer: str) -> Parts:
    store = context.store
    listeners = [listener for listener in store.of_kind("Listener") if listener.spec.load_balancer_id == balancer]
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
