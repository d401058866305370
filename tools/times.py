"""Moments as whoever sits at this machine reads them."""

from __future__ import annotations

from datetime import datetime


def local_time(told: str) -> str:
    """A moment that a service tells (ISO 8601), by this machine's clock and with the name of its zone."""
    return datetime.fromisoformat(told).astimezone().strftime("%Y-%m-%d %H:%M %Z")
