"""How a command that cannot go on says so: what is wrong and the way out, and nobody is shown a traceback."""

from __future__ import annotations

import subprocess
import tempfile
import traceback

import httpx

from infra.errors import ExpectedError
from infra.local.cloud.errors import CloudError
from monitoring.prometheus import PrometheusError

EXPECTED = (ExpectedError, CloudError, PrometheusError, httpx.HTTPError, OSError, subprocess.SubprocessError)
"""What a command may end in without a fault of ours; each says by itself what is wrong."""
OWN_FAULT = "a fault of yiwang's own"


def explain(error: Exception) -> str:
    """What a command says before it ends. An error that nobody foresaw leaves its traceback in a file."""
    if isinstance(error, ExpectedError) and error.way_out:
        return f"{error.cause}\n        {error.way_out}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, EXPECTED):
        return str(error) or repr(error)
    with tempfile.NamedTemporaryFile("w", prefix="yiwang-", suffix=".traceback", delete=False) as file:
        traceback.print_exception(error, file=file)
    return f"{OWN_FAULT}: {error!r}\n        report it with {file.name}"
