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


TAKEN = "declare it once, choose another name, or take it over: pulumi import"


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
        way = f"; {TAKEN}" if error.code.startswith("EntityAlreadyExist") else ""
        raise Refused(error.code, error.message + way) from error


@dataclass(frozen=True)
class Creation:
    """One creation of a resource. Asked again, before any state has heard of it, it is the same one.

    `owner` is the logical name, or that name with a number: no other creation of the class and stack has it or had it,
    whatever was renamed, replaced, retained or deleted since. What the cloud names a thing by derives from it.
    """

    number: int
    urn: str
    owner: str

    @property
    def stack(self) -> str:
        return stack_of(self.urn)

    def fresh(self, prefix: str, digits: int = 17) -> str:
        """An id that looks like the cloud's, the same each time this creation is asked for."""
        return derived(prefix, self.stack, token_of(self.urn), self.owner, digits=digits)


def derived(prefix: str, *parts: str, digits: int = 17) -> str:
    """An id that looks like the cloud's, out of what it stands for."""
    return f"{prefix}{hashlib.sha256(chr(0).join((prefix, *parts)).encode()).hexdigest()[:digits]}"


def stack_of(urn: str) -> str:
    return urn.split("::")[0].removeprefix("urn:pulumi:")


def environment_of(urn: str) -> str:
    return stack_of(urn).partition(".")[0]


def token_of(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def name_of(urn: str) -> str:
    """The logical name."""
    return urn.split("::", 3)[3]


@dataclass(frozen=True)
class Realised:
    """A thing as it is: its id, the inputs that would make it so, and what the cloud alone can say of it."""

    id: str
    inputs: Values
    computed: Values


class Binding(Protocol):
    """All of it may be asked again after a sudden end, and then finishes what it began."""

    def create(self, creation: Creation, inputs: Values) -> Realised: ...

    def read(self, id: str) -> Realised | None: ...

    def update(self, urn: str, id: str, inputs: Values) -> Realised: ...

    def delete(self, id: str) -> None: ...


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
