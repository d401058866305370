"""Cases that this process's citizens have filed and that wait for one of its clerks. Never anybody else's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

MOST_WAITING = 5000
SETTLE_SECONDS = 5.0
AGAIN_SECONDS = 2.0
LOST_SECONDS = 20.0
"""A hand-over that has not arrived by then counts as wrong; `slo.yaml` promises a quarter of it."""
INDEXED_SECONDS = 30.0
"""A person's case must be in the index by then."""
FIRST_PAGE = 10
"""So many of a person's newest cases are on the first page, whatever they file meanwhile: it holds twenty."""


def not_indexed(filed: Mapping[str, tuple[float, str]], listed: Collection[str], at: float) -> list[str]:
    """Numbers of the cases that should be on a person's first page and are not. `filed`: when, and the item, oldest
    first."""
    newest = list(filed)[-FIRST_PAGE:]
    return [number for number in newest if at - filed[number][0] > INDEXED_SECONDS and number not in listed]


@dataclass
class OpenCase:
    number: str
    item: str
    applicant_name: str


@dataclass
class HandedOver:
    """A case on its way to `tenant`, looked for there from `ready_at` on."""

    case: OpenCase
    tenant: str
    sent_at: float
    ready_at: float

    def lost(self, now: float) -> bool:
        return now - self.sent_at > LOST_SECONDS


@dataclass
class OpenCases:
    clock: Callable[[], float]
    _filed: dict[str, deque[OpenCase]] = field(default_factory=dict)
    _handed: deque[HandedOver] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))

    def add(self, tenant: str, case: OpenCase) -> None:
        self._filed.setdefault(tenant, deque(maxlen=MOST_WAITING)).append(case)

    def place(self, tenant: str) -> str | None:
        """Where a clerk finds work: at `tenant`, else where most cases wait; None when none waits."""
        if self._filed.get(tenant):
            return tenant
        busiest = max(self._filed, key=lambda code: len(self._filed[code]), default=None)
        return busiest if busiest is not None and self._filed[busiest] else None

    def take(self, tenant: str) -> OpenCase:
        return self._filed[tenant].popleft()

    def hand_over(self, tenant: str, case: OpenCase) -> None:
        now = self.clock()
        self._handed.append(HandedOver(case, tenant, now, now + SETTLE_SECONDS))

    def arrived(self) -> HandedOver | None:
        """The oldest case that was handed over long enough ago for its receiver to have it."""
        now = self.clock()
        for place, handed_over in enumerate(self._handed):
            if handed_over.ready_at <= now:
                del self._handed[place]
                return handed_over
        return None

    def look_again(self, handed_over: HandedOver) -> None:
        """Not there yet: another clerk looks a little later."""
        handed_over.ready_at = self.clock() + AGAIN_SECONDS
        self._handed.append(handed_over)
