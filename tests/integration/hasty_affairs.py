"""`python -m tests.integration.hasty_affairs`: affairs with other limits, told by `YIWANG_TEST_LIMITS`.

`hasty`: a fifth of each time, so that a hang of seconds is to it what one of half a minute is to the real one.
`unbounded`: in addition a relay that knows no time: whole batches, and a receiver without an end or a memory of them.
"""

from __future__ import annotations

import os

from services.affairs.app import create
from services.kernel import outbox
from services.kernel.outbox import BATCH, Envelope, Receiver, Relay, Way
from services.kernel.server import serve
from services.kernel.settings import ServiceSettings


class WholeBatches(Way):
    def managed(self, messages: int, seconds: float) -> None:
        self.size, self.failures = BATCH, 0


async def remember_nothing(self: Receiver, envelope: Envelope) -> set[int]:
    return set()


def hasten() -> None:
    outbox.TAKING_SECONDS = 0.5
    outbox.LEASE_SECONDS = 1.6
    Relay.POST_SECONDS = 1.0
    Way.SECONDS = 0.2
    Relay.LONGEST_REST = 1.2


def unbind() -> None:
    outbox.TAKING_SECONDS = 3600.0
    outbox.Way = WholeBatches  # type: ignore[misc]
    Receiver._taken_before = remember_nothing  # type: ignore[method-assign]


if __name__ == "__main__":
    hasten()
    if os.environ["YIWANG_TEST_LIMITS"] == "unbounded":
        unbind()
    serve(create(ServiceSettings()))
