"""Balancers: what listens, and who is behind."""

from __future__ import annotations

from infra.local.plugin.binding import Identity, KeptClass
from infra.local.plugin.realised import RealClass
from infra.local.plugin.rules import ClassRules, Failure, items, known, needs, number, on, one_of, tags, text, whole
from infra.local.plugin.values import Values

LOAD_BALANCER = "alicloud:alb/loadBalancer:LoadBalancer"
SERVER_GROUP = "alicloud:alb/serverGroup:ServerGroup"
LISTENER = "alicloud:alb/listener:Listener"
RULE = "alicloud:alb/rule:Rule"
NETWORK = "alicloud:vpc/network:Network"
HEALTH = "healthCheckConfig"
FINAL_ACTIONS = ("ForwardGroup", "Redirect", "FixedResponse")
NAMED = r"[A-Za-z\u4e00-\u9fff][\w\u4e00-\u9fff.-]*"


def _two_zones(inputs: Values) -> Failure | None:
    mappings = inputs.get("zoneMappings")
    if not isinstance(mappings, list):
        return None
    zones = [mapping.get("zoneId") for mapping in mappings if isinstance(mapping, dict) and known(mapping, "zoneId")]
    if len(mappings) < 2 or (len(zones) == len(mappings) and len(set(zones)) < 2):
        return Failure("zoneMappings", "names fewer than two zones: a balancer spreads over two at least")
    return None


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


def _load_balancer(id: str, inputs: Values, identity: Identity) -> Values:
    mappings = [{**mapping, "status": "Active", "loadBalancerAddresses": []} for mapping in inputs["zoneMappings"]]
    return {
        "dnsName": f"{id}.alb.yiwang.internal",
        "status": "Active",
        "createTime": "2026-01-01T00:00:00Z",
        "zoneMappings": mappings,
    }


def _protected(inputs: Values) -> str | None:
    if inputs.get("deletionProtectionEnabled"):
        return "deletionProtectionEnabled is on: turn it off, update, then delete"
    return None


RULES: dict[str, ClassRules] = {
    LOAD_BALANCER: ClassRules(
        LOAD_BALANCER,
        rules=(
            text(
                "loadBalancerName",
                "[P] alb_load_balancer",
                pattern=NAMED,
                shortest=2,
                longest=128,
                says="2 to 128 characters, a letter first",
            ),
            one_of("addressType", "[P] alb_load_balancer", "Internet", "Intranet"),
            one_of("addressAllocatedMode", "[P] alb_load_balancer", "Fixed", "Dynamic"),
            one_of("loadBalancerEdition", "[P] alb_load_balancer", "Basic", "Standard", "StandardWithWaf"),
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
        replace=frozenset({"vpcId", "loadBalancerBillingConfig", "addressAllocatedMode", "addressIpVersion"}),
        replace_source="[S] resource_alicloud_alb_load_balancer.go",
        refers={"vpcId": NETWORK},
    ),
    SERVER_GROUP: ClassRules(
        SERVER_GROUP,
        rules=(
            text(
                "serverGroupName",
                "[P] alb_server_group",
                pattern=NAMED,
                shortest=2,
                longest=128,
                says="2 to 128 characters, a letter first",
            ),
            one_of("protocol", "[P] alb_server_group", "HTTP", "HTTPS", "GRPC"),
            one_of("scheduler", "[P] alb_server_group", "Wrr", "Wlc", "Sch", "Uch"),
            one_of("serverGroupType", "[P] alb_server_group", "Instance", "Ip", "Fc"),
            number(f"{HEALTH}.healthCheckInterval", "[P] alb_server_group", 1, 50),
            number(f"{HEALTH}.healthCheckTimeout", "[P] alb_server_group", 1, 300),
            number(f"{HEALTH}.healthyThreshold", "[P] alb_server_group", 2, 10),
            number(f"{HEALTH}.unhealthyThreshold", "[P] alb_server_group", 2, 10),
            number(f"{HEALTH}.healthCheckConnectPort", "[P] alb_server_group", 0, 65535),
            one_of(f"{HEALTH}.healthCheckMethod", "[P] alb_server_group", "GET", "HEAD", "POST"),
            one_of(f"{HEALTH}.healthCheckProtocol", "[P] alb_server_group", "HTTP", "HTTPS", "TCP", "gRPC"),
            whole("a timeout within the interval", "[P] alb_server_group", _health),
            items("servers", "[A] quotas", 0, 1000),
            number("servers[].port", "[P] alb_server_group", 1, 65535),
            number("servers[].weight", "[P] alb_server_group", 0, 100),
            one_of("servers[].serverType", "[P] alb_server_group", "Ecs", "Eni", "Eci", "Ip", "Fc"),
            number("connectionDrainConfig.connectionDrainTimeout", "[P] alb_server_group", 0, 900),
            tags("[P] alb_server_group"),
        ),
        replace=frozenset({"protocol", "serverGroupType", "vpcId"}),
        replace_source="[S] resource_alicloud_alb_server_group.go",
        refers={"vpcId": NETWORK},
    ),
    LISTENER: ClassRules(
        LISTENER,
        rules=(
            one_of("listenerProtocol", "[P] alb_listener", "HTTP", "HTTPS", "QUIC"),
            number("listenerPort", "[P] alb_listener", 1, 65535),
            number("idleTimeout", "[P] alb_listener", 1, 600),
            number("requestTimeout", "[P] alb_listener", 1, 600),
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
        replace=frozenset({"listenerPort", "listenerProtocol", "loadBalancerId"}),
        replace_source="[S] resource_alicloud_alb_listener.go",
        refers={"loadBalancerId": LOAD_BALANCER},
    ),
    RULE: ClassRules(
        RULE,
        rules=(
            text(
                "ruleName",
                "[P] alb_rule",
                pattern=NAMED,
                shortest=2,
                longest=128,
                says="2 to 128 characters, a letter first",
            ),
            number("priority", "[P] alb_rule", 1, 10000),
            items("ruleActions", "[A] quotas", 1, 5),
            items("ruleConditions", "[A] quotas", 1, 10),
            whole("one last action", "[P] alb_rule", _one_final_action),
            on(
                "ruleConditions[].hostConfig.values[]",
                "3 to 128 characters",
                "[P] alb_rule",
                lambda host: None if 3 <= len(host) <= 128 else f"has {len(host)} characters; allowed: 3 to 128",
            ),
        ),
        replace=frozenset({"listenerId", "direction"}),
        replace_source="[S] resource_alicloud_alb_rule.go",
        refers={"listenerId": LISTENER},
    ),
}
CLASSES: dict[str, KeptClass | RealClass] = {
    LOAD_BALANCER: KeptClass(
        make_id=lambda identity, _: identity.fresh("alb-", 18), compute=_load_balancer, protected=_protected
    ),
    SERVER_GROUP: KeptClass(
        make_id=lambda identity, _: identity.fresh("sgp-", 18), compute=lambda *_: {"status": "Available"}
    ),
    LISTENER: KeptClass(make_id=lambda identity, _: identity.fresh("lsn-", 18)),
    RULE: KeptClass(make_id=lambda identity, _: identity.fresh("rule-", 18)),
}
