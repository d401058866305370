"""A clerk works on the cases that citizens' journeys have filed."""

from loadtests.journey import Journey

JOURNEY = Journey("clerk", dict.fromkeys(("desk", "take", "accept", "hand-over", "finish"), "affairs"))
