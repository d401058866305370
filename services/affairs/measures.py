"""What can be told of a tenant's records at little cost; the monitoring asks every half minute.

One statement, so one round trip and one snapshot. No part of it reads more as the years go by: filings are read back
to a mark, open cases and waiting messages are what is at hand, and of messages at most ten thousand are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import get_args

from services.affairs.schema import Status
from services.kernel.calendar import after_working_days
from services.kernel.database import Connection

# A filing gets its moment when it arrives and is seen when it is committed: after this long none is still on its way.
SETTLED_SECONDS = 120
MOST_MESSAGES = 10_000


@dataclass(frozen=True)
class Measures:
    """A tenant at one moment.

    `filed` filings came at or after the mark that was asked for; `settled` of them lie before `mark`, the one to ask
    for next. The open cases that this tenant holds go by the limit that is theirs: to be accepted, or to be done.
    """

    filed: int
    settled: int
    mark: datetime
    in_time: int
    due_soon: int
    overdue: int
    oldest_waiting_seconds: float
    index_lag_seconds: float
    messages_waiting: int


# filings: index cases_on_desk (status, filed_at), a short range of each status: filing needs no further index for it.
#   The mark is a parameter itself, not a subquery's value, so that the planner sees how short the range is.
#   A copy of a case that came from elsewhere bears that tenant's code in its number.
# open_cases: index cases_open, which holds nothing but open cases and all that is asked of them.
# oldest: the first entry of cases_on_desk. A case that is only filed has never left its tenant.
# lag: the first entry of the outbox' key. messages: stops at the bound.
MEASURE = """
WITH filings AS (
    SELECT count(*) AS filed,
        count(*) FILTER (WHERE filed_at < now() - make_interval(secs => $3)) AS settled
    FROM affairs.cases
    WHERE status = ANY($4::text[]) AND filed_at >= coalesce($2::timestamptz, now()) AND starts_with(number, $1)),
open_cases AS (
    SELECT count(*) FILTER (WHERE final < $5) AS overdue,
        count(*) FILTER (WHERE final BETWEEN $5 AND $6) AS due_soon,
        count(*) FILTER (WHERE final > $6 OR final IS NULL) AS in_time
    FROM (SELECT CASE status WHEN 'filed' THEN accept_by ELSE due END AS final FROM affairs.cases
        WHERE holder = $1 AND status IN ('filed', 'accepted', 'in_transit')) AS limited),
messages AS (SELECT count(*) AS waiting FROM (SELECT FROM affairs.outbox LIMIT $7) AS bounded)
SELECT filed, settled, greatest(coalesce($2::timestamptz, now()), now() - make_interval(secs => $3)) AS mark,
    in_time, due_soon, overdue,
    coalesce((SELECT extract(epoch FROM now() - filed_at)::float8 FROM affairs.cases WHERE status = 'filed'
        ORDER BY filed_at LIMIT 1), 0) AS oldest_waiting_seconds,
    coalesce((SELECT extract(epoch FROM now() - created_at)::float8 FROM affairs.outbox WHERE destination = 'query'
        ORDER BY sequence LIMIT 1), 0) AS index_lag_seconds,
    waiting AS messages_waiting
FROM filings, open_cases, messages"""


async def measure(connection: Connection, tenant: str, mark: datetime | None, today: date) -> Measures:
    """The tenant `tenant` now, its filings since `mark`; without a mark they count from now on.

    A limit that ends today or on the next working day is due soon; one that ended before today is overdue.
    """
    row = await connection.fetchrow(
        MEASURE,
        tenant,
        mark,
        SETTLED_SECONDS,
        list(get_args(Status)),
        today,
        after_working_days(today, 1),
        MOST_MESSAGES,
    )
    assert row is not None
    return Measures(**row)
