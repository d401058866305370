"""What the account of this module may do with its tables."""

from __future__ import annotations

RIGHTS = (
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA identity TO {role}",
    # what was done stays as it is
    "REVOKE UPDATE, DELETE ON identity.audit FROM {role}",
    "REVOKE ALL ON identity.alembic_version FROM {role}",
)
