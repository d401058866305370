"""Open cases by their limits: a small index that holds them alone, so that counting them costs the same after years.

It is built within the revision, which keeps filings waiting while a table is read once. In a database that is large
already its owner builds the same index CONCURRENTLY before; it is then left as it is.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("""
        CREATE INDEX IF NOT EXISTS cases_open ON affairs.cases (holder, status, accept_by, due)
        WHERE status IN ('filed', 'accepted', 'in_transit')""")
