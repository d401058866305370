"""Numbers of things, as they are told."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """`1 item`, `8 items`; `many` where it is not `one` with an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
