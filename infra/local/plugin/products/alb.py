"""Balancers: what listens, and who is behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from infra.local.cloud.specs.balancers import (
    CHECK_INTERVALS,
    CHECK_THRESHOLDS,
    CHECK_TIMEOUTS,
    CONDITIONS,
    EDITIONS,
    FINAL_ACTIONS,
    LISTENER_PRIORITIES,
    TIMEOUTS,
    WEIGHTS,
    BalancerSpec,
    ListenerRuleSpec,
    ListenerSpec,
    ServerGroupSpec,
    zones_fault,
)
from infra.local.cloud.specs.forms import PORTS, Form
from infra.local.plugin.products.cas import CERTIFICATE
from infra.local.plugin.rules import (
    ClassRules,
    Failure,
    form,
    items,
    known,
    needs,
    number,
    on,
    one_of,
    tags,
    text,
    whole,
    within,
)
from infra.local.plugin.shapes import AnyRecord, Field, KeptClass, RealClass, Resolve
from infra.local.plugin.values import Values

LOAD_BALANCER = "alicloud:alb/loadBalancer:LoadBalancer"
SERVER_GROUP = "alicloud:alb/serverGroup:ServerGroup"
LISTENER = "alicloud:alb/listener:Listener"
RULE = "alicloud:alb/rule:Rule"
HEALTH = "healthCheckConfig"
NAME = Form(
    "2 to 128 characters, a letter first", pattern=r"[A-Za-z\u4e00-\u9fff][\w\u4e00-\u9fff.-]*", shortest=2, longest=128
)


def _two_zones(inputs: Values) -> Failure | None:
    mappings = inputs.get("zoneMappings")
    if not isinstance(mappings, list):
        return None
    # one that is not known yet may be any
    fault = zones_fault(
        mapping["zoneId"] if isinstance(mapping, dict) and known(mapping, "zoneId") else object()
        for mapping in mappings
    )
    return Failure("zoneMappings", fault) if fault else None


def _health(inputs: Values) -> Failure | None:
    config = inputs.get(HEALTH)
    if not isinstance(config, dict) or not known(config, "healthCheckInterval", "healthCheckTimeout"):
        return None
    if config["healthCheckTimeout"] <= config["healthCheckInterval"]:
        return None
    return Failure(f"{HEALTH}.healthCheckTimeout", "is longer than healthCheckInterval, which then holds instead")


def _one_final_action(inputs: Values) -> Failure | None:
    actions = inputs.get("ruleActions")
    if not isinstance(actions, list) or not all(
        isinstance(action, dict) and known(action, "type") for action in actions
    ):
        return None
    final = [action for action in actions if action["type"] in FINAL_ACTIONS]
    if len(final) != 1:
        return Failure("ruleActions", f"has {len(final)} of {', '.join(FINAL_ACTIONS)}; exactly one is needed")
    if any(action.get("order", 0) > final[0].get("order", 0) for action in actions if action is not final[0]):
        return Failure("ruleActions", f"{final[0]['type']} must come last: give it the highest order")
    return None


def _zone_mappings(mappings: list[Values]) -> list[Values]:
    return [{"zone_id": mapping["zoneId"], "switch_id": mapping["vswitchId"]} for mapping in mappings]


def _zone_mappings_back(mappings: Sequence[Any]) -> list[Values]:
    return [{"vswitchId": mapping.switch_id, "zoneId": mapping.zone_id} for mapping in mappings]


def _balancer(record: AnyRecord) -> Values:
    """The balancer has one address, in its first zone; the cloud's has one in each."""
    address = record.attributes.get("address", "")
    mappings = _zone_mappings_back(record.spec.zone_mappings)
    mappings[0]["loadBalancerAddresses"] = [{"intranetAddress": address, "address": address}]
    return {
        "dnsName": record.attributes.get("dns_name", ""),
        "status": record.attributes.get("status", "Active"),
        "zoneMappings": mappings,
    }


def _servers(servers: list[Values]) -> list[Values]:
    """Unset, a weight is 0 and a server gets no traffic [P]."""
    return [
        {
            "server_id": server["serverId"],
            "port": server.get("port", 0),
            "weight": server.get("weight", 0),
            "server_type": server["serverType"],
            "description": server.get("description", ""),
        }
        for server in servers
    ]


def _server_back(server: Any) -> Values:
    return {
        "serverId": server.server_id,
        "serverType": server.server_type,
        "port": server.port,
        "weight": server.weight,
        "description": server.description,
    }


def _servers_seen(record: AnyRecord, declared: Values) -> Values:
    """Servers as they were declared, unless somebody changed what the cloud knows of them."""
    if _servers(declared.get("servers", [])) == [asdict(server) for server in record.spec.servers]:
        return {"servers": declared["servers"]} if "servers" in declared else {}
    return {"servers": [_server_back(server) for server in record.spec.servers]}


