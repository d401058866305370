"""The package's schema, for commands that write code (`pulumi import`): names and types of every class of the SDK.

Derived from the SDK as `classes.py` reads it. All classes together take half a minute, so the document lies in the
cache of built tools, under the digest of what it is derived from; the engine keeps a copy beside its plugins.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from functools import cache as remembered
from pathlib import Path
from typing import Any

from infra.folder import cache
from infra.local.plugin import PACKAGE, VERSION, classes
from infra.local.plugin.classes import Property, Type, provider_inputs, resource_class, tokens

MODULE = r"(.*)(?:/[^/]*)"
"""`alicloud:log/project:Project` lies in the module `log`."""


def document() -> str:
    """The schema as the engine takes it."""
    file = cache() / "schemas" / f"{PACKAGE}-{digest()}.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        draft.write_text(json.dumps(derive(tokens())))
        draft.replace(file)
    return file.read_text()


@remembered
def digest() -> str:
    """Of the SDK's version and of the two modules that read it."""
    parts = [importlib.metadata.version("pulumi_alicloud")]
    parts += [Path(str(module)).read_text() for module in (__file__, classes.__file__)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def derive(wanted: list[str]) -> dict[str, Any]:
    """The schema of these classes, with the nested types that they name."""
    types: dict[str, Any] = {}
    return {
        "name": PACKAGE,
        "version": VERSION,
        "meta": {"moduleFormat": MODULE},
        "language": {"python": {"pyproject": {"enabled": True}}},
        "provider": _object(provider_inputs(), types, inputs=True),
        "resources": {token: _resource(token, types) for token in wanted},
        "types": types,
    }


def _resource(token: str, types: dict[str, Any]) -> dict[str, Any]:
    definition = resource_class(token)
    return {
        **_object(definition.inputs, types, inputs=True, secrets=definition.secrets),
        "properties": _properties(definition.state, types, definition.secrets),
    }


def _object(
    members: dict[str, Property], types: dict[str, Any], inputs: bool, secrets: frozenset[str] = frozenset()
) -> dict[str, Any]:
    properties, required = ("inputProperties", "requiredInputs") if inputs else ("properties", "required")
    return {
        properties: _properties(members, types, secrets),
        required: sorted(member.name for member in members.values() if member.required),
    }


def _properties(members: dict[str, Property], types: dict[str, Any], secrets: frozenset[str]) -> dict[str, Any]:
    return {
        member.name: {**_type(member.type, types), **({"secret": True} if member.name in secrets else {})}
        for member in members.values()
    }


def _type(type_: Type, types: dict[str, Any]) -> dict[str, Any]:
    if type_.kind == "list":
        assert type_.element is not None
        return {"type": "array", "items": _type(type_.element, types)}
    if type_.kind == "map":
        assert type_.element is not None
        return {"type": "object", "additionalProperties": _type(type_.element, types)}
    if type_.kind == "object":
        return {"$ref": f"#/types/{_nested(type_, types)}"}
    return {"$ref": "pulumi.json#/Any"} if type_.kind == "any" else {"type": type_.kind}


def _nested(type_: Type, types: dict[str, Any]) -> str:
    """The token of a nested type; its members are added to `types` the first time."""
    assert type_.nested is not None and type_.folder is not None
    name = type_.nested.removesuffix("Args")
    module = type_.folder.name if type_.folder != classes.sdk_folder() else "index"
    token = f"{PACKAGE}:{module}/{name[0].lower()}{name[1:]}:{name}"
    if token not in types:
        types[token] = {}  # before its members: a type may hold itself
        types[token] = {"type": "object", **_object(type_.members(), types, inputs=False)}
    return token
