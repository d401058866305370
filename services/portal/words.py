"""How times, limits and steps read on a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from services.kernel.calendar import SHANGHAI, is_provisional, is_working_day, soon_until, today

OPEN_STATUSES = frozenset({"filed", "accepted", "in_transit"})
CLOSED_STATUSES = frozenset({"granted", "refused", "declined"})


def moment(at: datetime) -> str:
    return at.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")


def day(limit: date) -> str:
    """A time limit's day; where holidays may still move it, that is said."""
    return (
        f"{limit.isoformat()}（暂定，{limit.year} 年放假安排尚未公布）" if is_provisional(limit) else limit.isoformat()
    )


@dataclass(frozen=True)
class Due:
    """A time limit on the desk. `tone`: over, soon, calm."""

    date: str
    words: str
    tone: str
    provisional: bool = False


def due(limit: date, now: date | None = None) -> Due:
    """How much of a limit is left, in working days; the last day itself still counts."""
    now = now or today()
    days = _working_days_between(min(now, limit), max(now, limit))
    if now > limit:
        words, tone = f"已超期 {max(days, 1)} 个工作日", "over"
    elif now == limit:
        words, tone = "今天到期", "soon"
    else:
        words, tone = f"还剩 {days} 个工作日", "soon" if limit <= soon_until(now) else "calm"
    return Due(limit.isoformat(), words, tone, is_provisional(limit))


def _working_days_between(start: date, end: date) -> int:
    """Working days after `start` up to and with `end`."""
    return sum(is_working_day(date.fromordinal(day)) for day in range(start.toordinal() + 1, end.toordinal() + 1))


def grouped(number: str) -> str:
    """A case number as people read it: place, day, serial and check digit."""
    return f"{number[:6]} {number[6:14]} {number[14:]}"


def lasted(seconds: float) -> str:
    """How long something took, in the largest unit that says it."""
    for size, unit in ((86400, "天"), (3600, "小时"), (60, "分钟")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "不到 1 分钟"
