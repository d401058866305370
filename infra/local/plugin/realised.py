"""Classes that the cloud really makes: inputs become a specification, the record's attributes become outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.local.cloud.errors import CloudError
from infra.local.cloud.records import Owner, Record
from infra.local.plugin.binding import Identity, Realised, Refused
from infra.local.plugin.declared import Declared, DeclaredStore
from infra.local.plugin.values import Values

if TYPE_CHECKING:
    from infra.local.cloud import Cloud
    from infra.local.cloud.kind import Kind

AnyRecord = Record[Any]


def record_id(record: AnyRecord) -> str:
    return record.id


def no_observation(record: AnyRecord, declared: Values) -> Values:
    return {}


def no_outputs(record: AnyRecord) -> Values:
    return {}


@dataclass(frozen=True)
class RealClass:
    """How one class maps to one kind of thing.

    `observe` gives the inputs that the cloud can see, so that a refresh notices what somebody changed by hand; inputs
    that the kind does not have (a description) stay as they were declared.
    """

    kind: Callable[[Cloud], Kind[Any]]
    spec: Callable[[Cloud, Values], Any]
    outputs: Callable[[AnyRecord], Values] = no_outputs
    observe: Callable[[AnyRecord, Values], Values] = no_observation
    id_of: Callable[[AnyRecord], str] = record_id
    physical_of: Callable[[str], str] | None = None
    """The kind's physical name, from an id that is made of names; without it the id is the record's own."""


class RealThing:
    """The binding of such a class."""

    def __init__(self, token: str, real: RealClass, cloud: Cloud, store: DeclaredStore) -> None:
        self._token, self._real, self._cloud, self._store = token, real, cloud, store
        self._kind = real.kind(cloud)

    def create(self, identity: Identity, inputs: Values) -> Realised:
        name = identity.name + (f"~{identity.replaces}" if identity.replaces else "")
        try:
            record = self._kind.create(Owner(identity.stack, name), self._real.spec(self._cloud, inputs))
        except CloudError as error:
            raise Refused(error.code, error.message) from error
        return self._remember(record, inputs, identity.urn, identity.replaces)

    def read(self, id: str) -> Realised | None:
        record = self._record(id)
        seen = self._kind.read(record.id) if record else None
        if seen is None:
            return None
        declared = self._store.get(self._token, id)
        inputs = declared.inputs if declared else {}
        return Realised(id, {**inputs, **self._real.observe(seen, inputs)}, self._real.outputs(seen))

    def update(self, id: str, inputs: Values) -> Realised:
        record = self._record(id)
        if record is None:
            raise Refused("NotFound", f"{id} is gone, deleted by hand perhaps; `pulumi refresh` takes note of it")
        try:
            changed = self._kind.update(record.id, self._real.spec(self._cloud, inputs))
        except CloudError as error:
            raise Refused(error.code, error.message) from error
        declared = self._store.get(self._token, id)
        urn, replaces = (declared.urn, declared.replaces) if declared else (record.owner.name, None)
        return self._remember(changed, inputs, urn, replaces)

    def delete(self, id: str) -> None:
        record = self._record(id)
        try:
            if record is not None:
                self._kind.delete(record.id)
        except CloudError as error:
            raise Refused(error.code, error.message) from error
        self._store.remove(self._token, id)

    def _record(self, id: str) -> AnyRecord | None:
        if self._real.physical_of is None:
            record = self._cloud.store.get(id)
            return record if record is not None and record.kind == self._kind.name else None
        return self._kind.find(self._real.physical_of(id))

    def _remember(self, record: AnyRecord, inputs: Values, urn: str, replaces: str | None) -> Realised:
        id, computed = self._real.id_of(record), self._real.outputs(record)
        self._store.put(Declared(self._token, id, urn, inputs, {}, replaces))
        return Realised(id, inputs, computed)
