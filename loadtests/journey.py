"""A journey that scenarios may name, and what it is walked with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from loadtests.cases import OpenCases
    from loadtests.rehearsal import Kit, KitTenant
    from loadtests.scenario import JourneyShare
    from loadtests.visit import Visit

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


@dataclass(frozen=True)
class Companions:
    """What one journey is walked with. `citizen` and `clerk` (of a tenant, by its code) give a visit to count steps by:
    of the next citizen in turn, and of the tenant's clerk. `cases` are those that wait for a clerk."""

    share: JourneyShare
    kit: Kit
    tenants: Mapping[str, KitTenant]
    cases: OpenCases
    draw: random.Random
    citizen: Callable[[], Visit]
    clerk: Callable[[str], Visit]


Walk = Callable[[Companions, "KitTenant"], None]
"""Goes the journey at a tenant, whatever comes of it.

Raises:
    StepFailed: it cannot go on; what went wrong has been counted.
"""
