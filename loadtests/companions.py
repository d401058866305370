"""What a journey is walked with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from loadtests.cases import OpenCases
from loadtests.rehearsal import Kit, KitTenant
from loadtests.scenario import JourneyShare
from loadtests.visit import Visit


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


Walk = Callable[[Companions, KitTenant], None]
"""Goes the journey at a tenant, whatever comes of it.

Raises:
    StepFailed: it cannot go on; what went wrong has been counted.
"""
