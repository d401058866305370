"""Catalogue, cases, traces, outbox and inbox of one tenant."""

from __future__ import annotations

from alembic import op

from services.kernel.schema import create_inbox, create_outbox

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE affairs.standards (
        code text NOT NULL,
        version integer NOT NULL,
        body jsonb NOT NULL,
        published_at timestamptz NOT NULL,
        PRIMARY KEY (code, version))""",
    """
    CREATE TABLE affairs.implementations (
        code text PRIMARY KEY,
        body jsonb NOT NULL,
        updated_by text NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now())""",
    # Serials are taken a hundred at a time, so that filing needs no row that all filings lock.
    "CREATE SEQUENCE affairs.serial_blocks MINVALUE 0 MAXVALUE 99999 CYCLE",
    """
    CREATE TABLE affairs.cases (
        number text PRIMARY KEY,
        version integer NOT NULL,
        status text NOT NULL,
        holder text NOT NULL,
        in_transit_to text,
        path text[] NOT NULL,
        item text NOT NULL,
        item_name text NOT NULL,
        item_version integer NOT NULL,
        basis text NOT NULL,
        promised_working_days integer NOT NULL,
        applicant text NOT NULL,
        applicant_name text NOT NULL,
        applicant_phone text NOT NULL,
        form jsonb NOT NULL,
        filed_at timestamptz NOT NULL,
        accept_by date NOT NULL,
        due date,
        changed_at timestamptz NOT NULL,
        steps jsonb NOT NULL,
        outcome jsonb,
        check_code_hash bytea NOT NULL,
        idempotency_key text,
        request_digest bytea,
        UNIQUE (applicant, idempotency_key))""",
    "CREATE INDEX cases_on_desk ON affairs.cases (status, filed_at)",
    """
    CREATE TABLE affairs.traces (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        number text NOT NULL,
        at timestamptz NOT NULL,
        action text NOT NULL,
        actor text NOT NULL,
        actor_name text NOT NULL,
        department text NOT NULL,
        basis text NOT NULL,
        details text NOT NULL,
        seconds_since_change double precision NOT NULL)""",
    "CREATE INDEX traces_by_number ON affairs.traces (number)",
    """
    CREATE TABLE affairs.materials (
        number text NOT NULL,
        name text NOT NULL,
        object_key text NOT NULL,
        size bigint NOT NULL,
        sha256 bytea NOT NULL,
        uploaded_by text NOT NULL,
        uploaded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (number, name))""",
)

# Files a batch in one transaction: for each member the case, its trace and the message to the index, and a row that
# says what became of it, also when it was filed before under the same key. Every host passes members in one order.
FILE_CASES = """
CREATE FUNCTION affairs.file_cases(
    applicants text[], keys text[], digests bytea[], numbers text[], items text[], item_names text[],
    item_versions integer[], bases text[], promises integer[], names text[], phones text[], forms text[],
    moments timestamptz[], limits date[], tenants text[], steps text[], hashes bytea[], messages text[])
RETURNS TABLE (place integer, number text, filed_at timestamptz, fresh boolean, same_request boolean)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    FOR member IN 1 .. cardinality(numbers) LOOP
        place := member;
        INSERT INTO affairs.cases (number, version, status, holder, path, item, item_name, item_version, basis,
            promised_working_days, applicant, applicant_name, applicant_phone, form, filed_at, accept_by, changed_at,
            steps, check_code_hash, idempotency_key, request_digest)
        VALUES (numbers[member], 1, 'filed', tenants[member], ARRAY[tenants[member]], items[member],
            item_names[member], item_versions[member], bases[member], promises[member], applicants[member],
            names[member], phones[member], forms[member]::jsonb, moments[member], limits[member], moments[member],
            steps[member]::jsonb, hashes[member], keys[member], digests[member])
        ON CONFLICT (applicant, idempotency_key) DO NOTHING;
        IF FOUND THEN
            INSERT INTO affairs.traces
                (number, at, action, actor, actor_name, department, basis, details, seconds_since_change)
            VALUES (numbers[member], moments[member], 'filed', applicants[member], names[member], '', bases[member],
                '', 0);
            INSERT INTO affairs.outbox (destination, kind, key, body)
            VALUES ('query', 'case', numbers[member], messages[member]);
        END IF;
        SELECT known.number, known.filed_at, known.number = numbers[member], known.request_digest = digests[member]
        INTO number, filed_at, fresh, same_request
        FROM affairs.cases AS known
        WHERE known.applicant = applicants[member] AND known.idempotency_key = keys[member];
        RETURN NEXT;
    END LOOP;
END $$"""


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    create_outbox("affairs")
    create_inbox("affairs")
    op.execute(FILE_CASES)
