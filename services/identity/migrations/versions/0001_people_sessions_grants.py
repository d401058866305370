"""People and offices, sessions and attempts, grants, invitations, audit.

Revision ID: 0001
"""

from __future__ import annotations

import re

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE identity.person (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    username text NOT NULL UNIQUE CHECK (username = lower(username)),
    phone text UNIQUE,
    name text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);

CREATE TABLE identity.role (
    person_id uuid NOT NULL REFERENCES identity.person ON DELETE CASCADE,
    tenant text NOT NULL,
    department text NOT NULL,
    role text NOT NULL CHECK (role IN ('clerk', 'administrator')),
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (person_id, tenant, department, role)
);

CREATE TABLE identity.session (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    token_hash bytea NOT NULL UNIQUE,
    person_id uuid NOT NULL REFERENCES identity.person ON DELETE CASCADE,
    address text NOT NULL,
    browser text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX session_person ON identity.session (person_id);
CREATE INDEX session_expiry ON identity.session (expires_at);

-- A browser from which the person has logged in before: guesses from elsewhere do not lock it out.
CREATE TABLE identity.device (
    token_hash bytea NOT NULL,
    person_id uuid NOT NULL REFERENCES identity.person ON DELETE CASCADE,
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token_hash, person_id)
);
CREATE INDEX device_seen ON identity.device (seen_at);