def _health_check(config: Values) -> Values:
    names = {
        "healthCheckEnabled": "enabled",
        "healthCheckProtocol": "protocol",
        "healthCheckPath": "path",
        "healthCheckMethod": "method",
        "healthCheckHost": "host",
        "healthCheckConnectPort": "port",
        "healthCheckInterval": "interval",
        "healthCheckTimeout": "timeout",
        "healthyThreshold": "healthy_threshold",
        "unhealthyThreshold": "unhealthy_threshold",
    }
    given = {field: config[input] for input, field in names.items() if config.get(input) is not None}
    if config.get("healthCheckCodes"):
        given["codes"] = config["healthCheckCodes"]
    return given


def _listener(inputs: Values, resolve: Resolve) -> Values:
    """The certificate's number and its region; the group of the one default action."""
    certificate = inputs.get("certificates", {}).get("certificateId")
    number = certificate.partition("-")[0] if certificate else None
    forward = inputs["defaultActions"][0].get("forwardGroupConfig") or {}
    groups = [group["serverGroupId"] for group in forward.get("serverGroupTuples", [])]
    return {
        "certificate_ids": [resolve(CERTIFICATE, number)] if number else [],
        "default_server_group_id": groups[0] if groups else "",
    }


def _rule(inputs: Values, resolve: Resolve) -> Values:
    conditions = [_condition(condition) for condition in inputs["ruleConditions"]]
    final = next(action for action in inputs["ruleActions"] if action["type"] in FINAL_ACTIONS)
    return {"conditions": conditions, "action": _action(final)}


def _condition(condition: Values) -> Values:
    values: list[str] = next(
        (condition[name]["values"] for name in ("hostConfig", "pathConfig") if condition.get(name)), []
    )
    return {"type": condition["type"], "values": values}


def _action(action: Values) -> Values:
    fixed, redirect = action.get("fixedResponseConfig") or {}, action.get("redirectConfig") or {}
    forward = action.get("forwardGroupConfig") or {}
    groups = [group["serverGroupId"] for group in forward.get("serverGroupTuples", [])]
    return {
        "type": action["type"],
        "server_group_id": groups[0] if groups else "",
        "http_code": int(fixed.get("httpCode") or redirect.get("httpCode") or 0),
        "content": fixed.get("content", ""),
        "content_type": fixed.get("contentType", "text/plain"),
        "location": redirect.get("path", ""),
    }


