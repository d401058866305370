"""What the cloud keeps and does not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.cloud.records import fixed, reference


@dataclass(frozen=True)
class KeptSpec:
    """`type` is the caller's word for the kind; `unique_name` is refused a second time for the same type."""

    type: str = fixed()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False, metadata={"secret": True})
    unique_name: str = ""
    depends_on: tuple[str, ...] = reference("Kept", ())
