"""A citizen files a case and follows it."""

from loadtests.journey import Journey

JOURNEY = Journey(
    "citizen", {"search": "affairs", "item": "affairs", "file": "affairs", "case": "affairs", "query": "query"}
)
