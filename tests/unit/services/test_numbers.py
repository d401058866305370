"""Case numbers and check codes."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.affairs.numbers import (
    ALPHABET,
    case_number,
    check_code,
    check_code_hash,
    check_digit,
    is_case_number,
)

DAYS = st.dates(date(2020, 1, 1), date(2099, 12, 31))
SERIALS = st.integers(0, 9_999_999)


def test_the_check_digit_is_that_of_the_standards_example() -> None:
    # ISO/IEC 7064 gives 0794 with check digit 5 for MOD 11,10
    assert check_digit("0794") == "5"


@given(day=DAYS, serial=SERIALS)
def test_a_number_is_22_digits_and_says_where_and_when(day: date, serial: int) -> None:
    number = case_number("330106", day, serial)
    assert is_case_number(number)
    assert number[:21] == f"330106{day:%Y%m%d}{serial:07d}"


@given(day=DAYS, serial=SERIALS, place=st.integers(0, 21), change=st.integers(1, 9))
def test_every_single_wrong_digit_is_caught(day: date, serial: int, place: int, change: int) -> None:
    number = case_number("330106", day, serial)
    wrong = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
    assert not is_case_number(wrong)


def test_nearly_all_swapped_neighbours_are_caught_where_a_digit_sum_sees_none() -> None:
    swapped = []
    for serial in range(0, 9_999_999, 99_991):
        number = case_number("330106", date(2026, 11, 24), serial)
        for place in range(20):
            here, there = number[place], number[place + 1]
            if here != there:
                swapped.append(number[:place] + there + here + number[place + 2 :])
    missed = sum(is_case_number(text) for text in swapped)
    assert len(swapped) > 1000 and missed < 0.03 * len(swapped)


@pytest.mark.parametrize("text", ["", "1" * 21, "1" * 23, "３" * 22, "a" * 22, "-" * 22])
def test_what_is_no_number_is_none(text: str) -> None:
    assert not is_case_number(text)


def test_a_check_code_is_the_same_again_and_tells_nothing_of_the_next() -> None:
    first, second = (check_code(b"key", f"{number:022d}") for number in (1, 2))
    assert check_code(b"key", f"{1:022d}") == first
    assert check_code(b"other", f"{1:022d}") != first
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 6
    assert len(first) == 12 and set(first) <= set(ALPHABET)
    assert len(check_code_hash(first)) == 32 and first.encode() not in check_code_hash(first)


def test_the_alphabet_holds_nothing_that_is_misread() -> None:
    assert len(set(ALPHABET)) == 32 and not set("01IO") & set(ALPHABET)


def test_check_codes_use_every_character_alike() -> None:
    text = "".join(check_code(b"key", f"{number:022d}") for number in range(2000))
    counts = [text.count(character) for character in ALPHABET]
    assert min(counts) > 0.8 * sum(counts) / 32
