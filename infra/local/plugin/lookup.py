"""What is to be known of a class: which product's module knows it, its rules, its shape, what a change of it means.

A module is imported when the first of its classes is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from infra.local.plugin.classes import resource_class
from infra.local.plugin.rules import ClassRules
from infra.local.plugin.shapes import KeptClass, RealClass

MODULES = (
    "actiontrail",
    "alb",
    "bastionhost",
    "cas",
    "dns",
    "ecs",
    "kms",
    "kvstore",
    "log",
    "oss",
    "pvtz",
    "ram",
    "rds",
    "resourcemanager",
    "vpc",
)
"""Named like the SDK's own modules; what is in none of them has the SDK's rules alone and is kept."""


@cache
def _module(name: str) -> Any:
    return importlib.import_module(f"infra.local.plugin.products.{name}")


def product_of(token: str) -> str:
    """`alicloud:rds/instance:Instance` → `rds`."""
    return token.split(":")[1].partition("/")[0]


def rules_of(token: str) -> ClassRules:
    product = product_of(token)
    rules: Mapping[str, ClassRules] = _module(product).RULES if product in MODULES else {}
    return rules.get(token) or ClassRules(token)


def secrets_of(token: str) -> frozenset[str]:
    """Inputs and outputs that are secret by the SDK's word or by ours."""
    return resource_class(token).secrets | rules_of(token).secrets


def shape_of(token: str) -> KeptClass | RealClass:
    product = product_of(token)
    classes: Mapping[str, KeptClass | RealClass] = _module(product).CLASSES if product in MODULES else {}
    return classes.get(token) or KeptClass()


def replaced_on(token: str) -> frozenset[str]:
    """Inputs whose change makes another thing: those that the cloud holds fixed, and what only the provider knows."""
    shape = shape_of(token)
    return rules_of(token).replace | (shape.replaced_on if isinstance(shape, RealClass) else frozenset())


def references_of(token: str) -> dict[str, str]:
    """Input → class of what must exist and stay while it is named: held by the cloud, or by us (`references.py`)."""
    shape = shape_of(token)
    classes = {real.kind: token for token, real in real_classes().items()}
    held = shape.references if isinstance(shape, RealClass) else {}
    return {**{input: classes[kind] for input, kind in held.items()}, **rules_of(token).refers}


def every_rule() -> list[ClassRules]:
    """For the documentation and its test."""
    return [rules for name in MODULES for rules in _module(name).RULES.values()]


def real_classes() -> dict[str, RealClass]:
    """Every class that the cloud really makes."""
    return {
        token: shape
        for name in MODULES
        for token, shape in _module(name).CLASSES.items()
        if isinstance(shape, RealClass)
    }
