"""Working days as the State Council fixed them."""

from __future__ import annotations

from datetime import date

import pytest

from services.kernel.calendar import after_working_days, is_provisional, is_working_day


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
