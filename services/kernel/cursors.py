"""Cursors: the place in an ordered list after which its next page begins, as text that a caller hands back unread."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, date, datetime, timedelta

from services.kernel.http import invalid

LONGEST_CURSOR = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write_cursor(position: date, key: str) -> str:
    """The place of a row: the day or moment that the list is ordered by, and its key, which orders equal ones."""
    moment = position if isinstance(position, datetime) else datetime(*position.timetuple()[:3], tzinfo=UTC)
    return urlsafe_b64encode(f"{(moment - EPOCH) // timedelta(microseconds=1)}.{key}".encode()).decode()


def read_moment(cursor: str) -> tuple[datetime, str]:
    """The moment and the key that a cursor holds. Raises a Problem for what is no cursor of ours."""
    try:
        if len(cursor) > LONGEST_CURSOR:
            raise ValueError("too long")
        microseconds, _, key = urlsafe_b64decode(cursor.encode("ascii")).decode("ascii").partition(".")
        if not key.isdigit():
            raise ValueError("no key")
        return EPOCH + timedelta(microseconds=int(microseconds)), key
    except (ValueError, OverflowError):  # what base64 refuses is a ValueError too
        raise invalid([{"loc": ("query", "cursor"), "msg": "is not a cursor"}]) from None


def read_day(cursor: str) -> tuple[date, str]:
    """As `read_moment`, for a list that is ordered by days."""
    moment, key = read_moment(cursor)
    return moment.date(), key
