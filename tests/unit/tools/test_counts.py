"""One thing is told as one."""

from __future__ import annotations

import pytest

from tools.counts import counted


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (1, ("thing",), "1 thing"),
        (0, ("thing",), "0 things"),
        (8, ("item",), "8 items"),
        (1, ("person", "people"), "1 person"),
        (2, ("person", "people"), "2 people"),
    ],
)
def test_one_thing_is_told_as_one(number: int, words: tuple[str, ...], told: str) -> None:
    assert counted(number, *words) == told
