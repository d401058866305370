"""Working days as the State Council fixed them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kernel.calendar import after_working_days, is_provisional, is_statutory_holiday, is_working_day


@pytest.mark.parametrize(
    ("day", "works"),
    [
        (date(2026, 10, 1), False),  # National Day
        (date(2026, 10, 10), True),  # a Saturday that is worked for it
        (date(2026, 9, 20), True),  # a Sunday that is worked for it
        (date(2026, 11, 24), True),
        (date(2026, 11, 21), False),
        (date(2025, 1, 26), True),  # a Sunday worked for the Spring Festival
    ],
)
def test_holidays_and_the_days_worked_for_them(day: date, works: bool) -> None:
    assert is_working_day(day) is works


@pytest.mark.parametrize(
    ("start", "count", "end"),
    [
        (date(2026, 11, 24), 0, date(2026, 11, 24)),
        (date(2026, 11, 24), 1, date(2026, 11, 25)),
        (date(2026, 11, 20), 1, date(2026, 11, 23)),  # over a week-end
        (date(2026, 9, 30), 1, date(2026, 10, 8)),  # over National Day
        (date(2026, 10, 9), 1, date(2026, 10, 10)),  # into a worked Saturday
    ],
)
def test_a_limit_counts_from_the_day_after(start: date, count: int, end: date) -> None:
    assert after_working_days(start, count) == end


def test_counting_calendar_days_would_end_too_early() -> None:
    assert after_working_days(date(2026, 9, 30), 5) > date(2026, 10, 5)


def test_a_year_not_yet_published_counts_monday_to_friday_and_says_so() -> None:
    later = date(2090, 1, 2)
    assert is_provisional(later) and not is_provisional(date(2026, 1, 2))
    assert is_working_day(later) is (later.weekday() < 5)
    assert after_working_days(date(2090, 1, 2), 5) == date(2090, 1, 9)


# Qingming, eve and first day of the Spring Festival, Dragon Boat, Mid-Autumn, as the almanac has them
MOVING = {
    2027: "04-05 02-05 02-06 06-09 09-15",
    2028: "04-04 01-25 01-26 05-28 10-03",
    2029: "04-04 02-12 02-13 06-16 09-22",
    2030: "04-05 02-02 02-03 06-05 09-12",
    2033: "04-04 01-30 01-31 06-01 09-08",
}


@pytest.mark.parametrize("year", MOVING)
def test_the_thirteen_statutory_days_hold_without_a_notice(year: int) -> None:
    qingming, eve, new_year, dragon_boat, mid_autumn = (
        date.fromisoformat(f"{year}-{day}") for day in MOVING[year].split()
    )
    festival = {eve, *(new_year + timedelta(days=later) for later in range(3))}
    fixed = {date(year, month, day) for month, day in ((1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3))}
    statutory = festival | fixed | {qingming, dragon_boat, mid_autumn}
    days = [date(year, 1, 1) + timedelta(days=number) for number in range(365)]
    assert {day for day in days if is_statutory_holiday(day)} == statutory
    if is_provisional(new_year):
        assert not any(is_working_day(day) for day in statutory)


def test_new_year_is_no_working_day_before_its_notice_is_out() -> None:
    """2091 stands for any year without a notice; 1 January is a Monday there."""
    assert date(2091, 1, 1).weekday() == 0 and not is_working_day(date(2091, 1, 1))
    assert after_working_days(date(2090, 12, 29), 1) == date(2091, 1, 2)


@given(year=st.integers(2025, 2099))
@settings(max_examples=10)
def test_every_year_has_its_thirteen_days(year: int) -> None:
    days = [date(year, 1, 1) + timedelta(days=number) for number in range(366)]
    holidays = [day for day in days if day.year == year and is_statutory_holiday(day)]
    assert len(holidays) in (12, 13), "Mid-Autumn may fall on National Day"


def test_what_lies_beyond_the_lunar_calendar_is_still_told() -> None:
    assert is_working_day(date(2100, 3, 1)) and not is_working_day(date(2101, 10, 3))
    assert is_provisional(date(2101, 1, 1))
