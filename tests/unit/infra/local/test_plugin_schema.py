"""The schema that the engine writes code from."""

from __future__ import annotations

from typing import Any

from infra.local.plugin import lookup
from infra.local.plugin.classes import resource_class
from infra.local.plugin.schema import derive

BALANCER = "alicloud:alb/loadBalancer:LoadBalancer"
SECRET = "alicloud:kms/secret:Secret"


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"].removeprefix("#/types/")} if "$ref" in value else set()
        return own.union(*(references(inner) for inner in value.values()))
    return set().union(*(references(inner) for inner in value)) if isinstance(value, list) else set()


def test_classes_have_their_inputs_outputs_and_nested_types() -> None:
    schema = derive([BALANCER, SECRET])
    balancer, secret = schema["resources"][BALANCER], schema["resources"][SECRET]
    assert balancer["requiredInputs"] == sorted(
        input_property.name for input_property in resource_class(BALANCER).inputs.values() if input_property.required
    )
    mapping = "alicloud:alb/loadBalancerZoneMapping:LoadBalancerZoneMapping"
    assert balancer["inputProperties"]["zoneMappings"] == {"type": "array", "items": {"$ref": f"#/types/{mapping}"}}
    assert schema["types"][mapping]["properties"]["zoneId"] == {"type": "string"}
    assert schema["types"][mapping]["required"] == ["vswitchId", "zoneId"]
    assert secret["inputProperties"]["secretData"] == {"type": "string", "secret": True}
    assert "arn" in secret["properties"] and "arn" not in secret["inputProperties"]
    assert balancer["inputProperties"]["tags"] == {"type": "object", "additionalProperties": {"type": "string"}}


def test_whatever_is_named_is_there() -> None:
    schema = derive([rules.token for rules in lookup.every_rule()])
    assert references(schema) == set(schema["types"])
