"""The grants, on Authlib's: the protocol's rules are the library's, here is where our rows come in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from authlib.oauth2.rfc6749 import InvalidRequestError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import ECKey

from services.identity.keys import ALGORITHM, SigningKeys
from services.identity.protocol.clients import Client
from services.identity.protocol.requests import ProtocolRequest
from services.identity.protocol.store import Code, Rotation
from services.identity.protocol.tokens import Subject

BASIC = ["client_secret_basic"]


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = BASIC
    request: ProtocolRequest

    def save_authorization_code(self, code: str, request: ProtocolRequest) -> None:
        request.granted_code = code

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        return self.request.code

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """The code is spent in the same transaction that begins the refresh family: see `Grants.redeem_code`."""

    def authenticate_user(self, authorization_code: Code) -> Subject:
        return authorization_code.subject


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = BASIC
    request: ProtocolRequest

    def authenticate_refresh_token(self, refresh_token: str) -> Rotation | None:
        return self.request.rotation

    def authenticate_user(self, refresh_token: Rotation) -> Subject:
        return refresh_token.subject

    def issue_token(self, user: Subject, refresh_token: Rotation) -> dict[str, Any]:
        token: dict[str, Any] = super().issue_token(user, refresh_token)
        token["refresh_token"] = refresh_token.refresh_token
        return token

    def revoke_old_credential(self, refresh_token: Rotation) -> None:
        """It was spent by the very statement that found it good: see `Grants.rotate`."""


class MachineGrant(ClientCredentialsGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = BASIC

    def validate_requested_scope(self) -> None:
        if (self.request.payload.scope or self.client.machine_scope) != self.client.machine_scope:
            raise InvalidScopeError()


class RequiredS256(CodeChallenge):  # type: ignore[misc]
    """PKCE, always and by S256 alone, though our clients are confidential (RFC 9700, 2.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        sent = grant.request.payload.data
        if not sent.get("code_challenge") or sent.get("code_challenge_method") != "S256":
            raise InvalidRequestError("A 'code_challenge' by 'S256' is required.")
        super().validate_code_challenge(grant, redirect_uri)


class IdToken(OpenIDCode):  # type: ignore[misc]
    def __init__(self, issuer: Callable[[], str], keys: Callable[[], SigningKeys], life: timedelta) -> None:
        super().__init__(require_nonce=False)
        self._issuer = issuer
        self._keys = keys
        self._seconds = int(life.total_seconds())

    def exists_nonce(self, nonce: str, request: ProtocolRequest) -> bool:
        """The nonce goes back in the ID token, where the client compares it; a code is redeemed once anyway."""
        return False

    def resolve_client_private_key(self, client: Client) -> ECKey:
        return self._keys().current

    def get_encode_header(self, client: Client) -> dict[str, str]:
        return {"alg": ALGORITHM, "kid": self._keys().kid}

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        return {"iss": self._issuer(), "aud": client.client_id, "exp": int(time.time()) + self._seconds}

    def generate_user_info(self, user: Subject, scope: str) -> dict[str, Any]:
        return {**user.claims(scope), "sid": user.session}
