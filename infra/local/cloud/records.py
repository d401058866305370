"""The words that every kind of thing shares: owner, specification, record."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Spec = TypeVar("Spec")


@dataclass(frozen=True, order=True)
class Owner:
    """Who declared a thing: a stack and its logical name there. The identity of the thing derives from it."""

    stack: str
    name: str


@dataclass(frozen=True)
class Record(Generic[Spec]):
    """A thing of the cloud: what was asked for (`spec`) and what the cloud made of it (`attributes`)."""

    id: str
    kind: str
    owner: Owner
    spec: Spec
    attributes: Mapping[str, Any]
    ready: bool = True


@dataclass(frozen=True)
class Status:
    """One line of `Cloud.status()`; `state` is Running, Stopped, Missing, Available or Creating."""

    id: str
    kind: str
    owner: Owner
    name: str
    state: str
    address: str = ""


def secret(default: Any = dataclasses.MISSING) -> Any:
    """A field that is encrypted at rest and never shown."""
    return field(default=default, repr=False, metadata={"secret": True})


def reference(kind: str, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds the id (or ids) of things of another kind: checked on create, and held until released."""
    return field(default=default, metadata={"reference": kind})


def fixed(default: Any = dataclasses.MISSING) -> Any:
    """A field that cannot change on a living thing: the real provider replaces instead."""
    return field(default=default, metadata={"fixed": True})


def fixed_reference(kind: str, default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"reference": kind, "fixed": True})


def named(kind: str, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds the cloud's own name of a thing of another kind, which is held like one referred to by id."""
    return field(default=default, metadata={"names": kind})


def fixed_name(kind: str, default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"names": kind, "fixed": True})


def secret_fields(spec_type: type[Any]) -> frozenset[str]:
    return frozenset(item.name for item in dataclasses.fields(spec_type) if item.metadata.get("secret"))


def fixed_fields(spec_type: type[Any]) -> frozenset[str]:
    return frozenset(item.name for item in dataclasses.fields(spec_type) if item.metadata.get("fixed"))


def references(spec: Any) -> Iterator[tuple[str, str]]:
    """(kind, id) of every thing that `spec` refers to by a marked field."""
    for item in dataclasses.fields(spec):
        kind = item.metadata.get("reference")
        if not kind:
            continue
        value = getattr(spec, item.name)
        for identity in (value,) if isinstance(value, str) else value:
            if identity:
                yield kind, identity


def names(spec: Any) -> Iterator[tuple[str, str]]:
    """(kind, name) of every thing that `spec` refers to by the cloud's own name for it."""
    for item in dataclasses.fields(spec):
        kind, name = item.metadata.get("names"), getattr(spec, item.name)
        if kind and name:
            yield kind, name


def referring_fields(spec_type: type[Any]) -> dict[str, str]:
    """Field → kind of what it refers to, by id or by name: what must exist, and stays for as long as this does."""
    kinds = {
        item.name: item.metadata.get("reference") or item.metadata.get("names")
        for item in dataclasses.fields(spec_type)
    }
    return {name: kind for name, kind in kinds.items() if kind}


def kind_of(spec_type: type[Any]) -> str:
    """The kind that a specification is of: `HostSpec` is of Host."""
    return spec_type.__name__.removesuffix("Spec")


def identity(prefix: str, environment: str, kind: str, owner: Owner) -> str:
    """The same owner always gets the same id, so a create that was cut off is adopted by the next."""
    digest = hashlib.sha256("\0".join((environment, kind, owner.stack, owner.name)).encode()).hexdigest()
    return f"{prefix}-{digest[:17]}"
