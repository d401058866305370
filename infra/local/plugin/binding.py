"""How one class of the engine becomes one kind of thing in the cloud: the seam that each service's module fills.

A class that nothing realises is `Kept`: checked like the real one, remembered, and that is all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from infra.local.plugin.declared import Declared, DeclaredStore
from infra.local.plugin.values import Values


class Refused(Exception):
    """The cloud does not do it: the code that the real one answers, the reason, and where possible the way out."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


@dataclass(frozen=True)
class Identity:
    """Who asks: the same create asked twice has the same identity, a replacement has one of its own."""

    urn: str
    replaces: str | None = None

    @property
    def stack(self) -> str:
        return self.urn.split("::")[0].removeprefix("urn:pulumi:")

    @property
    def environment(self) -> str:
        return self.stack.partition(".")[0]

    @property
    def name(self) -> str:
        """The logical name."""
        return self.urn.split("::", 3)[3]

    def fresh(self, prefix: str, digits: int = 17) -> str:
        """An id that looks like the cloud's, the same each time this identity asks."""
        digest = hashlib.sha256(f"{self.urn}\0{self.replaces or ''}\0{prefix}".encode()).hexdigest()
        return f"{prefix}{digest[:digits]}"

    def number(self, digits: int = 16) -> str:
        digest = int(hashlib.sha256(f"{self.urn}\0{self.replaces or ''}".encode()).hexdigest(), 16)
        return str(10 ** (digits - 1) + digest % (9 * 10 ** (digits - 1)))


@dataclass(frozen=True)
class Realised:
    """A thing as it is: its id, the inputs that would make it so, and what the cloud alone can say of it."""

    id: str
    inputs: Values
    computed: Values


class Binding(Protocol):
    """All of it may be asked again after a sudden end, and then finishes what it began."""

    def create(self, identity: Identity, inputs: Values) -> Realised: ...

    def read(self, id: str) -> Realised | None: ...

    def update(self, id: str, inputs: Values) -> Realised: ...

    def delete(self, id: str) -> None: ...


MakeId = Callable[[Identity, Values], str]
Compute = Callable[[str, Values, Identity], Values]


Protected = Callable[[Values], str | None]


def unprotected(inputs: Values) -> str | None:
    """Why a delete is refused, or nothing."""
    return None


def plain_id(identity: Identity, inputs: Values) -> str:
    return identity.fresh("local-")


def nothing(id: str, inputs: Values, identity: Identity) -> Values:
    return {}


@dataclass(frozen=True)
class KeptClass:
    """What the store must know of a class that it keeps: how ids look, what is computed, what forbids a delete."""

    make_id: MakeId = plain_id
    compute: Compute = nothing
    most: int | None = None
    """The cloud's quota of this class."""
    protected: Protected = unprotected


class Kept:
    """A class that lives in the plugin's own store."""

    def __init__(self, token: str, kept: KeptClass, store: DeclaredStore) -> None:
        self._token, self._kept, self._store = token, kept, store

    def create(self, identity: Identity, inputs: Values) -> Realised:
        id = self._kept.make_id(identity, inputs)
        self._refuse_beyond_quota(id)
        computed = self._kept.compute(id, inputs, identity)
        fresh = Declared(self._token, id, identity.urn, inputs, computed, identity.replaces)
        taken = self._store.add(fresh)
        if taken and (taken.urn, taken.replaces) != (identity.urn, identity.replaces):
            raise Refused(
                "EntityAlreadyExists",
                f"{id!r} exists, declared by {taken.urn}; give it another name, or import it",
            )
        if taken:
            self._store.put(fresh)
        return Realised(id, inputs, computed)

    def read(self, id: str) -> Realised | None:
        found = self._store.get(self._token, id)
        return Realised(id, found.inputs, found.computed) if found else None

    def update(self, id: str, inputs: Values) -> Realised:
        found = self._store.get(self._token, id)
        if not found:
            raise Refused("NotFound", f"{id} is gone, deleted by hand perhaps; `pulumi refresh` takes note of it")
        computed = {**found.computed, **self._kept.compute(id, inputs, Identity(found.urn, found.replaces))}
        self._store.put(Declared(self._token, id, found.urn, inputs, computed, found.replaces))
        return Realised(id, inputs, computed)

    def delete(self, id: str) -> None:
        found = self._store.get(self._token, id)
        if found is None:
            return
        if reason := self._kept.protected(found.inputs):
            raise Refused("DeletionProtection", reason)
        self._store.remove(self._token, id)

    def _refuse_beyond_quota(self, id: str) -> None:
        if self._kept.most is None:
            return
        others = [other for other in self._store.of_class(self._token) if other.id != id]
        if len(others) >= self._kept.most:
            leaf = self._token.rpartition(":")[2]
            raise Refused(
                "QuotaExceeded", f"an account has at most {self._kept.most} of {leaf}; ask for a higher quota"
            )
