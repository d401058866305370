"""What a module's `forget.py` is made of: how people of a rehearsal are called, and what counts as removed.

`forget(connection, subjects)` removes from a database of the module, as its owner, what these people left, and answers
with rows by table. It runs in batches, each a transaction, and may be run again and again. A row of an inbox stays: it
holds a sender and a sequence, nothing of a person, and forgetting one could have an old message applied again.
"""

from __future__ import annotations

USERNAME_MARK = "rehearsal-"
NAME_MARK = "演练"
BATCH = 500


def rows_of(status: str) -> int:
    """Rows that a statement says it has touched, for example `DELETE 12`."""
    return int(status.rpartition(" ")[2])
