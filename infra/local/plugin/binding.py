"""How one class of the engine becomes one kind of thing in the cloud: the seam that each service's module fills."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from infra.local.cloud.errors import CloudError, Missing
from infra.local.plugin.values import Values


class Refused(Exception):
    """The cloud does not do it: the code that the real one answers, the reason, and where possible the way out."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


MADE_FIRST = "pass that resource's output, not its name as a text, so that it is made first"
GOES_FIRST = "delete that first"
TAKEN = "declare it once, choose another name, or take it over: pulumi import"


class Gone(Refused):
    """What should change does not exist any more."""

    def __init__(self, id: str) -> None:
        super().__init__("NotFound", f"{id} is gone, deleted by hand perhaps; `pulumi refresh` takes note of it")


@contextmanager
def refusals() -> Iterator[None]:
    """The cloud's refusals in the plugin's words."""
    try:
        yield
    except CloudError as error:
        raise Refused(error.code, error.message + _way_out(error)) from error


def _way_out(error: CloudError) -> str:
    if isinstance(error, Missing):
        return f"; {MADE_FIRST}"
    if error.code == "DependencyViolation":
        return f"; {GOES_FIRST}"
    return f"; {TAKEN}" if error.code.startswith("EntityAlreadyExist") else ""


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
class Actual:
    """A thing as it is: its id, the inputs that would make it so, and what the cloud alone can say of it."""

    id: str
    inputs: Values
    computed: Values


class Binding(Protocol):
    """All of it may be asked again after a sudden end, and then finishes what it began."""

    def create(self, creation: Creation, inputs: Values) -> Actual: ...

    def read(self, id: str) -> Actual | None: ...

    def update(self, urn: str, id: str, inputs: Values) -> Actual: ...

    def delete(self, id: str) -> None: ...
