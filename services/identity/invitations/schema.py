"""Invitations at the border."""

from __future__ import annotations

from datetime import datetime

from services.identity.people.schema import Document, Name, Office


class NewInvitation(Office):
    name: Name


class InvitationDocument(Document):
    """`link` is told this once: only its hash is kept."""

    link: str
    expires_at: datetime
