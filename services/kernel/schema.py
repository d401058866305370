"""Pieces of schema that several modules' revisions share. What a revision has used never changes here."""

from __future__ import annotations

from alembic import op

OUTBOX_RIGHTS = ("GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.outbox TO {role}",)
OUTBOX_WAYS_RIGHTS = ("GRANT SELECT, INSERT, UPDATE ON {schema}.outbox_ways TO {role}",)
INBOX_RIGHTS = ("GRANT SELECT, INSERT ON {schema}.inbox TO {role}",)


def create_outbox(schema: str) -> None:
    """The table behind `kernel.outbox.Relay`; its body is text, since only the receiver reads it."""
    op.execute(f"""
        CREATE TABLE {schema}.outbox (
            sequence bigint GENERATED ALWAYS AS IDENTITY,
            destination text NOT NULL,
            kind text NOT NULL,
            key text NOT NULL,
            body text NOT NULL,
            attempts integer NOT NULL DEFAULT 0,
            next_attempt_at timestamptz NOT NULL DEFAULT now(),
            last_error text,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (destination, sequence))""")
    op.execute(f"CREATE INDEX outbox_by_key ON {schema}.outbox (destination, key, sequence)")


def create_outbox_ways(schema: str) -> None:
    """Which relay sends to a destination, and until when it may: a lease, so that nothing is locked meanwhile."""
    op.execute(f"""
        CREATE TABLE {schema}.outbox_ways (
            destination text PRIMARY KEY,
            holder text NOT NULL,
            held_until timestamptz NOT NULL)""")


def create_inbox(schema: str) -> None:
    """The table behind `kernel.outbox.receive`: unique on (sender, sequence), so a message is applied once."""
    op.execute(f"""
        CREATE TABLE {schema}.inbox (
            sender text NOT NULL,
            sequence bigint NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (sender, sequence))""")
