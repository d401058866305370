"""Property values between the engine's wire form and Python: secrets and unknowns stay what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import struct_pb2

# The protocol's own marks (pulumi/runtime/rpc.py of the SDK).
SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
UNKNOWN_MARK = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Values = dict[str, Any]


class Unknown:
    """A value that only the update itself will tell."""

    def __repr__(self) -> str:
        return "unknown"

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, _: object) -> Unknown:
        return self


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that the engine encrypts in its state and hides in its output."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(…)"


def from_struct(struct: struct_pb2.Struct) -> Values:
    return {name: _from_value(value) for name, value in struct.fields.items()}


def to_struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    return struct_pb2.Struct(fields={name: _to_value(value) for name, value in values.items()})


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _from_marked(value.struct_value)
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_MARK else value.string_value
    return value.bool_value if kind == "bool_value" else None


def _from_marked(struct: struct_pb2.Struct) -> Any:
    fields = from_struct(struct)
    mark = fields.get(SIGNATURE)
    if mark == SECRET:
        return Secret(fields.get("value"))
    if mark == OUTPUT:
        inner = fields.get("value", UNKNOWN)
        return Secret(inner) if fields.get("secret") else inner
    return fields


def _to_value(value: Any) -> struct_pb2.Value:
    if isinstance(value, Secret):
        return struct_pb2.Value(struct_value=to_struct({SIGNATURE: SECRET, "value": value.value}))
    if isinstance(value, Unknown):
        return struct_pb2.Value(string_value=UNKNOWN_MARK)
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=to_struct(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_to_value(item) for item in value]))
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(string_value=str(value))


def plain(value: Any) -> Any:
    """The value without its secret wrappers; absent (`null`) members are left out."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def is_secret(value: Any) -> bool:
    """Whether the value is a secret or holds one."""
    if isinstance(value, Secret):
        return True
    children: Iterable[Any] = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(is_secret(child) for child in children)


def has_unknown(value: Any) -> bool:
    if isinstance(value, Secret):
        return has_unknown(value.value)
    children: Iterable[Any] = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return isinstance(value, Unknown) or any(has_unknown(child) for child in children)


def wrap(values: Values, secrets: Iterable[str]) -> Values:
    """The values, with the named ones secret."""
    named = set(secrets)
    return {
        name: Secret(value) if name in named and value is not None and not isinstance(value, Secret) else value
        for name, value in values.items()
    }


def wrap_like(value: Any, model: Any) -> Any:
    """`value` with secret wrappers wherever `model`, an older form of it, has them."""
    if isinstance(model, Secret):
        return value if isinstance(value, Secret) else Secret(plain(value))
    if isinstance(value, Mapping) and isinstance(model, Mapping):
        return {name: wrap_like(item, model.get(name)) for name, item in value.items()}
    if isinstance(value, list) and isinstance(model, list):
        if len(value) == len(model):
            return [wrap_like(item, old) for item, old in zip(value, model, strict=True)]
        # Members cannot be told apart: one secret among the old ones makes the whole list secret.
        return Secret(plain(value)) if is_secret(model) else value
    return value


def transform(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` applied to each scalar in it."""
    if isinstance(value, Mapping):
        return {name: transform(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [transform(item, change) for item in value]
    return change(value)
