"""What the cloud answers when it refuses."""

from __future__ import annotations


class CloudError(Exception):
    """A refusal, with the real cloud's code where that is known.

    `code` is stable and for programs; `message` names the thing, the reason and the way out.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Missing(CloudError):
    """What a thing refers to does not exist."""


def refuse(code: str, what: str, fault: str | None) -> None:
    """Refuse where a value is wrong: `fault` says how, and follows what it is."""
    if fault:
        raise CloudError(code, f"{what} {fault}")
