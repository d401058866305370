"""Classes that nothing realises: the cloud keeps what was declared, its secrets encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.local.cloud.records import Owner
from infra.local.cloud.specs.kept import KeptSpec
from infra.local.plugin.binding import TAKEN, Actual, Creation, Gone, Refused, refusals
from infra.local.plugin.declared import Declared, DeclaredStore
from infra.local.plugin.shapes import KeptClass
from infra.local.plugin.values import Values

if TYPE_CHECKING:
    from infra.local.cloud.cloud import Cloud


class KeptBinding:
    """The binding of such a class."""

    def __init__(
        self, token: str, kept: KeptClass, cloud: Cloud, store: DeclaredStore, secrets: frozenset[str]
    ) -> None:
        self._token, self._kept, self._kind, self._store, self._secrets = token, kept, cloud.kept, store, secrets

    def create(self, creation: Creation, inputs: Values) -> Actual:
        id = self._kept.make_id(creation, inputs)
        # Owners of creations are unique within a class, those of the cloud within all that is kept.
        owner = Owner(creation.stack, f"{creation.owner} {self._token.removeprefix('alicloud:')}")
        with self._kind.store.lock(f"class-{self._token.replace('/', '-')}"):
            self._refuse_taken(id, creation.number, inputs)
            with refusals():
                self._kind.create(owner, self._specification(id, inputs))
            return self._remember(creation.urn, id, inputs, creation.number)

    def read(self, id: str) -> Actual | None:
        record = self._kind.find(f"{self._token}:{id}")
        if record is None:
            return None
        inputs = {**record.spec.inputs, **record.spec.secrets}
        declared = self._store.get(self._token, id)
        return Actual(id, inputs, declared.computed if declared else {})

    def update(self, urn: str, id: str, inputs: Values) -> Actual:
        record = self._kind.find(f"{self._token}:{id}")
        if record is None:
            raise Gone(id)
        with refusals():
            self._kind.update(record.id, self._specification(id, inputs))
        return self._remember(urn, id, inputs)

    def delete(self, id: str) -> None:
        record = self._kind.find(f"{self._token}:{id}")
        if record is not None:
            if reason := self._kept.protected({**record.spec.inputs, **record.spec.secrets}):
                raise Refused("DeletionProtection", reason)
            with refusals():
                self._kind.delete(record.id)
        self._store.remove(self._token, id)

    def _specification(self, id: str, inputs: Values) -> KeptSpec:
        open_inputs = {name: value for name, value in inputs.items() if name not in self._secrets}
        hidden = {name: value for name, value in inputs.items() if name in self._secrets}
        return KeptSpec(type=self._token, inputs=open_inputs, secrets=hidden, unique_name=id)

    def _refuse_taken(self, id: str, creation: int, inputs: Values) -> None:
        """A second thing of the same name, also where the first was retained by the program that declared it."""
        named = self._kept.named
        if named is None:
            namesakes, name = [self._store.get(self._token, id)], id
        else:
            name = named(inputs)
            namesakes = [declared for declared in self._store.of_class(self._token) if named(declared.inputs) == name]
        for namesake in namesakes:
            if namesake is not None and namesake.creation != creation:
                way = f"{TAKEN} {self._token} NAME {namesake.id}"
                raise Refused("EntityAlreadyExists", f"{name!r} exists, declared by {namesake.urn}; {way}")

    def _remember(self, urn: str, id: str, inputs: Values, creation: int | None = None) -> Actual:
        computed = self._kept.compute(id, inputs)
        self._store.put(Declared(self._token, id, urn, inputs, computed, creation))
        return Actual(id, inputs, computed)
