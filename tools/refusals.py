"""How a command that cannot go on says so: what is wrong and the way out, and nobody is shown a traceback."""

from __future__ import annotations

import tempfile
import traceback

from infra.errors import ExpectedError

OWN_FAULT = "a fault of yiwang's own"


def explain(error: Exception) -> str:
    """What a command says before it ends. An error that nobody foresaw leaves its traceback in a file."""
    expected = foreseen(error)
    if expected is not None:
        return f"{expected.cause}\n        {expected.way_out}" if expected.way_out else str(expected) or repr(expected)
    with tempfile.NamedTemporaryFile("w", prefix="yiwang-", suffix=".traceback", delete=False) as file:
        traceback.print_exception(error, file=file)
    return f"{OWN_FAULT}: {error!r}\n        report it with {file.name}"


def foreseen(error: Exception) -> ExpectedError | None:
    """The error as our own base, if it is no fault of ours. What the system refuses (a full disk, a file of somebody
    else) may come from any line, so it is the only foreign kind that is known here; what a library raises is made ours
    where the library is called.
    """
    if isinstance(error, ExpectedError):
        return error
    if isinstance(error, OSError):
        return ExpectedError(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    return None
