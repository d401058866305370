"""Closed cases by their latest change: the desk turns their pages. A filing does not touch this index.

Where the table is large already its owner builds the same index CONCURRENTLY before; it is then left as it is.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
        CREATE INDEX IF NOT EXISTS cases_closed ON affairs.cases (changed_at DESC, number DESC)
        WHERE status IN ('granted', 'refused', 'declined')""")
