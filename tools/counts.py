"""Numbers of things, as they are told."""

from __future__ import annotations


def counted(number: int, singular: str, many: str = "") -> str:
    """`1 item`, `8 items`; `many` where it is not `singular` with an s."""
    return f"{number} {singular if number == 1 else many or f'{singular}s'}"
