"""What the account of this module may do with its tables."""

from __future__ import annotations

from services.kernel.schema import INBOX_RIGHTS

RIGHTS = (
    "GRANT SELECT, INSERT, UPDATE ON query.cases TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON query.attempts TO {role}",
    "GRANT EXECUTE ON FUNCTION query.apply_cases, query.count_attempt TO {role}",
    *INBOX_RIGHTS,
)