RULES: dict[str, ClassRules] = {
    LOAD_BALANCER: ClassRules(
        LOAD_BALANCER,
        rules=(
            form("loadBalancerName", "[P] alb_load_balancer", NAME),
            one_of("addressType", "[P] alb_load_balancer", "Internet", "Intranet"),
            one_of("addressAllocatedMode", "[P] alb_load_balancer", "Fixed", "Dynamic"),
            one_of("loadBalancerEdition", "[P] alb_load_balancer", *EDITIONS),
            one_of("loadBalancerBillingConfig.payType", "[P] alb_load_balancer", "PayAsYouGo"),
            one_of(
                "modificationProtectionConfig.status", "[P] alb_load_balancer", "NonProtection", "ConsoleProtection"
            ),
            whole("two zones at least", "[P] alb_load_balancer", _two_zones),
            # The log service takes a balancer's log only in a store whose name says so.
            text(
                "accessLogConfig.logStore",
                "[P] alb_load_balancer",
                pattern=r"alb_.*",
                says="a store whose name begins with alb_",
            ),
            tags("[P] alb_load_balancer"),
        ),
        replace=frozenset({"loadBalancerBillingConfig", "addressAllocatedMode", "addressIpVersion"}),
        replace_source="[S] resource_alicloud_alb_load_balancer.go",
    ),
    SERVER_GROUP: ClassRules(
        SERVER_GROUP,
        rules=(
            form("serverGroupName", "[P] alb_server_group", NAME),
            one_of("protocol", "[P] alb_server_group", "HTTP", "HTTPS", "gRPC", "GRPC"),
            one_of("scheduler", "[P] alb_server_group", "Wrr", "Wlc", "Sch", "Uch"),
            one_of("serverGroupType", "[P] alb_server_group", "Instance", "Ip", "Fc"),
            within(f"{HEALTH}.healthCheckInterval", "[P] alb_server_group", CHECK_INTERVALS),
            within(f"{HEALTH}.healthCheckTimeout", "[P] alb_server_group", CHECK_TIMEOUTS),
            within(f"{HEALTH}.healthyThreshold", "[P] alb_server_group", CHECK_THRESHOLDS),
            within(f"{HEALTH}.unhealthyThreshold", "[P] alb_server_group", CHECK_THRESHOLDS),
            number(f"{HEALTH}.healthCheckConnectPort", "[P] alb_server_group", 0, 65535),
            one_of(f"{HEALTH}.healthCheckMethod", "[P] alb_server_group", "GET", "HEAD", "POST"),
            one_of(f"{HEALTH}.healthCheckProtocol", "[P] alb_server_group", "HTTP", "HTTPS", "TCP", "gRPC"),
            whole("a timeout within the interval", "[P] alb_server_group", _health),
            items("servers", "[A] quotas", 0, 1000),
            within("servers[].port", "[P] alb_server_group", PORTS),
            within("servers[].weight", "[P] alb_server_group", WEIGHTS),
            one_of("servers[].serverType", "[P] alb_server_group", "Ecs", "Eni", "Eci", "Ip", "Fc"),
            number("connectionDrainConfig.connectionDrainTimeout", "[P] alb_server_group", 0, 900),
            tags("[P] alb_server_group"),
        ),
        replace=frozenset({"serverGroupType"}),
        replace_source="[S] resource_alicloud_alb_server_group.go",
    ),
    LISTENER: ClassRules(
        LISTENER,
        rules=(
            one_of("listenerProtocol", "[P] alb_listener", "HTTP", "HTTPS", "QUIC"),
            within("listenerPort", "[P] alb_listener", PORTS),
            within("idleTimeout", "[P] alb_listener", TIMEOUTS),
            within("requestTimeout", "[P] alb_listener", TIMEOUTS),
            text("listenerDescription", "[P] alb_listener", shortest=2, longest=256, says="2 to 256 characters"),
            one_of("defaultActions[].type", "[P] alb_listener", "ForwardGroup"),
            items("defaultActions", "[P] alb_listener", 1, 1),
            one_of("status", "[P] alb_listener", "Running", "Stopped"),
            needs(
                "[P] alb_listener",
                "certificates",
                when=lambda inputs: inputs.get("listenerProtocol") in ("HTTPS", "QUIC"),
                because="for HTTPS and QUIC",
            ),
            tags("[P] alb_listener"),
        ),
        replace_source="[S] resource_alicloud_alb_listener.go",
    ),
    RULE: ClassRules(
        RULE,
        rules=(
            form("ruleName", "[P] alb_rule", NAME),
            within("priority", "[P] alb_rule", LISTENER_PRIORITIES),
            items("ruleActions", "[A] quotas", 1, 5),
            items("ruleConditions", "[A] quotas", CONDITIONS.low, CONDITIONS.high),
            whole("one last action", "[P] alb_rule", _one_final_action),
            on(
                "ruleConditions[].hostConfig.values[]",
                "3 to 128 characters",
                "[P] alb_rule",
                lambda host: None if 3 <= len(host) <= 128 else f"has {len(host)} characters; allowed: 3 to 128",
            ),
        ),
        replace=frozenset({"direction"}),
        replace_source="[S] resource_alicloud_alb_rule.go",
    ),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    LOAD_BALANCER: RealClass(
        BalancerSpec,
        {
            "vpcId": "vpc_id",
            "loadBalancerName": "name",
            "addressType": "address_type",
            "loadBalancerEdition": "edition",
            "deletionProtectionEnabled": "deletion_protection",
            "zoneMappings": Field("zone_mappings", _zone_mappings, _zone_mappings_back),
            "tags": "tags",
        },
        outputs=_balancer,
    ),
    SERVER_GROUP: RealClass(
        ServerGroupSpec,
        {
            "vpcId": "vpc_id",
            "serverGroupName": "name",
            "protocol": "protocol",
            "scheduler": "scheduler",
            "servers": Field("servers", _servers, lambda servers: [_server_back(server) for server in servers]),
            "tags": "tags",
        },
        more=lambda inputs, _: {"health_check": _health_check(inputs["healthCheckConfig"])},
        outputs=lambda record: {"status": "Available"},
        seen=_servers_seen,
    ),
    LISTENER: RealClass(
        ListenerSpec,
        {
            "loadBalancerId": "load_balancer_id",
            "listenerPort": "port",
            "listenerProtocol": "protocol",
            "idleTimeout": "idle_timeout",
            "requestTimeout": "request_timeout",
            "securityPolicyId": "security_policy_id",
            "listenerDescription": "description",
            "tags": "tags",
        },
        more=_listener,
        outputs=lambda record: {"status": "Running"},
    ),
    RULE: RealClass(
        ListenerRuleSpec,
        {"listenerId": "listener_id", "priority": "priority", "ruleName": "name"},
        more=_rule,
        outputs=lambda record: {"status": "Available"},
    ),
}
