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
# What is only filed has never left its tenant and comes in the order of its limits: index cases_on_desk has it so.
BY_FILING = """
SELECT {columns} FROM affairs.cases WHERE {holds} AND (filed_at, number) > ($2::timestamptz, $3)
ORDER BY filed_at, number LIMIT $4"""
# Index cases_open finds them; they are sorted, since a limit is one column's or the other's.
BY_LIMIT = """
SELECT {columns} FROM affairs.cases WHERE {holds} AND ({limit}, number) > ($2::date, $3)
ORDER BY {limit}, number LIMIT $4"""
# Index cases_closed has what has closed in this order.
BY_CHANGE = """
SELECT {columns} FROM affairs.cases WHERE {holds} AND (changed_at, number) < ($2::timestamptz, $3)
ORDER BY changed_at DESC, number DESC LIMIT $4"""
ORDERS: dict[DeskList, str] = {"filed": BY_FILING, "moved": BY_CHANGE, "closed": BY_CHANGE}
PAGES = {
    name: ORDERS.get(name, BY_LIMIT).format(columns=COLUMNS, holds=holds, limit=LIMIT) for name, holds in HOLDS.items()
}

# Index cases_open alone, which holds nothing but open cases and all that is asked of them.
FIGURES = f"""
SELECT count(*) FILTER (WHERE {HOLDS["filed"]}) AS filed,
    count(*) FILTER (WHERE {HOLDS["accepted"]}) AS accepted,
    count(*) FILTER (WHERE holder <> $1 OR status = 'in_transit') AS moved,
    count(*) FILTER (WHERE {HOLDS["open"]} AND {LIMIT} BETWEEN $2 AND $3) AS due_soon,
    count(*) FILTER (WHERE {HOLDS["open"]} AND {LIMIT} < $2) AS overdue
FROM affairs.cases WHERE {OPEN}"""  # noqa: S608

BEGINNINGS: dict[str, tuple[date, str]] = {
    BY_FILING: (datetime(1, 1, 1, tzinfo=UTC), ""),
    BY_LIMIT: (date.min, ""),
    BY_CHANGE: (datetime(9999, 1, 1, tzinfo=UTC), ""),
}


async def page(
    connection: Connection, tenant: str, name: DeskList, cursor: str | None
) -> tuple[list[DeskCase], str | None]:
    """A page of a list, and the cursor of the next one. Raises a Problem for what is no cursor of ours."""
    order = ORDERS.get(name, BY_LIMIT)
    read = read_day if order == BY_LIMIT else read_moment
    after = read(cursor) if cursor else BEGINNINGS[order]
    rows = await connection.fetch(PAGES[name], tenant, *after, PAGE + 1)
    cases = [DeskCase(**row) for row in rows[:PAGE]]
    return cases, write_cursor(_place(order, cases[-1]), cases[-1].number) if len(rows) > PAGE else None


def _place(order: str, case: DeskCase) -> date:
    if order == BY_LIMIT:
        return (case.accept_by if case.status == "filed" else case.due) or date.max
    return case.filed_at if order == BY_FILING else case.changed_at


async def figures(connection: Connection, tenant: str, today: date) -> DeskFigures:
    row = await connection.fetchrow(FIGURES, tenant, today, soon_until(today))
    assert row is not None
    return DeskFigures(**row)
