"""Classes that nothing realises: the cloud keeps what was declared, its secrets encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.local.cloud.kept import KeptSpec
from infra.local.cloud.records import Owner
from infra.local.plugin.binding import Gone, Identity, KeptClass, Realised, Refused, refusals
from infra.local.plugin.declared import Declared, DeclaredStore
from infra.local.plugin.values import Values

if TYPE_CHECKING:
    from infra.local.cloud import Cloud


class Kept:
    """The binding of such a class."""

    def __init__(
        self, token: str, kept: KeptClass, cloud: Cloud, store: DeclaredStore, secrets: frozenset[str]
    ) -> None:
        self._token, self._kept, self._kind, self._store, self._secrets = token, kept, cloud.kept, store, secrets

    def create(self, identity: Identity, inputs: Values) -> Realised:
        id = self._kept.make_id(identity, inputs)
        taken = self._store.get(self._token, id)
        if taken and taken.urn != identity.urn:
            raise Refused(
                "EntityAlreadyExists", f"{id!r} exists, declared by {taken.urn}; choose another name or import it"
            )
        # Logical names are unique within a class alone, owners within all that is kept.
        name = f"{identity.name} {self._token.rpartition(':')[2]}" + (
            f"~{identity.replaces}" if identity.replaces else ""
        )
        with refusals():
            self._kind.create(Owner(identity.stack, name), self._specification(id, inputs))
        return self._remember(identity, id, inputs, identity.replaces)

    def read(self, id: str) -> Realised | None:
        record = self._kind.find(f"{self._token}:{id}")
        if record is None:
            return None
        inputs = {**record.spec.inputs, **record.spec.secrets}
        declared = self._store.get(self._token, id)
        return Realised(id, inputs, declared.computed if declared else {})

    def update(self, identity: Identity, id: str, inputs: Values) -> Realised:
        record = self._kind.find(f"{self._token}:{id}")
        if record is None:
            raise Gone(id)
        with refusals():
            self._kind.update(record.id, self._specification(id, inputs))
        declared = self._store.get(self._token, id)
        return self._remember(identity, id, inputs, declared.replaces if declared else None)

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

    def _remember(self, identity: Identity, id: str, inputs: Values, replaces: str | None) -> Realised:
        computed = self._kept.compute(id, inputs, identity)
        self._store.put(Declared(self._token, id, identity.urn, inputs, computed, replaces))
        return Realised(id, inputs, computed)
