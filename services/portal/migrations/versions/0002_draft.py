"""Forms that could not be taken when they were sent, for an hour."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE portal.draft (
            id bytea PRIMARY KEY,
            sealed bytea NOT NULL,
            kept_until timestamptz NOT NULL)"""
    )
    op.execute("CREATE INDEX draft_by_end ON portal.draft (kept_until)")
