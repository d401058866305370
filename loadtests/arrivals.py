"""When journeys begin, whatever the answers take: the timetable of an open arrival.

People decide to come independently of each other, so arrivals are a Poisson process; its rate rises along a straight
line through the ramp and stays in the hold. The timetable is the same in every process and every run of a scenario
(its seed is fixed): process i of n takes each n-th arrival, so that all together are one Poisson process.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from loadtests.rehearsal import KitTenant
from loadtests.scenario import JourneyShare, Scenario

SEED = 20_260_101
# Where a resident's matter is dealt with; within a level tenants have shares by their residents. Without this the
# province, of which everybody is a resident, would get most of what counties do.
LEVELS = {"county": 0.80, "city": 0.15, "province": 0.05}


@dataclass(frozen=True)
class Arrival:
    """`at`: seconds from the start of the ramp."""

    number: int
    at: float
    share: JourneyShare
    tenant: KitTenant


class Draw:
    """Which journey somebody begins, and at which tenant."""

    def __init__(self, scenario: Scenario, tenants: Sequence[KitTenant], seed: int = SEED) -> None:
        self.random = random.Random(seed)  # noqa: S311 - nothing here is a secret
        self._shares = scenario.journeys
        self._by_journey = list(accumulate(share.share for share in scenario.journeys))
        self._tenants = list(tenants)
        self._by_tenant = list(accumulate(weights(tenants)))

    def journey(self) -> JourneyShare:
        return self.random.choices(self._shares, cum_weights=self._by_journey)[0]

    def tenant(self) -> KitTenant:
        return self.random.choices(self._tenants, cum_weights=self._by_tenant)[0]


def weights(tenants: Sequence[KitTenant]) -> list[float]:
    """Each tenant's share of the arrivals, adding up to 1."""
    levels = {tenant.level for tenant in tenants}
    present = sum(share for level, share in LEVELS.items() if level in levels)
    residents = {
        level: sum(max(tenant.residents, 1) for tenant in tenants if tenant.level == level) for level in levels
    }
    return [LEVELS[tenant.level] / present * max(tenant.residents, 1) / residents[tenant.level] for tenant in tenants]


def timetable(scenario: Scenario, tenants: Sequence[KitTenant], seed: int = SEED) -> Iterator[Arrival]:
    """All arrivals of ramp and hold in order: as many in each as the rate says, at the moments of a Poisson process
    that has so many. A short hold of another number would be a load of another rate.
    """
    assert scenario.rate is not None, "a scenario with an open arrival has a rate"
    draw = Draw(scenario, tenants, seed)
    ramp, hold = scenario.ramp_seconds, scenario.hold_seconds
    in_ramp = (ramp * math.sqrt(share) for share in _shares(round(scenario.rate * ramp / 2), draw.random))
    in_hold = (ramp + hold * share for share in _shares(round(scenario.rate * hold), draw.random))
    for number, at in enumerate(chain(in_ramp, in_hold)):
        yield Arrival(number, at, draw.journey(), draw.tenant())


def _shares(many: int, draw: random.Random) -> Iterator[float]:
    """So many independent moments of a time of length 1, in order (L. Devroye, Non-Uniform Random Variate Generation,
    1986, V.3.1): the moments of a Poisson process, given their number.
    """
    left = 1.0
    for remaining in range(many, 0, -1):
        left *= (1 - draw.random()) ** (1 / remaining)
        yield 1 - left
