"""Relying parties: every live tenant is one by itself, and the operator is a machine client."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin

from services.identity.keys import ALGORITHM
from services.kernel.tenancy import Directory, Tenant

OPERATOR = "operator"
PEOPLE_SCOPES = ("openid", "profile", "phone", "roles")


@dataclass(frozen=True)
class Client(ClientMixin):  # type: ignore[misc]
    """One client in Authlib's words. `machine_scope` is what it may ask for itself, by client_credentials."""

    client_id: str
    secret_sha256: str = field(repr=False)
    machine_scope: str
    machine_subject: str
    name: str
    redirect_uri: str = ""
    home: str = ""

    id_token_signed_response_alg = ALGORITHM

    @classmethod
    def of_tenant(cls, tenant: Tenant, secret_sha256: str) -> Client:
        return cls(
            client_id=tenant.code,
            secret_sha256=secret_sha256,
            machine_scope="relay",
            machine_subject=f"tenant:{tenant.code}",
            name=tenant.name,
            redirect_uri=f"{tenant.url}/callback",
            home=f"{tenant.url}/",
        )

    @property
    def client_metadata(self) -> dict[str, Any]:
        return {"post_logout_redirect_uris": [self.home] if self.home else []}

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_allowed_scope(self, scope: str | None) -> str:
        """What of the wanted scope people's sites may have; unknown words are ignored (OpenID Connect Core 3.1.2.1)."""
        wanted = (scope or "openid").split()
        return " ".join(word for word in PEOPLE_SCOPES if word in wanted)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return bool(self.redirect_uri) and redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret: str) -> bool:
        given = hashlib.sha256(client_secret.encode()).hexdigest()
        return secrets.compare_digest(given, self.secret_sha256)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return bool(self.redirect_uri) and response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        people = ("authorization_code", "refresh_token") if self.redirect_uri else ()
        return grant_type in ("client_credentials", *people)


class Clients:
    """The clients of the directory as it is now: a tenant that goes live is one within a second."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._known: dict[str, Client] = {}
        directory.changed.append(self._known.clear)

    def find(self, client_id: str) -> Client | None:
        client = self._known.get(client_id) or self._make(client_id)
        if client is not None:
            self._known[client_id] = client
        return client

    def _make(self, client_id: str) -> Client | None:
        secret_sha256 = self._directory.secrets.clients.get(client_id)
        if secret_sha256 is None:
            return None
        if client_id == OPERATOR:
            return Client(OPERATOR, secret_sha256, machine_scope="operator", machine_subject=OPERATOR, name="运维")
        tenant = self._directory.by_code(client_id)
        return Client.of_tenant(tenant, secret_sha256) if tenant else None
