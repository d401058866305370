"""The provider's reading of the SDK's sources against the SDK itself; our programs against the provider's checks."""

from __future__ import annotations

import importlib
import inspect
import sys
import warnings
from typing import Any

import pytest
from pulumi import _types as sdk_types

from infra.local.plugin import lookup
from infra.local.plugin.check import check_object
from infra.local.plugin.classes import ResourceClass, Type, provider_inputs, resource_class, tokens
from infra.local.plugin.values import UNKNOWN
from infra.render import SECRET as SECRET_MARK
from infra.render import UNKNOWN as UNKNOWN_MARK
from infra.render import render

IN_USE = sorted(rules.token for rules in lookup.every_rule() if not rules.refused)
SCOPES = ("foundation", "cell-core", "cell-a", "zhejiang", "hangzhou")
STACKS = [f"{environment}.{scope}" for environment in ("prod", "test-render") for scope in SCOPES]


def sdk_arguments(token: str) -> type[Any]:
    """The SDK's own argument class, imported."""
    module, name = token.split(":")[1].split("/")[0], token.rpartition(":")[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = importlib.import_module(f"pulumi_alicloud.{module}")
    own = sys.modules[getattr(package, name).__module__]
    # `…InitArgs` where a nested type has the class's own name.
    arguments: type[Any] = getattr(own, f"{name}InitArgs", None) or getattr(own, f"{name}Args")
    return arguments


def required(arguments: type[Any]) -> set[str]:
    parameters = inspect.signature(arguments.__init__).parameters.values()
    return {
        parameter.name
        for parameter in parameters
        if parameter.kind == parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    }


@pytest.mark.parametrize("token", IN_USE)
def test_a_class_is_read_as_the_sdk_has_it(token: str) -> None:
    compare(resource_class(token).inputs, sdk_arguments(token), set())


def compare(read: dict[str, Any], arguments: type[Any], seen: set[type[Any]]) -> None:
    if arguments in seen:
        return
    seen.add(arguments)
    names = dict(sdk_types.input_type_py_to_pulumi_names(arguments))
    assert {member.python_name: member.name for member in read.values()} == names
    assert {member.python_name for member in read.values() if member.required} == required(arguments)
    for name, type_ in sdk_types.input_type_types(arguments).items():
        compare_type(read[name].type, type_, seen)


def compare_type(read: Type, actual: Any, seen: set[type[Any]]) -> None:
    actual = sdk_types.unwrap_type(actual)
    origin = getattr(actual, "__origin__", None)
    if read.kind == "object":
        compare(read.members(), actual, seen)
    elif read.kind == "list":
        assert origin is not None and read.element is not None
        compare_type(read.element, actual.__args__[0], seen)
    elif read.kind == "map":
        assert origin is not None and read.element is not None
        compare_type(read.element, actual.__args__[1], seen)
    else:
        assert {"string": str, "integer": int, "number": float, "boolean": bool}[read.kind] is actual


def test_every_class_of_the_sdk_is_checked() -> None:
    """All of them, not only those in use: each refuses an unknown input and misses the required ones."""
    sdk_tokens = tokens()
    assert len(sdk_tokens) > 1_000
    for token in sdk_tokens:
        definition = resource_class(token)
        failures = {failure.path for failure in check_object({"noSuchInput": 1}, definition.inputs)}
        assert failures == {
            "noSuchInput",
            *(member.name for member in definition.inputs.values() if member.required),
        }, token
        assert complete(definition), token


def complete(definition: ResourceClass) -> bool:
    return all(known(member.type) for member in (*definition.inputs.values(), *definition.state.values()))


def known(type_: Type) -> bool:
    if type_.kind in ("list", "map"):
        return type_.element is not None and known(type_.element)
    return type_.kind in ("string", "integer", "number", "boolean", "object")


def test_the_provider_s_own_settings_are_read() -> None:
    assert {"region", "assumeRole", "endpoints", "skipRegionValidation"} <= set(provider_inputs())


@pytest.mark.parametrize("stack", STACKS)
def test_our_programs_pass_the_checks(stack: str) -> None:
    """What the real provider would refuse, it would refuse after minutes; here at once, for production's stacks too."""
    declared = [resource for resource in render(stack).resources if resource.type.startswith("alicloud:")]
    assert declared
    refused = []
    for resource in declared:
        inputs = unmarked(resource.inputs)
        failures = [*check_object(inputs, resource_class(resource.type).inputs)]
        failures += lookup.rules_of(resource.type).failures(inputs)
        refused += [f"{resource.name}: {failure.path} {failure.reason}" for failure in failures]
    assert refused == []


def unmarked(value: Any) -> Any:
    """A rendering's marks as the values that the engine would send: not known yet."""
    if value in (SECRET_MARK, UNKNOWN_MARK):
        return UNKNOWN
    if isinstance(value, dict):
        return {name: unmarked(item) for name, item in value.items()}
    return [unmarked(item) for item in value] if isinstance(value, list) else value
