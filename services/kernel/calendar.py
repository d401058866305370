"""Working days as the State Council's yearly notice fixes them, in Asia/Shanghai.

The calendar of a year is published late in the year before. The thirteen statutory days hold without it; which days
are worked or given off beside them it alone says. For a year that the library does not know yet, Monday to Friday
count but for those thirteen, and `is_provisional` says so: the limit is then an estimate, and whoever is shown it is
told.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import chinese_calendar  # type: ignore[import-untyped]

FIXED_HOLIDAYS = {(1, 1), (5, 1), (5, 2), (10, 1), (10, 2), (10, 3)}
LUNAR_HOLIDAYS = {(1, 1), (1, 2), (1, 3), (5, 5), (8, 15)}
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
        return day.weekday() < 5 and not is_statutory_holiday(day)


@lru_cache(maxsize=1024)
def is_statutory_holiday(day: date) -> bool:
    """New Year, the Spring Festival and its eve, Qingming, Labour Day, Dragon Boat, Mid-Autumn, National Day.

    From the regulation on holidays as it stands since 2025: thirteen days a year, Mid-Autumn may fall on another.
    """
    if (day.month, day.day) in FIXED_HOLIDAYS:
        return True
    try:
        lunar, next_day = _lunar(day), _lunar(day + timedelta(days=1))
    except IndexError:  # the lunar calendar reaches to 2099
        return False
    return (
        lunar.todaySolarTerms == "清明"
        or (next_day.lunarMonth, next_day.lunarDay) == (1, 1)
        or (not lunar.isLunarLeapMonth and (lunar.lunarMonth, lunar.lunarDay) in LUNAR_HOLIDAYS)
    )


def _lunar(day: date) -> Any:
    import cnlunar  # type: ignore[import-untyped]  # only what reaches into a year without a notice needs it

    return cnlunar.Lunar(datetime(day.year, day.month, day.day, 12))


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
