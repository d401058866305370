"""Working days as the State Council's yearly notice fixes them, in Asia/Shanghai.

The calendar of a year is published late in the year before. For a year that the library does not know yet,
Monday to Friday count, and `is_provisional` says so: the limit is then an estimate, never later than promised
by more than the holidays that are not yet fixed.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import chinese_calendar  # type: ignore[import-untyped]

SHANGHAI = ZoneInfo("Asia/Shanghai")
SOON_WORKING_DAYS = 2


def today() -> date:
    return datetime.now(SHANGHAI).date()


def is_provisional(day: date) -> bool:
    """True when the holidays of that year were not yet known to this release."""
    try:
        chinese_calendar.is_workday(day)
    except NotImplementedError:
        return True
    return False


def is_working_day(day: date) -> bool:
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.weekday() < 5


@lru_cache(maxsize=4096)
def after_working_days(start: date, count: int) -> date:
    """The last day of a limit of `count` working days; the day of the event itself does not count."""
    day = start
    while count > 0:
        day += timedelta(days=1)
        if is_working_day(day):
            count -= 1
    return day


def soon_until(day: date) -> date:
    """The last day that lies at most `SOON_WORKING_DAYS` after `day`: what is due by then is due soon."""
    return after_working_days(day, SOON_WORKING_DAYS + 1) - timedelta(days=1)
