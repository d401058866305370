"""How one class of the engine becomes one kind of thing in the cloud: the seam that each service's module fills."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from infra.local.plugin.values import Values


class Refused(Exception):
    """The cloud does not do it: the code that the real one answers, the reason, and where possible the way out."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


class Gone(Refused):
    """What should change does not exist any more."""

    def __init__(self, id: str) -> None:
        super().__init__("NotFound", f"{id} is gone, deleted by hand perhaps; `pulumi refresh` takes note of it")


@contextmanager
def refusals() -> Iterator[None]:
    """The cloud's refusals in the plugin's words."""
    from infra.local.cloud.errors import CloudError  # late: a preview without changes never loads the cloud

    try:
        yield
    except CloudError as error:
        raise Refused(error.code, error.message) from error


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

    def update(self, identity: Identity, id: str, inputs: Values) -> Realised: ...

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
    """A class that nothing realises: checked like the real one, kept by the cloud, and that is all."""

    make_id: MakeId = plain_id
    compute: Compute = nothing
    protected: Protected = unprotected
