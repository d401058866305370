"""What a run (`run.py`) and the Locust that it starts agree on: the words of Locust's lines, and how long each waits.

Each bound says whose it is. Whoever watches waits longer than those they watch, so that the one who knows most gets to
say what went wrong: generators, then the conductor, then the run, which ends all of them. Nothing here needs Locust.
"""

from __future__ import annotations

PROGRESS = "rehearsal: "
"""Begins a line that tells how it goes."""
FAILURE = "rehearsal failed: "
"""Begins a line that tells why there will be no result."""

GENERATOR_LOG_IN_SECONDS = 300.0
"""For everybody who logs in before the ramp."""
GENERATOR_DRAIN_SECONDS = 30.0
"""For journeys that have begun, after the hold."""

CONDUCTOR_READY_SECONDS = GENERATOR_LOG_IN_SECONDS + 10
"""Until all generators have logged people in."""
CONDUCTOR_NEWS_SECONDS = GENERATOR_DRAIN_SECONDS + 15
"""After the hold, until all generators have said that it is over."""

RUN_READY_SECONDS = CONDUCTOR_READY_SECONDS + 70
"""Until the ramp begins: Locust and its workers start first."""
RUN_END_SECONDS = CONDUCTOR_NEWS_SECONDS + 15
"""After the hold, until Locust has ended."""
