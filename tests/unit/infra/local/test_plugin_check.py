"""Inputs against the SDK's own definitions."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.plugin.check import check_object
from infra.local.plugin.classes import UnknownClass, resource_class
from infra.local.plugin.values import UNKNOWN, Secret

ACCOUNT = "alicloud:rds/rdsAccount:RdsAccount"
SERVER_GROUP = "alicloud:alb/serverGroup:ServerGroup"
BALANCER = "alicloud:alb/loadBalancer:LoadBalancer"
ZONES = [{"vswitchId": "vsw-1", "zoneId": "a"}, {"vswitchId": "vsw-2", "zoneId": "b"}]
GOOD: dict[str, Any] = {
    "addressType": "Intranet",
    "loadBalancerBillingConfig": {"payType": "PayAsYouGo"},
    "loadBalancerEdition": "Standard",
    "vpcId": "vpc-1",
    "zoneMappings": ZONES,
    "tags": {"role": "gateway"},
}


def failures(token: str, inputs: dict[str, Any]) -> dict[str, str]:
    return {failure.path: failure.reason for failure in check_object(inputs, resource_class(token).inputs)}


def test_good_inputs_pass() -> None:
    assert failures(BALANCER, GOOD) == {}


def test_unknown_and_secret_values_pass() -> None:
    assert failures(BALANCER, {**GOOD, "vpcId": UNKNOWN, "zoneMappings": UNKNOWN, "tags": {"a": Secret("b")}}) == {}


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"vpcId": None}, "vpcId", "is required"),
        ({"vpcid": "vpc-1"}, "vpcid", "did you mean `vpcId`?"),
        ({"vpcId": 7}, "vpcId", "must be a string, not the integer"),
        ({"vpcId": True}, "vpcId", "must be a string, not the boolean"),
        ({"zoneMappings": ZONES[0]}, "zoneMappings", "must be a list of object, not the object"),
        ({"zoneMappings": [{"zoneId": "a"}]}, "zoneMappings[0].vswitchId", "is required"),
        ({"zoneMappings": [{**ZONES[0], "zone": "a"}]}, "zoneMappings[0].zone", "is no input"),
        ({"deletionProtectionEnabled": "true"}, "deletionProtectionEnabled", "must be a boolean, not the string"),
        ({"tags": {"n": 1}}, "tags.n", "must be a string, not the integer"),
        ({"loadBalancerBillingConfig": "PayAsYouGo"}, "loadBalancerBillingConfig", "must be a object"),
    ],
)
def test_bad_inputs_are_named(change: dict[str, Any], path: str, reason: str) -> None:
    reasons = failures(BALANCER, {**GOOD, **change})
    assert reason in reasons[path]


def test_a_whole_number_is_no_broken_one() -> None:
    config = {"healthCheckEnabled": True, "healthCheckInterval": 2.5}
    reasons = failures(SERVER_GROUP, {"serverGroupName": "a", "healthCheckConfig": config})
    assert "must be a integer, not the number" in reasons["healthCheckConfig.healthCheckInterval"]


def test_a_refused_secret_is_not_shown() -> None:
    reasons = failures(ACCOUNT, {"accountPassword": Secret(4711)})
    assert "4711" not in str(reasons) and "accountPassword" in reasons


def test_a_class_that_the_sdk_does_not_have() -> None:
    with pytest.raises(UnknownClass, match="no class alicloud:ecs/instant:Instant"):
        resource_class("alicloud:ecs/instant:Instant")
