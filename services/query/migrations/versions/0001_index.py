"""The case index, its inbox, and the counted attempts at check codes."""

from __future__ import annotations

from alembic import op

from services.kernel.schema import create_inbox

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE query.cases (
        number text PRIMARY KEY,
        version integer NOT NULL,
        applicant text NOT NULL,
        status text NOT NULL,
        holder text NOT NULL,
        in_transit_to text,
        item text NOT NULL,
        item_name text NOT NULL,
        filed_at timestamptz NOT NULL,
        changed_at timestamptz NOT NULL,
        due date,
        steps jsonb NOT NULL,
        check_code_hash bytea NOT NULL)""",
    "CREATE INDEX cases_of_applicant ON query.cases (applicant, filed_at DESC, number DESC)",
    """
    CREATE TABLE query.attempts (
        subject text NOT NULL,
        hour timestamptz NOT NULL,
        uses integer NOT NULL,
        PRIMARY KEY (subject, hour))""",
)

# Applies one sender's messages in order. A newer version of a case is taken from its first tenant when the case is
# new here, later from the tenant that holds it or to which it is on its way; an older version changes nothing.
APPLY = """
CREATE FUNCTION query.apply_cases(sender_code text, sequences bigint[], bodies text[])
RETURNS TABLE (sequence bigint, outcome text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    message record;
    body jsonb;
    known record;
BEGIN
    FOR message IN SELECT * FROM unnest(sequences, bodies) AS member(number, body) LOOP
        sequence := message.number;
        body := message.body::jsonb;
        SELECT version, holder, in_transit_to INTO known FROM query.cases
            WHERE number = body->>'number' FOR UPDATE;
        IF EXISTS (SELECT FROM query.inbox WHERE sender = sender_code AND sequence = message.number) THEN
            outcome := 'known';
        ELSIF known.version IS NULL AND left(body->>'number', 6) <> sender_code
            OR known.version < (body->>'version')::integer
                AND sender_code NOT IN (known.holder, coalesce(known.in_transit_to, '')) THEN
            outcome := 'rejected';
        ELSE
            outcome := 'applied';
            INSERT INTO query.inbox (sender, sequence) VALUES (sender_code, message.number) ON CONFLICT DO NOTHING;
            INSERT INTO query.cases AS stored (number, version, applicant, status, holder, in_transit_to, item,
                item_name, filed_at, changed_at, due, steps, check_code_hash)
            VALUES (body->>'number', (body->>'version')::integer, body->>'applicant', body->>'status',
                body->>'holder', body->>'in_transit_to', body->>'item', body->>'item_name',
                (body->>'filed_at')::timestamptz, (body->>'changed_at')::timestamptz, (body->>'due')::date,
                body->'steps', decode(body->>'check_code_hash', 'hex'))
            ON CONFLICT (number) DO UPDATE SET version = excluded.version, status = excluded.status,
                holder = excluded.holder, in_transit_to = excluded.in_transit_to, changed_at = excluded.changed_at,
                due = excluded.due, steps = excluded.steps
            WHERE stored.version < excluded.version;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$"""

# Counts a use before anything is looked at, in one atomic statement; the count so far in this hour.
COUNT = """
CREATE FUNCTION query.count_attempt(attempted text) RETURNS integer
LANGUAGE sql AS $$
    INSERT INTO query.attempts AS counted (subject, hour, uses)
    VALUES (attempted, date_trunc('hour', now()), 1)
    ON CONFLICT (subject, hour) DO UPDATE SET uses = counted.uses + 1
    RETURNING uses
$$"""


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    create_inbox("query")
    op.execute(APPLY)
    op.execute(COUNT)
