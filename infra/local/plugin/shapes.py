"""The two shapes of a class: kept as it was declared, or really made by the cloud."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.cloud.records import fixed_fields, kind_of, referring_fields
from infra.local.plugin.binding import Creation
from infra.local.plugin.values import Values

# --- kept

MakeId = Callable[[Creation, Values], str]
Compute = Callable[[str, Values], Values]
Name = Callable[[Values], str]
Protected = Callable[[Values], str | None]


def unprotected(inputs: Values) -> str | None:
    """Why a delete is refused, or nothing."""
    return None


def plain_id(creation: Creation, inputs: Values) -> str:
    return creation.fresh("local-")


def nothing(id: str, inputs: Values) -> Values:
    return {}


@dataclass(frozen=True)
class KeptClass:
    """A class that nothing realises: checked like the real one, kept by the cloud, and that is all."""

    make_id: MakeId = plain_id
    compute: Compute = nothing
    protected: Protected = unprotected
    named: Name | None = None
    """A name that the cloud gives once, where the id is another thing."""


# --- really made: inputs become a specification, the record's attributes become outputs

AnyRecord = Any
"""A `Record` of any kind: the cloud's modules are not loaded by these declarations."""


@dataclass(frozen=True)
class Field:
    """One input and the field of the specification that it becomes; `back` is the way round, for what is observed."""

    name: str
    to: Callable[[Any], Any] = lambda value: value
    back: Callable[[Any], Any] = lambda value: value


def listed(name: str) -> Field:
    return Field(name, tuple, list)


def with_commas(name: str) -> Field:
    """Several ids in one text."""
    return Field(name, lambda text: tuple(part for part in text.split(",") if part), ",".join)


def switched(name: str, on: str, off: str) -> Field:
    return Field(name, lambda word: word == on, lambda value: on if value else off)


def record_id(record: AnyRecord) -> str:
    return str(record.id)


def nothing_more(inputs: Values, resolve: Resolve) -> Values:
    return {}


def no_outputs(record: AnyRecord) -> Values:
    return {}


def nothing_else_seen(record: AnyRecord, declared: Values) -> Values:
    return {}


Resolve = Callable[[str, str], str]
"""(class, id) → the record's own id, for a reference by an id of another form."""


@dataclass(frozen=True)
class RealClass:
    """How one class maps to one kind of thing. Inputs that the kind does not have stay as they were declared."""

    spec: type[Any]
    """The kind's specification; it says which of its fields never change, and which refer to other things."""
    fields: Mapping[str, Field | str] = field(default_factory=dict)
    """input → field of the specification."""
    more: Callable[[Values, Resolve], Values] = nothing_more
    """Further fields of the specification, from several inputs."""
    outputs: Callable[[AnyRecord], Values] = no_outputs
    seen: Callable[[AnyRecord, Values], Values] = nothing_else_seen
    """Further inputs that can be told from a record."""
    id_of: Callable[[AnyRecord], str] = record_id
    in_place: frozenset[str] = frozenset()
    """Inputs that the real provider changes where they are, and this cloud cannot: a change is refused, and never a
    replacement."""

    @property
    def kind(self) -> str:
        return kind_of(self.spec)

    @property
    def replaced_on(self) -> frozenset[str]:
        """Inputs that the cloud never changes on a living thing."""
        fixed = fixed_fields(self.spec)
        return frozenset(input for input, mapped in self._mapped() if mapped.name in fixed) - self.in_place

    @property
    def references(self) -> dict[str, str]:
        """Input → kind of what it refers to."""
        kinds = referring_fields(self.spec)
        return {input: kinds[mapped.name] for input, mapped in self._mapped() if mapped.name in kinds}

    def specification(self, inputs: Values, resolve: Resolve) -> Values:
        given = {
            mapped.name: mapped.to(inputs[input]) for input, mapped in self._mapped() if inputs.get(input) is not None
        }
        return {**given, **self.more(inputs, resolve)}

    def observed(self, record: AnyRecord, declared: Values) -> Values:
        """The inputs as the cloud has them: what was declared, overlaid with what differs by now."""
        defaults = {spec_field.name: spec_field.default for spec_field in dataclasses.fields(record.spec)}
        inputs = dict(declared)
        for input, mapped in self._mapped():
            actual = getattr(record.spec, mapped.name)
            if input not in declared and (actual == defaults[mapped.name] or not actual):
                continue
            value = mapped.back(actual) if actual is not None else None
            if not _same(declared.get(input), value):
                inputs[input] = value
        return {**inputs, **self.seen(record, declared)}

    def _mapped(self) -> list[tuple[str, Field]]:
        return [(input, Field(mapped) if isinstance(mapped, str) else mapped) for input, mapped in self.fields.items()]


def _same(declared: Any, actual: Any) -> bool:
    """Lists of the cloud are sets: their order tells nothing. What is absent equals what is empty."""
    if isinstance(declared, list) and isinstance(actual, list):
        return sorted(map(str, declared)) == sorted(map(str, actual))
    return bool(declared == actual) or (not declared and not actual)
