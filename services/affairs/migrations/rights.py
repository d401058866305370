"""What the accounts of this module may do with its tables."""

from __future__ import annotations

from services.kernel.schema import INBOX_RIGHTS, OUTBOX_RIGHTS, OUTBOX_WAYS_RIGHTS

RIGHTS = (
    "GRANT SELECT, INSERT, UPDATE ON affairs.implementations, affairs.cases TO {role}",
    # what was published and what was done stays as it is: no update, no delete
    "GRANT SELECT, INSERT ON affairs.standards, affairs.traces, affairs.materials TO {role}",
    "GRANT USAGE ON SEQUENCE affairs.serial_blocks TO {role}",
    "GRANT EXECUTE ON FUNCTION affairs.file_cases TO {role}",
    *OUTBOX_RIGHTS,
    *OUTBOX_WAYS_RIGHTS,
    *INBOX_RIGHTS,
)

MEASURED = (
    "GRANT SELECT (number, status, holder, filed_at, accept_by, due) ON affairs.cases TO {role}",
    "GRANT SELECT (destination, sequence, created_at) ON affairs.outbox TO {role}",
)
"""What `measures.py` reads: no name, no telephone, no form."""