CREATE TABLE identity.attempt (
    key text PRIMARY KEY,
    made integer NOT NULL,
    window_ends_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX attempt_end ON identity.attempt (window_ends_at);

CREATE TABLE identity.refresh_family (
    id uuid PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES identity.session ON DELETE CASCADE,
    client_id text NOT NULL,
    scope text NOT NULL,
    secret_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX refresh_family_session ON identity.refresh_family (session_id);

CREATE TABLE identity.authorization_code (
    code_hash bytea PRIMARY KEY,
    client_id text NOT NULL,
    session_id uuid NOT NULL REFERENCES identity.session ON DELETE CASCADE,
    redirect_uri text NOT NULL,
    scope text NOT NULL,
    nonce text,
    code_challenge text NOT NULL,
    expires_at timestamptz NOT NULL,
    family_id uuid
);
CREATE INDEX authorization_code_session ON identity.authorization_code (session_id);
CREATE INDEX authorization_code_expiry ON identity.authorization_code (expires_at);

CREATE TABLE identity.invitation (
    token_hash bytea PRIMARY KEY,
    tenant text NOT NULL,
    department text NOT NULL,
    role text NOT NULL CHECK (role IN ('clerk', 'administrator')),
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    person_id uuid REFERENCES identity.person ON DELETE SET NULL
);

-- Append-only: the application may insert and select, nothing else. No foreign keys: it outlives what it tells of.
CREATE TABLE identity.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    event text NOT NULL,
    actor text NOT NULL,
    person_id uuid,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_person ON identity.audit (person_id, id);
"""

PEOPLE = """
-- What is called often is plpgsql, which keeps its plans; a function in SQL is planned at each call.
CREATE FUNCTION identity.roles_of(p_person uuid) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(
        (SELECT jsonb_agg(jsonb_build_object('tenant', tenant, 'department', department, 'role', role)
                          ORDER BY tenant, department, role)
         FROM identity.role WHERE person_id = p_person),
        '[]');
END $$;

-- The person's offices become exactly these; each change leaves a trace.
CREATE FUNCTION identity.set_roles(p_person uuid, p_roles jsonb, p_actor text) RETURNS void LANGUAGE sql AS $$
    WITH wanted AS (
        SELECT * FROM jsonb_to_recordset(p_roles) AS r (tenant text, department text, role text)
    ), revoked AS (
        DELETE FROM identity.role r
        WHERE person_id = p_person
          AND (r.tenant, r.department, r.role) NOT IN (SELECT w.tenant, w.department, w.role FROM wanted w)
        RETURNING 'role_revoked' AS event, tenant, department, role
    ), granted AS (
        INSERT INTO identity.role (person_id, tenant, department, role)
        SELECT p_person, tenant, department, role FROM wanted
        ON CONFLICT DO NOTHING
        RETURNING 'role_granted' AS event, tenant, department, role
    )
    INSERT INTO identity.audit (event, actor, person_id, detail)
    SELECT event, p_actor, p_person, jsonb_build_object('tenant', tenant, 'department', department, 'role', role)
    FROM (SELECT * FROM revoked UNION ALL SELECT * FROM granted) AS change
$$;
"""

LOG_IN = """
-- Counts one attempt under each key in turn and tells whether it may be evaluated. The row lock that the update takes
-- makes "count" and "compare" one step, however many ask at once. A refused attempt goes no further down the keys, so
-- whoever is stopped at one address cannot use up the account's own limit.
CREATE FUNCTION identity.count_attempt(p_keys text[], p_limits integer[], p_window interval)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    wait integer;
BEGIN
    -- a crash may forget the last moment's counts; waiting for the disk at each guess would cost more than it saves
    PERFORM set_config('synchronous_commit', 'off', true);
    FOR i IN 1 .. cardinality(p_keys) LOOP
        INSERT INTO identity.attempt AS a (key, made, window_ends_at) VALUES (p_keys[i], 1, now() + p_window)
        ON CONFLICT (key) DO UPDATE SET
            made = CASE WHEN a.window_ends_at <= now() THEN 1 ELSE a.made + 1 END,
            window_ends_at = CASE WHEN a.window_ends_at <= now() THEN now() + p_window ELSE a.window_ends_at END
        RETURNING CASE WHEN a.made > p_limits[i]
                       THEN greatest(1, ceil(extract(epoch FROM a.window_ends_at - now()))) ELSE 0 END
        INTO wait;
        IF wait > 0 THEN
            RETURN wait;
        END IF;
    END LOOP;
    RETURN 0;
END $$;

-- The first half of a log-in: who is meant, and may the password be looked at. `wait` > 0 means it may not, for as many
-- seconds. A name that nobody has is counted like any other.
CREATE FUNCTION identity.begin_log_in(
    p_login text, p_address text, p_device bytea, p_limits integer[], p_window interval
) RETURNS TABLE (wait integer, person_id uuid, password_hash text, keys text[]) LANGUAGE plpgsql AS $$
DECLARE
    person identity.person;
    account text;
BEGIN
    SELECT * INTO person FROM identity.person p
    WHERE (p.username = p_login OR p.phone = p_login) AND p.disabled_at IS NULL;
    account := coalesce(person.id::text, md5(p_login));
    IF EXISTS (SELECT FROM identity.device d WHERE d.token_hash = p_device AND d.person_id = person.id) THEN
        keys := ARRAY['device:' || account || ':' || encode(p_device, 'hex')];
    ELSE
        keys := ARRAY['pair:' || account || ':' || p_address, 'address:' || p_address, 'account:' || account];
    END IF;
    wait := identity.count_attempt(keys, p_limits, p_window);
    person_id := person.id;
    password_hash := person.password_hash;
    RETURN NEXT;
END $$;

-- The second half, for a right password: the attempt is given back and the browser's session begins; the one that it
-- may have had ends.
CREATE FUNCTION identity.begin_session(
    p_person uuid, p_keys text[], p_token bytea, p_former bytea, p_device bytea, p_address text, p_browser text,
    p_life interval
) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    session uuid;
BEGIN
    UPDATE identity.attempt SET made = made - 1 WHERE key = ANY (p_keys) AND made > 0;
    UPDATE identity.session SET ended_at = now() WHERE token_hash = p_former AND ended_at IS NULL;
    INSERT INTO identity.device (token_hash, person_id) VALUES (p_device, p_person)
    ON CONFLICT (token_hash, person_id) DO UPDATE SET seen_at = now();
    INSERT INTO identity.audit (event, actor, person_id, detail)
    VALUES ('log_in', p_person::text, p_person, jsonb_build_object('address', p_address, 'browser', p_browser));
    INSERT INTO identity.session (token_hash, person_id, address, browser, expires_at)
    VALUES (p_token, p_person, p_address, p_browser, now() + p_life)
    RETURNING id INTO session;
    RETURN session;
END $$;

-- Ends a person's sessions (one, or all when p_session is null), and with them every refresh token of theirs.
CREATE FUNCTION identity.end_sessions(p_person uuid, p_session uuid, p_actor text) RETURNS integer LANGUAGE sql AS $$
    WITH ended AS (
        UPDATE identity.session SET ended_at = now()
        WHERE person_id = p_person AND ended_at IS NULL AND (p_session IS NULL OR id = p_session)
        RETURNING id
    ), noted AS (
        INSERT INTO identity.audit (event, actor, person_id, detail)
        SELECT 'log_out', p_actor, p_person, jsonb_build_object('session', id) FROM ended
    )
    SELECT count(*)::integer FROM ended
$$;
"""

GRANTS = """
-- A code as its client may redeem it. One that was redeemed before has leaked: what it gave ends (RFC 6749, 4.1.2).
CREATE FUNCTION identity.read_code(p_code bytea, p_client text)
RETURNS TABLE (outcome text, person_id uuid, session_id uuid, name text, username text, phone text, roles jsonb,
               redirect_uri text, scope text, nonce text, code_challenge text, auth_time timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
    code identity.authorization_code;
BEGIN
    SELECT * INTO code FROM identity.authorization_code c WHERE c.code_hash = p_code AND c.client_id = p_client;
    IF code.family_id IS NOT NULL THEN
        PERFORM identity.end_family(code.family_id, 'code_reused');
        outcome := 'reused';
        RETURN NEXT;
        RETURN;
    END IF;
    RETURN QUERY
        SELECT 'good', p.id, s.id, p.name, p.username, p.phone, identity.roles_of(p.id),
               code.redirect_uri, code.scope, code.nonce, code.code_challenge, s.created_at
        FROM identity.session s JOIN identity.person p ON p.id = s.person_id
        WHERE s.id = code.session_id AND code.expires_at > now()
          AND s.ended_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL;
END $$;

CREATE FUNCTION identity.redeem_code(p_code bytea, p_family uuid, p_secret bytea) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    code identity.authorization_code;
BEGIN
    SELECT * INTO code FROM identity.authorization_code c WHERE c.code_hash = p_code FOR UPDATE;
    IF code.code_hash IS NULL THEN
        RETURN false;
    END IF;
    IF code.family_id IS NOT NULL THEN
        PERFORM identity.end_family(code.family_id, 'code_reused');
        RETURN false;
    END IF;
    UPDATE identity.authorization_code c SET family_id = p_family WHERE c.code_hash = p_code;
    INSERT INTO identity.refresh_family (id, session_id, client_id, scope, secret_hash)
    VALUES (p_family, code.session_id, code.client_id, code.scope, p_secret);
    RETURN true;
END $$;

CREATE FUNCTION identity.end_family(p_family uuid, p_event text) RETURNS void LANGUAGE sql AS $$
    WITH ended AS (
        UPDATE identity.refresh_family SET ended_at = now() WHERE id = p_family AND ended_at IS NULL
        RETURNING session_id, client_id
    )
    INSERT INTO identity.audit (event, actor, person_id, detail)
    SELECT p_event, e.client_id, s.person_id, jsonb_build_object('family', p_family, 'session', s.id)
    FROM ended e JOIN identity.session s ON s.id = e.session_id
$$;

-- One refresh: `rotated`, or why not. Another secret than the one that is good now is an old one used again, or a
-- guess: the family ends. A secret that is already the new one means that this very call was committed before and is
-- being tried again after a lost connection.
CREATE FUNCTION identity.rotate_refresh_token(
    p_family uuid, p_client text, p_secret bytea, p_renewed bytea, p_scope text
) RETURNS TABLE (outcome text, person_id uuid, session_id uuid, name text, username text, phone text, roles jsonb,
                 scope text)
LANGUAGE plpgsql AS $$
DECLARE
    family identity.refresh_family;
BEGIN
    SELECT * INTO family FROM identity.refresh_family f WHERE f.id = p_family AND f.client_id = p_client FOR UPDATE;
    IF family.id IS NULL THEN
        outcome := 'unknown';
    ELSIF family.ended_at IS NOT NULL THEN
        outcome := 'ended';
    ELSIF family.secret_hash NOT IN (p_secret, p_renewed) THEN
        PERFORM identity.end_family(p_family, 'refresh_reused');
        outcome := 'reused';
    ELSIF NOT string_to_array(p_scope, ' ') <@ string_to_array(family.scope, ' ') THEN
        outcome := 'wider_scope';
    ELSE
        SELECT p.id, s.id, p.name, p.username, p.phone, identity.roles_of(p.id), family.scope
        INTO person_id, session_id, name, username, phone, roles, scope
        FROM identity.session s JOIN identity.person p ON p.id = s.person_id
        WHERE s.id = family.session_id AND s.ended_at IS NULL AND s.expires_at > now() AND p.disabled_at IS NULL;
        IF person_id IS NULL THEN
            outcome := 'ended';
        ELSE
            UPDATE identity.refresh_family f SET secret_hash = p_renewed WHERE f.id = p_family;
            outcome := 'rotated';
        END IF;
    END IF;
    RETURN NEXT;
END $$;

-- Many refreshes in one commit, each with its place.
CREATE FUNCTION identity.rotate_refresh_tokens(
    p_families uuid[], p_clients text[], p_secrets bytea[], p_renewed bytea[], p_scopes text[]
) RETURNS TABLE (place bigint, outcome text, person_id uuid, session_id uuid, name text, username text, phone text,
                 roles jsonb, scope text)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
        SELECT u.place, r.*
        FROM unnest(p_families, p_clients, p_secrets, p_renewed, p_scopes)
             WITH ORDINALITY AS u (family, client, secret, renewed, scope, place),
             LATERAL identity.rotate_refresh_token(u.family, u.client, u.secret, u.renewed, u.scope) AS r;
END $$;
"""


def upgrade() -> None:
    for script in (TABLES, PEOPLE, LOG_IN, GRANTS):
        for statement in statements(script):
            op.execute(statement)


def statements(script: str) -> list[str]:
    """The driver takes one statement a call. A statement begins at the beginning of a line; bodies are indented."""
    return [part.strip() for part in re.split(r";\n(?=--|CREATE|GRANT|REVOKE|\Z|\n)", script) if part.strip()]
