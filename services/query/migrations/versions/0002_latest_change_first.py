"""A person's cases by their latest change, which is the order of their list.

The index takes the place of the one by filing: the release before finds a person's cases with it too, and sorts those
few by itself. Where the table is large already its owner builds the same index CONCURRENTLY before.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("CREATE INDEX IF NOT EXISTS cases_by_change ON query.cases (applicant, changed_at DESC, number DESC)")
    op.execute("DROP INDEX IF EXISTS query.cases_of_applicant")
