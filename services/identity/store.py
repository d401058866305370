"""What is kept of all subjects alike: until it has expired. Each subject's own statements are in its own `store`."""

from __future__ import annotations

EXPIRED = (
    "DELETE FROM identity.attempt WHERE window_ends_at < now() - interval '1 hour'",
    "DELETE FROM identity.authorization_code WHERE expires_at < now() - interval '1 day'",
    "DELETE FROM identity.session WHERE expires_at < now() - interval '30 days'",
    "DELETE FROM identity.device WHERE seen_at < now() - interval '180 days'",
    "DELETE FROM identity.invitation WHERE expires_at < now() - interval '30 days'",
)
