"""The rules of the classes in use: each points at real inputs, cites a source, and refuses something."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from infra.local.cloud.specs.accounts import password_fault
from infra.local.plugin import lookup
from infra.local.plugin.classes import Property, resource_class
from infra.local.plugin.rules import ClassRules, Rule

EVERY = lookup.every_rule()
SG_RULE = "alicloud:ecs/securityGroupRule:SecurityGroupRule"
RDS = "alicloud:rds/instance:Instance"
BAD_VALUES: list[Any] = [
    *("no such thing", "", "x" * 40_000, -7, 10**9, [], ["x"] * 2_000, "public-read", "{"),
    *('{"Statement": [{}]}', "10.0.0.0/30", "10.0.0.1/8", {f"k{n}": "v" for n in range(21)}, "99/1", "1h"),
]


def failing(rules: ClassRules, inputs: dict[str, Any]) -> set[str]:
    return {failure.path for failure in rules.failures(inputs)}


def property_at(members: Mapping[str, Property], path: str) -> bool:
    name, _, rest = path.partition(".")
    bare = name.removesuffix("[]")
    if bare not in members:
        return False
    property_type = members[bare].type
    if name.endswith("[]"):
        assert property_type.element is not None
        property_type = property_type.element
    return not rest or (property_type.kind == "object" and property_at(property_type.members(), rest))


@pytest.mark.parametrize("rules", EVERY, ids=lambda rules: rules.token)
def test_every_rule_speaks_of_inputs_that_exist(rules: ClassRules) -> None:
    definition = resource_class(rules.token)
    for name in {*lookup.replaced_on(rules.token), *lookup.references_of(rules.token)}:
        assert name in definition.inputs, name
    for name in rules.secrets:
        assert name in definition.inputs or name in definition.state, name
    for rule in rules.rules:
        assert not rule.property or property_at(definition.inputs, rule.property), rule.property


@pytest.mark.parametrize("token", lookup.real_classes())
def test_what_the_cloud_holds_is_said_by_its_specification_alone(token: str) -> None:
    """That a field never changes and that it refers to another thing stand there once, not among our rules again."""
    rules, real = lookup.rules_of(token), lookup.real_classes()[token]
    assert not rules.replace & (real.replaced_on | real.in_place)
    assert not {*rules.refers} & {*real.references}
    fixed = dataclasses.replace(real, in_place=frozenset()).replaced_on
    assert real.in_place <= fixed


@pytest.mark.parametrize(
    ("token", "replaced", "refers"),
    [
        (SG_RULE, {"cidrIp", "priority", "nicType"}, {"securityGroupId": "alicloud:ecs/securityGroup:SecurityGroup"}),
        (RDS, {"engine", "vswitchId", "zoneId"}, {"encryptionKey": "alicloud:kms/key:Key"}),
        (
            "alicloud:dns/alidnsRecord:AlidnsRecord",
            {"domainName"},
            {"domainName": "alicloud:dns/alidnsDomain:AlidnsDomain"},
        ),
        ("alicloud:vpc/switch:Switch", {"cidrBlock", "zoneId", "isDefault"}, {"vpcId": "alicloud:vpc/network:Network"}),
    ],
)
def test_both_sources_say_what_is_replaced_and_what_must_exist(
    token: str, replaced: set[str], refers: dict[str, str]
) -> None:
    assert replaced <= lookup.replaced_on(token)
    assert refers.items() <= lookup.references_of(token).items()


def test_what_the_provider_changes_in_place_is_never_replaced() -> None:
    """The cloud cannot, and says so: a host or a network that vanishes for it would be worse than a refusal."""
    for token, input in (
        ("alicloud:ecs/instance:Instance", "vswitchId"),
        ("alicloud:ecs/instance:Instance", "privateIp"),
        ("alicloud:vpc/network:Network", "cidrBlock"),
        (RDS, "engineVersion"),
    ):
        assert input not in lookup.replaced_on(token)


@pytest.mark.parametrize("rules", EVERY, ids=lambda rules: rules.token)
def test_every_rule_cites_its_source(rules: ClassRules) -> None:
    for rule in rules.rules:
        assert rule.source and rule.says, rule
    assert not rules.replace or rules.replace_source, rules.token


@pytest.mark.parametrize("rules", EVERY, ids=lambda rules: rules.token)
def test_every_rule_on_a_value_refuses_something(rules: ClassRules) -> None:
    for rule in rules.rules:
        if rule.property:
            assert any(list(rule.check(placed(rule, bad))) for bad in BAD_VALUES if fits(rule, bad)), rule


def placed(rule: Rule, value: Any) -> dict[str, Any]:
    """The value where the rule looks for it."""
    for step in reversed(rule.property.split(".")):
        name = step.removesuffix("[]")
        value = {name: [value] if step.endswith("[]") else value}
    assert isinstance(value, dict)
    return value


def fits(rule: Rule, bad: Any) -> bool:
    """Rules run on values of the right type alone, for the SDK's types are checked before."""
    try:
        list(rule.check(placed(rule, bad)))
    except TypeError:
        return False
    return True


def of(token: str) -> ClassRules:
    return lookup.rules_of(token)


ALB_RULE = "alicloud:alb/rule:Rule"
FORWARD = {"type": "ForwardGroup", "order": 2}


