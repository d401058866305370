"""People for the operator: made known by username, as often as one likes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from services.identity.parts import CurrentIdentity, Identity
from services.identity.passwords import weakness
from services.identity.people import store
from services.identity.people.schema import NewPerson, Office, PersonDocument, Username
from services.kernel.http import api_prefix
from services.kernel.problems import NotFound, Problem
from services.kernel.tokens import Operator

router = APIRouter(prefix=api_prefix("identity"), tags=["people"])


@router.post("/people", status_code=201, responses={200: {"model": PersonDocument, "description": "was there before"}})
async def put_person(person: NewPerson, _: Operator, identity: CurrentIdentity, response: Response) -> PersonDocument:
    """Make a person exist with this password, name, phone and exactly these offices."""
    require_tenants(identity, person.roles)
    password = person.password.get_secret_value()
    if reason := weakness(password, person.username):
        raise Problem(422, "weak-password", reason)
    async with identity.kernel.doors.own_connection() as connection:
        existing_person = await store.find(connection, person.username)
    same = existing_person is not None and await identity.passwords.matches(existing_person.password_hash, password)
    password_hash = None if same else await identity.passwords.hash(password)
    try:
        async with identity.kernel.doors.own_connection() as connection, connection.transaction():
            if existing_person is None:
                assert password_hash is not None
                identifier = await store.add(
                    connection, person.username, person.phone, person.name, password_hash, "operator"
                )
            else:
                identifier = existing_person.id
                response.status_code = 200
                await store.change(connection, identifier, person.name, person.phone, password_hash)
            await store.set_roles(connection, identifier, person.roles, "operator")
            row = await store.find(connection, person.username)
    except store.Taken as taken:
        raise Problem(409, "taken", f"Somebody else has this {taken.field}.") from taken
    assert row is not None
    return row.document


@router.get("/people/{username}")
async def get_person(username: Annotated[Username, Path()], _: Operator, identity: CurrentIdentity) -> PersonDocument:
    async with identity.kernel.doors.own_connection() as connection:
        row = await store.find(connection, username)
    if row is None:
        raise NotFound()
    return row.document


def require_tenants(identity: Identity, offices: list[Office]) -> None:
    """Offices are in live tenants alone."""
    for office in offices:
        if identity.directory.by_code(office.tenant) is None:
            raise Problem(422, "unknown-tenant", f"{office.tenant} is not a live tenant.")
