"""What a command says when it cannot go on, and no fault of its own is the reason."""

from __future__ import annotations


class ExpectedError(Exception):
    """A wrong word, a malformed file, a thing out of reach: the cause and, where it stands apart, the way out.

    A command catches this one class and shows no traceback.
    """

    def __init__(self, cause: str = "", way_out: str = "") -> None:
        super().__init__(f"{cause}\n{way_out}" if way_out else cause)
        self.cause = cause
        self.way_out = way_out
