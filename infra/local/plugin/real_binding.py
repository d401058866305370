"""The binding of a class that the cloud really makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from infra.local.cloud.records import Owner, Record
from infra.local.plugin.binding import Actual, Creation, Gone, refusals
from infra.local.plugin.declared import Declared, DeclaredStore
from infra.local.plugin.shapes import RealClass
from infra.local.plugin.values import Values

if TYPE_CHECKING:
    from infra.local.cloud.cloud import Cloud
    from infra.local.cloud.kind import Kind

THING = "thing"
"""What the plugin remembers of a resource: the record's own id, where the class's ids look otherwise."""


class RealBinding:
    """Creates, reads, updates and deletes the records of one kind for the resources of one class."""

    def __init__(self, token: str, real: RealClass, cloud: Cloud, store: DeclaredStore) -> None:
        self._token, self._real, self._store = token, real, store
        self._kind: Kind[Any] = cloud.kind(real.kind)
        self._records = self._kind.store
        self._specifications: TypeAdapter[Any] = TypeAdapter(self._kind.spec_type)

    def create(self, creation: Creation, inputs: Values) -> Actual:
        with refusals():
            record = self._kind.create(Owner(creation.stack, creation.owner), self._specification(inputs))
        return self._remember(record, inputs, creation.urn, creation.number)

    def read(self, id: str) -> Actual | None:
        record = self._record(id)
        seen = self._kind.read(record.id) if record else None
        if seen is None:
            return None
        declared = self._store.get(self._token, id)
        inputs = self._real.observed(seen, declared.inputs if declared else {})
        return Actual(id, inputs, self._real.outputs(seen))

    def update(self, urn: str, id: str, inputs: Values) -> Actual:
        record = self._record(id)
        if record is None:
            raise Gone(id)
        with refusals():
            changed = self._kind.update(record.id, self._specification(inputs))
        return self._remember(changed, inputs, urn)

    def delete(self, id: str) -> None:
        record = self._record(id)
        with refusals():
            if record is not None:
                self._kind.delete(record.id)
        self._store.remove(self._token, id)

    def _specification(self, inputs: Values) -> Any:
        return self._specifications.validate_python(self._real.specification(inputs, self._resolve))

    def _resolve(self, token: str, id: str) -> str:
        declared = self._store.get(token, id)
        return str(declared.computed.get(THING, id)) if declared else id

    def _record(self, id: str) -> Record[Any] | None:
        """By what is remembered; else, for an import, by the look of the id."""
        record = self._records.get(self._resolve(self._token, id))
        if record is not None and record.kind == self._kind.name:
            return record
        return next((candidate for candidate in self._kind.list() if self._real.id_of(candidate) == id), None)

    def _remember(self, record: Record[Any], inputs: Values, urn: str, creation: int | None = None) -> Actual:
        id = self._real.id_of(record)
        self._store.put(Declared(self._token, id, urn, inputs, {THING: record.id}, creation))
        return Actual(id, inputs, self._real.outputs(record))
