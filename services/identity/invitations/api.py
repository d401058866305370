"""Invitations for the operator."""

from __future__ import annotations

import secrets

from fastapi import APIRouter

from services.identity.invitations import store
from services.identity.invitations.schema import InvitationDocument, NewInvitation
from services.identity.people.api import require_tenants
from services.identity.runtime import CurrentIdentity
from services.kernel.tokens import Operator

router = APIRouter(prefix="/api/identity", tags=["invitations"])


@router.post("/invitations", status_code=201)
async def invite(invitation: NewInvitation, _: Operator, identity: CurrentIdentity) -> InvitationDocument:
    """A one-time link for somebody who is to take up an office. It is told this once."""
    require_tenants(identity, [invitation])
    token = secrets.token_urlsafe(32)
    async with identity.kernel.doors.own_connection() as connection, connection.transaction():
        expires_at = await store.add(connection, token, invitation, identity.settings.invitation)
    return InvitationDocument(link=f"{identity.directory.issuer}/invitation/{token}", expires_at=expires_at)
