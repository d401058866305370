"""Sessions of one site."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE portal.session (
            id bytea PRIMARY KEY,
            sealed bytea NOT NULL,
            seen_at timestamptz NOT NULL,
            expires_at timestamptz NOT NULL,
            renewing_until timestamptz)"""
    )
    op.execute("CREATE INDEX session_by_end ON portal.session (expires_at)")
    op.execute("CREATE INDEX session_by_sight ON portal.session (seen_at)")
