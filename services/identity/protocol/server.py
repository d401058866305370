"""Authlib's authorization server, bound to our clients, keys and rows, without a web framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidClientError
from authlib.oidc.rpinitiated import EndSessionEndpoint, EndSessionRequest
from joserfc.jwk import KeySet

from services.identity.keys import ALGORITHM, SigningKeys
from services.identity.protocol.clients import Client, Clients
from services.identity.protocol.grants import BASIC, CodeGrant, IdToken, MachineGrant, RefreshGrant, RequiredS256
from services.identity.protocol.requests import Answer, ProtocolRequest
from services.identity.protocol.store import new_refresh_token
from services.identity.protocol.tokens import AccessTokens, Subject
from services.identity.settings import IdentitySettings


class Provider(AuthorizationServer):  # type: ignore[misc]
    def __init__(
        self,
        clients: Clients,
        issuer: Callable[[], str],
        keys: Callable[[], SigningKeys],
        tokens: AccessTokens,
        settings: IdentitySettings,
    ) -> None:
        super().__init__()
        self._clients = clients
        self._tokens = tokens
        id_token = IdToken(issuer, keys, settings.access_token)
        self.register_token_generator("default", self._token)
        self.register_grant(CodeGrant, [RequiredS256(required=True), id_token])
        self.register_grant(RefreshGrant)
        self.register_grant(MachineGrant)
        self.register_endpoint(EndSession(self, keys))

    def query_client(self, client_id: str) -> Client | None:
        return self._clients.find(client_id)

    def client_of(self, request: ProtocolRequest) -> Client:
        """The client that proved itself by its secret. Raises OAuth2Error (invalid_client)."""
        try:
            client: Client = self.authenticate_client(request, BASIC)
        except UnicodeError as error:
            raise InvalidClientError("The client's name and secret are no text.", status_code=401) from error
        return client

    def _token(
        self,
        grant_type: str,
        client: Client,
        user: Subject | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        if user is None:
            access, scope = self._tokens.for_machine(client), client.machine_scope
        else:
            access = self._tokens.for_person(user, client, scope or "")
        token = {"token_type": "Bearer", "access_token": access, "expires_in": self._tokens.seconds, "scope": scope}
        if include_refresh_token:
            token["refresh_token"] = new_refresh_token()
        return token

    def save_token(self, token: dict[str, Any], request: ProtocolRequest) -> None:
        request.issued_refresh_token = token.get("refresh_token", "")

    def create_oauth2_request(self, request: ProtocolRequest) -> ProtocolRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Answer:
        return Answer(status, dict(body) if isinstance(body, list) else body, headers)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens: what happens is in the audit table."""


class EndSession(EndSessionEndpoint):  # type: ignore[misc]
    """RP-initiated logout: the checks. The session itself is ended by the page, once it may be."""

    def __init__(self, server: Provider, keys: Callable[[], SigningKeys]) -> None:
        super().__init__(server)
        self._keys = keys

    def get_server_jwks(self) -> KeySet:
        return self._keys().verifying()

    def get_algorithms(self) -> list[str]:
        return [ALGORITHM]

    def is_post_logout_redirect_uri_legitimate(self, *_: Any) -> bool:
        """Without an ID token the person confirms on a page of ours, and the address is one the client registered."""
        return True

    def end_session(self, end_session_request: EndSessionRequest) -> None:
        """Done by the page: see `sessions/pages.py`."""