@pytest.mark.parametrize(
    ("token", "good", "bad", "path"),
    [
        (
            SG_RULE,
            {"ipProtocol": "tcp", "portRange": "22/22", "cidrIp": "10.0.0.0/8"},
            {"portRange": None},
            "portRange",
        ),
        (SG_RULE, {"ipProtocol": "tcp", "portRange": "22/22", "cidrIp": "10.0.0.0/8"}, {"cidrIp": None}, "cidrIp"),
        (
            SG_RULE,
            {"ipProtocol": "tcp", "portRange": "22/22", "cidrIp": "10.0.0.0/8"},
            {"sourceSecurityGroupId": "sg-1"},
            "sourceSecurityGroupId",
        ),
        (SG_RULE, {"ipProtocol": "icmp", "cidrIp": "10.0.0.0/8"}, {"portRange": "1/2"}, "portRange"),
        (RDS, {"dbParamGroupId": "p"}, {"parameters": [{"name": "a", "value": "b"}]}, "parameters"),
        (RDS, {"roleArn": "acs:ram::1:role/a", "encryptionKey": "k"}, {"roleArn": None}, "roleArn"),
        (
            RDS,
            {"category": "HighAvailability", "zoneId": "a", "zoneIdSlaveA": "b", "vswitchId": "v1,v2"},
            {"vswitchId": "v1"},
            "vswitchId",
        ),
        (
            "alicloud:kms/key:Key",
            {"automaticRotation": "Disabled"},
            {"automaticRotation": "Enabled"},
            "rotationInterval",
        ),
        (
            "alicloud:alb/loadBalancer:LoadBalancer",
            {"zoneMappings": [{"zoneId": "a"}, {"zoneId": "b"}]},
            {"zoneMappings": [{"zoneId": "a"}, {"zoneId": "a"}]},
            "zoneMappings",
        ),
        (
            "alicloud:alb/serverGroup:ServerGroup",
            {"healthCheckConfig": {"healthCheckInterval": 2, "healthCheckTimeout": 1}},
            {"healthCheckConfig": {"healthCheckInterval": 2, "healthCheckTimeout": 5}},
            "healthCheckConfig.healthCheckTimeout",
        ),
        (ALB_RULE, {"ruleActions": [FORWARD]}, {"ruleActions": [FORWARD, FORWARD]}, "ruleActions"),
        (
            ALB_RULE,
            {"ruleActions": [{"type": "InsertHeader", "order": 1}, FORWARD]},
            {"ruleActions": [{"type": "InsertHeader", "order": 3}, FORWARD]},
            "ruleActions",
        ),
        ("alicloud:alb/listener:Listener", {"listenerProtocol": "HTTP"}, {"listenerProtocol": "HTTPS"}, "certificates"),
        (
            "alicloud:actiontrail/trail:Trail",
            {"trailName": "audit-trail", "slsProjectArn": "a"},
            {"slsProjectArn": None},
            "slsProjectArn",
        ),
        ("alicloud:vpc/snatEntry:SnatEntry", {"sourceVswitchId": "v"}, {"sourceCidr": "10.0.0.0/8"}, "sourceCidr"),
        ("alicloud:vpc/natGateway:NatGateway", {"vswitchId": "v"}, {"vswitchId": None}, "vswitchId"),
        ("alicloud:vpc/switch:Switch", {"zoneId": "a"}, {"zoneId": None}, "zoneId"),
        ("alicloud:pvtz/zone:Zone", {"zoneName": "a.internal"}, {"zoneName": None}, "zoneName"),
        ("alicloud:pvtz/zoneAttachment:ZoneAttachment", {"vpcs": [{"vpcId": "v"}]}, {"vpcs": None}, "vpcs"),
        ("alicloud:pvtz/zoneRecord:ZoneRecord", {"rr": "a", "type": "A"}, {"rr": None}, "rr"),
        ("alicloud:ecs/instance:Instance", {"keyName": "k"}, {"password": "Aa1!aaaa"}, "password"),
        (
            "alicloud:rds/backupPolicy:BackupPolicy",
            {"backupRetentionPeriod": 30, "logBackupRetentionPeriod": 30},
            {"logBackupRetentionPeriod": 60},
            "logBackupRetentionPeriod",
        ),
        ("alicloud:rds/accountPrivilege:AccountPrivilege", {"privilege": "DBOwner"}, {"privilege": "All"}, "privilege"),
    ],
)
def test_rules_on_several_inputs(token: str, good: dict[str, Any], bad: dict[str, Any], path: str) -> None:
    assert failing(of(token), good) == set()
    assert path in failing(of(token), {**good, **bad})


@pytest.mark.parametrize("rules", [rules for rules in EVERY if rules.refused], ids=lambda rules: rules.token)
def test_retired_classes_say_what_to_use(rules: ClassRules) -> None:
    (failure,) = rules.failures({})
    assert "use " in failure.reason


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("Aa1aaaa", "8 to 32"),
        ("A" + "a1" * 16, "8 to 32"),
        ("aaaaaaaa1", "mixes 2"),
        ("Aa1 aaaaa", "outside"),
        ("Aa1aaaaa", None),
        ("aaaa!!!!1", None),
    ],
)
def test_passwords(password: str, reason: str | None) -> None:
    verdict = password_fault(password)
    assert (verdict is None) == (reason is None) and (reason is None or reason in str(verdict))
    assert password not in str(verdict)
