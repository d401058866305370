"""What the account of this module may do with its tables."""

from __future__ import annotations

RIGHTS = ("GRANT SELECT, INSERT, UPDATE, DELETE ON portal.session, portal.draft TO {role}",)
