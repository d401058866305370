"""What accounts have in common, of databases and caches: their passwords, and whose name is the cloud's own."""

from __future__ import annotations

import re

ADMINISTRATOR = "yw_cloud"
"""The cloud's own account in every instance and cache."""
PASSWORD_RULE = "8 to 32 characters, three of four kinds"  # noqa: S105
SPECIAL = "!@#$%^&*()_+-="
_CLASSES = ("[a-z]", "[A-Z]", "[0-9]", f"[{re.escape(SPECIAL)}]")


def password_fault(value: object) -> str | None:
    """8 to 32 characters of three of the four classes. The password itself is never shown."""
    password = str(value)
    classes = sum(bool(re.search(kind, password)) for kind in _CLASSES)
    if not 8 <= len(password) <= 32:
        return f"has {len(password)} characters; allowed: 8 to 32"
    if classes < 3:
        return f"mixes {classes} kinds of characters; three of lower case, upper case, digits and {SPECIAL} are needed"
    if re.search(rf"[^A-Za-z0-9{re.escape(SPECIAL)}]", password):
        return f"has a character outside letters, digits and {SPECIAL}"
    return None
