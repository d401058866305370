"""Invitations at the border."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from services.identity.people.schema import Document, Name, Office

Identifier = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$", description="tells of the link nothing that opens it")]


class NewInvitation(Office):
    name: Name


class InvitationDocument(Document):
    """`link` is told this once: only its hash is kept."""

    id: Identifier
    link: str
    expires_at: datetime


class OpenInvitation(Document):
    """An invitation that nobody has taken up yet, without its link."""

    id: Identifier
    department: str
    role: str
    name: str
    created_at: datetime
    expires_at: datetime


class TenantInvitations(Document):
    """How far a tenant has come to an administrator of its own."""

    tenant: str
    administrators: int = Field(description="people who hold that office now")
    open: list[OpenInvitation] = Field(description="the oldest first")
