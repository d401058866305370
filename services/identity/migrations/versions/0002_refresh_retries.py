"""A refresh whose answer was lost may be asked for once more, for a short time.

The functions of before stay as they are, for hosts that still run the version before. A row that those rotate keeps its
`rotated_at`, which does no harm: their successors are random, so nobody can ask for one again.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

ROTATED_AT = "ALTER TABLE identity.refresh_family ADD COLUMN rotated_at timestamptz"

ROTATE_ONE = """
-- One refresh: `rotated`, or why not. The successor of a token is always the same one, so a caller whose answer was
-- lost presents the spent token, and its successor is found to be the good one already: for p_grace after the rotation
-- it is given again, which changes nothing and prolongs nothing. Any other secret is an old one used again, or a guess:
-- the family ends.
CREATE FUNCTION identity.rotate_refresh_token(
    p_family uuid, p_client text, p_secret bytea, p_renewed bytea, p_scope text, p_grace interval
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
    ELSIF family.secret_hash <> p_secret
          AND (family.secret_hash <> p_renewed OR family.rotated_at IS NULL
               OR family.rotated_at + p_grace <= clock_timestamp()) THEN
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
            IF family.secret_hash = p_secret THEN
                UPDATE identity.refresh_family f SET secret_hash = p_renewed, rotated_at = clock_timestamp()
                WHERE f.id = p_family;
            END IF;
            outcome := 'rotated';
        END IF;
    END IF;
    RETURN NEXT;
END $$
"""

ROTATE_MANY = """
-- Many refreshes in one commit, each with its place.
CREATE FUNCTION identity.rotate_refresh_tokens(
    p_families uuid[], p_clients text[], p_secrets bytea[], p_renewed bytea[], p_scopes text[], p_grace interval
) RETURNS TABLE (place bigint, outcome text, person_id uuid, session_id uuid, name text, username text, phone text,
                 roles jsonb, scope text)
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
        SELECT u.place, r.*
        FROM unnest(p_families, p_clients, p_secrets, p_renewed, p_scopes)
             WITH ORDINALITY AS u (family, client, secret, renewed, scope, place),
             LATERAL identity.rotate_refresh_token(u.family, u.client, u.secret, u.renewed, u.scope, p_grace) AS r;
END $$
"""


def upgrade() -> None:
    for statement in (ROTATED_AT, ROTATE_ONE, ROTATE_MANY):
        op.execute(statement)
