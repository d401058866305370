"""People in PostgreSQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence

import asyncpg

from services.identity.people.schema import Office, PersonDocument
from services.kernel.database import Connection

ADD = """
    INSERT INTO identity.person (username, phone, name, password_hash) VALUES ($1, $2, $3, $4) RETURNING id
"""
FIND = """
    SELECT id, username, name, phone, password_hash, identity.roles_of(id) AS roles
    FROM identity.person WHERE username = $1 AND disabled_at IS NULL
"""
CHANGE = "UPDATE identity.person SET name = $2, phone = $3, password_hash = coalesce($4, password_hash) WHERE id = $1"
TRACE = "INSERT INTO identity.audit (event, actor, person_id, detail) VALUES ($1, $2, $3, $4::jsonb)"


class Taken(Exception):
    """Somebody else has this `field` (username or phone)."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class PersonRow:
    def __init__(self, row: asyncpg.Record) -> None:
        self.id: uuid.UUID = row["id"]
        self.password_hash: str = row["password_hash"]
        self.document = PersonDocument(
            id=row["id"],
            username=row["username"],
            name=row["name"],
            phone=row["phone"],
            roles=[Office.model_construct(**office) for office in json.loads(row["roles"])],
        )


async def find(connection: Connection, username: str) -> PersonRow | None:
    row = await connection.fetchrow(FIND, username)
    return PersonRow(row) if row else None


async def add(
    connection: Connection, username: str, phone: str | None, name: str, password_hash: str, actor: str
) -> uuid.UUID:
    """A new person. Raises Taken."""
    try:
        identifier: uuid.UUID = await connection.fetchval(ADD, username, phone, name, password_hash)
    except asyncpg.UniqueViolationError as error:
        raise Taken("phone" if "phone" in (error.constraint_name or "") else "username") from error
    await trace(connection, "registered", actor or str(identifier), identifier)
    return identifier


async def change(
    connection: Connection, person: uuid.UUID, name: str, phone: str | None, password_hash: str | None
) -> None:
    """New name and phone; with a new password, every session of the old one ends. Raises Taken."""
    try:
        await connection.execute(CHANGE, person, name, phone, password_hash)
    except asyncpg.UniqueViolationError as error:
        raise Taken("phone") from error
    if password_hash is not None:
        await trace(connection, "password_set", "operator", person)
        await connection.fetchval("SELECT identity.end_sessions($1, NULL, $2)", person, "operator")


async def set_roles(connection: Connection, person: uuid.UUID, roles: Sequence[Office], actor: str) -> None:
    wanted = json.dumps([office.model_dump() for office in roles], ensure_ascii=False)
    await connection.execute("SELECT identity.set_roles($1, $2::jsonb, $3)", person, wanted, actor)


async def trace(
    connection: Connection, event: str, actor: str, person: uuid.UUID | None, detail: dict[str, str] | None = None
) -> None:
    await connection.execute(TRACE, event, actor, person, json.dumps(detail or {}, ensure_ascii=False))
