"""What runs of an environment: each container with how it is made to run, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from infra.local.cloud.containers import Seen


@dataclass(frozen=True)
class Running:
    """`run` makes it run as recorded and says whether anything was done; `record` is the id of what stands behind it,
    empty for the environment's own services."""

    label: str
    container: str
    run: Callable[[Seen | None], bool]
    record: str = ""
