"""Invitations for the operator."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Path, Query

from services.identity.invitations import store
from services.identity.invitations.schema import Identifier, InvitationDocument, NewInvitation, TenantInvitations
from services.identity.parts import CurrentIdentity
from services.identity.people.api import require_tenants
from services.identity.people.schema import TenantCode
from services.kernel.http import api_prefix
from services.kernel.problems import NotFound
from services.kernel.tokens import Operator

router = APIRouter(prefix=api_prefix("identity"), tags=["invitations"])


@router.post("/invitations", status_code=201)
async def invite(invitation: NewInvitation, _: Operator, identity: CurrentIdentity) -> InvitationDocument:
    """A one-time link for somebody who is to take up an office. It is told this once."""
    require_tenants(identity, [invitation])
    token = secrets.token_urlsafe(32)
    async with identity.kernel.doors.own_connection() as connection, connection.transaction():
        expires_at = await store.add(connection, token, invitation, identity.settings.invitation)
    return InvitationDocument(
        id=store.identifier(token), link=f"{identity.directory.issuer}/invitation/{token}", expires_at=expires_at
    )


@router.get("/invitations")
async def invitations(
    tenant: Annotated[TenantCode, Query()], _: Operator, identity: CurrentIdentity
) -> TenantInvitations:
    """Whether a tenant has administrators, and which invitations of it are open."""
    async with identity.kernel.doors.own_connection() as connection:
        return TenantInvitations(
            tenant=tenant,
            administrators=await store.administrators(connection, tenant),
            open=await store.all_open(connection, tenant),
        )


@router.delete("/invitations/{id}", status_code=204)
async def revoke(id: Annotated[Identifier, Path()], _: Operator, identity: CurrentIdentity) -> None:
    """End an open invitation: its link is gone from now on."""
    async with identity.kernel.doors.own_connection() as connection, connection.transaction():
        if not await store.revoke(connection, id):
            raise NotFound()
