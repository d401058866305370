"""The words and colours of a case's status, alike on every page."""

from __future__ import annotations

# status → (word, tone of the badge)
CASE_WORDS: dict[str, tuple[str, str]] = {
    "filed": ("待受理", "info"),
    "accepted": ("已受理", "warn"),
    "declined": ("不予受理", "bad"),
    "in_transit": ("流转中", "warn"),
    "granted": ("准予", "good"),
    "refused": ("不予批准", "bad"),
}
