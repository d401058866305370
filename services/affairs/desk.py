"""The clerk's desk: a tenant's cases a page at a time, and how many there are."""

from __future__ import annotations

from datetime import UTC, date, datetime

from services.affairs.schema import DeskCase, DeskFigures, DeskList
from services.kernel.calendar import soon_until
from services.kernel.cursors import read_day, read_moment, write_cursor
from services.kernel.database import Connection

PAGE = 50
OPEN = "status IN ('filed', 'accepted', 'in_transit')"
CLOSED = "status IN ('granted', 'refused', 'declined')"
# The limit that runs now: for acceptance, then for the outcome.
LIMIT = "CASE status WHEN 'filed' THEN accept_by ELSE coalesce(due, 'infinity') END"

# What a list holds, of the tenant $1. Statuses stand in the text, so that the planner sees that partial indexes fit.
# What has closed is shown whoever closed it: it has been in this tenant's way.
HOLDS: dict[DeskList, str] = {
    "open": "holder = $1 AND status IN ('filed', 'accepted')",
    "filed": "holder = $1 AND status = 'filed'",
    "accepted": "holder = $1 AND status = 'accepted'",
    "moved": f"{OPEN} AND (holder <> $1 OR status = 'in_transit')",
    "closed": f"{CLOSED} AND $1::text IS NOT NULL",
}
COLUMNS = "number, item, item_name, status, holder, applicant_name, filed_at, changed_at, accept_by, due"
BY_LIMIT = """
SELECT {columns} FROM affairs.cases WHERE {holds} AND ({limit}, number) > ($2::date, $3)
ORDER BY {limit}, number LIMIT $4"""
BY_CHANGE = """
SELECT {columns} FROM affairs.cases WHERE {holds} AND (changed_at, number) < ($2::timestamptz, $3)
ORDER BY changed_at DESC, number DESC LIMIT $4"""
PAGES = {
    name: (BY_CHANGE if name in ("moved", "closed") else BY_LIMIT).format(columns=COLUMNS, holds=holds, limit=LIMIT)
    for name, holds in HOLDS.items()
}

# Index cases_open alone, which holds nothing but open cases and all that is asked of them.
FIGURES = f"""
SELECT count(*) FILTER (WHERE {HOLDS["filed"]}) AS filed,
    count(*) FILTER (WHERE {HOLDS["accepted"]}) AS accepted,
    count(*) FILTER (WHERE holder <> $1 OR status = 'in_transit') AS moved,
    count(*) FILTER (WHERE {HOLDS["open"]} AND {LIMIT} BETWEEN $2 AND $3) AS due_soon,
    count(*) FILTER (WHERE {HOLDS["open"]} AND {LIMIT} < $2) AS overdue
FROM affairs.cases WHERE {OPEN}"""  # noqa: S608

END_OF_TIME = (datetime(9999, 1, 1, tzinfo=UTC), "")


async def page(
    connection: Connection, tenant: str, name: DeskList, cursor: str | None
) -> tuple[list[DeskCase], str | None]:
    """A page of a list, and the cursor of the next one. Raises a Problem for what is no cursor of ours."""
    after: tuple[date, str]
    if name in ("moved", "closed"):
        after = read_moment(cursor) if cursor else END_OF_TIME
    else:
        after = read_day(cursor) if cursor else (date.min, "")
    rows = await connection.fetch(PAGES[name], tenant, *after, PAGE + 1)
    cases = [DeskCase(**row) for row in rows[:PAGE]]
    return cases, write_cursor(_place(name, cases[-1]), cases[-1].number) if len(rows) > PAGE else None


def _place(name: DeskList, case: DeskCase) -> date:
    if name in ("moved", "closed"):
        return case.changed_at
    return (case.accept_by if case.status == "filed" else case.due) or date.max


async def figures(connection: Connection, tenant: str, today: date) -> DeskFigures:
    row = await connection.fetchrow(FIGURES, tenant, today, soon_until(today))
    assert row is not None
    return DeskFigures(**row)
