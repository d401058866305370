"""A journey that scenarios may name: who goes it, and by which steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Who = Literal["citizen", "clerk"]
OF_THE_LOG_IN = {"log-in": "identity", "refresh": "identity"}
"""Step → service, of every journey."""


@dataclass(frozen=True)
class Journey:
    """`who` goes it, and logs in before the ramp where a scenario says `log_in: once`. `steps`: those after the log-in,
    in their order, each with the service that answers it."""

    who: Who
    steps: Mapping[str, str]

    def service_of(self, step: str) -> str:
        """
        Raises:
            KeyError: it has no such step.
        """
        return OF_THE_LOG_IN.get(step) or self.steps[step]
