"""Invitations in PostgreSQL: the link's token hashed, good once, until a time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.identity.invitations.schema import NewInvitation, OpenInvitation
from services.identity.people.schema import Office
from services.identity.people.store import trace
from services.identity.protocol.store import digest
from services.kernel.database import Connection

ADD = """
    INSERT INTO identity.invitation (token_hash, tenant, department, role, name, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() + $6) RETURNING expires_at
"""
FIND = """
    SELECT tenant, department, role, name, expires_at FROM identity.invitation
    WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()
"""
USE = """
    UPDATE identity.invitation SET used_at = now()
    WHERE token_hash = $1 AND used_at IS NULL AND expires_at > now()
    RETURNING tenant, department, role, name, expires_at
"""
OPEN = """
    SELECT substr(encode(token_hash, 'hex'), 1, 16) AS id, department, role, name, created_at, expires_at
    FROM identity.invitation
    WHERE tenant = $1 AND used_at IS NULL AND expires_at > now() ORDER BY created_at, token_hash
"""
ADMINISTRATORS = """
    SELECT count(DISTINCT person.id) FROM identity.role JOIN identity.person ON person.id = role.person_id
    WHERE role.tenant = $1 AND role.role = 'administrator' AND person.disabled_at IS NULL
"""
REVOKE = """
    UPDATE identity.invitation SET expires_at = now()
    WHERE substr(encode(token_hash, 'hex'), 1, 16) = $1 AND used_at IS NULL AND expires_at > now()
    RETURNING tenant, department, role, name
"""
TAKEN_UP = "UPDATE identity.invitation SET person_id = $2 WHERE token_hash = $1"
GRANT = """
    INSERT INTO identity.role (person_id, tenant, department, role) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Invitation:
    office: Office
    name: str
    expires_at: datetime


async def add(connection: Connection, token: str, invitation: NewInvitation, life: timedelta) -> datetime:
    office = (invitation.tenant, invitation.department, invitation.role)
    expires_at: datetime = await connection.fetchval(ADD, digest(token), *office, invitation.name, life)
    await trace(connection, "invited", "operator", None, invitation.model_dump())
    return expires_at


def identifier(token: str) -> str:
    """By which the operator names an invitation whose link is told once."""
    return digest(token).hex()[:16]


async def all_open(connection: Connection, tenant: str) -> list[OpenInvitation]:
    return [OpenInvitation(**row) for row in await connection.fetch(OPEN, tenant)]


async def administrators(connection: Connection, tenant: str) -> int:
    """How many people hold that office in the tenant."""
    count: int = await connection.fetchval(ADMINISTRATORS, tenant)
    return count


async def revoke(connection: Connection, identifier: str) -> bool:
    """End an open invitation, as if its time were over; tells whether it was one."""
    row = await connection.fetchrow(REVOKE, identifier)
    if row is None:
        return False
    await trace(connection, "invitation_revoked", "operator", None, dict(row))
    return True


async def find(connection: Connection, token: str) -> Invitation | None:
    return await _one(connection, FIND, token)


async def use(connection: Connection, token: str) -> Invitation | None:
    """Take the invitation for good; None when it is gone. A transaction that fails leaves it usable."""
    return await _one(connection, USE, token)


async def take_office(connection: Connection, token: str, person: uuid.UUID, office: Office) -> None:
    await connection.execute(TAKEN_UP, digest(token), person)
    await connection.execute(GRANT, person, office.tenant, office.department, office.role)
    await trace(connection, "role_granted", "invitation", person, office.model_dump())


async def _one(connection: Connection, statement: str, token: str) -> Invitation | None:
    row = await connection.fetchrow(statement, digest(token))
    if row is None:
        return None
    office = Office.model_construct(tenant=row["tenant"], department=row["department"], role=row["role"])
    return Invitation(office, row["name"], row["expires_at"])
