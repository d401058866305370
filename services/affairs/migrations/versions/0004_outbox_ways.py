"""One relay at a time on each way out of a tenant."""

from __future__ import annotations

from services.kernel.schema import create_outbox_ways

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    create_outbox_ways("affairs")
