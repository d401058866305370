"""What the provider says of itself (OpenID Connect Discovery 1.0, RFC 8414)."""

from __future__ import annotations

from typing import Any

from services.identity.keys import ALGORITHM
from services.identity.protocol.clients import PEOPLE_SCOPES
from services.identity.protocol.parameters import PROMPTS, RESPONSE_MODES, RESPONSE_TYPES


def metadata(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "end_session_endpoint": f"{issuer}/end-session",
        "scopes_supported": [*PEOPLE_SCOPES, "relay", "operator"],
        "response_types_supported": [*RESPONSE_TYPES],
        "response_modes_supported": [*RESPONSE_MODES],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": [
            "sub",
            "iss",
            "aud",
            "exp",
            "iat",
            "auth_time",
            "nonce",
            "amr",
            "sid",
            "at_hash",
            "name",
            "preferred_username",
            "phone_number",
            "phone_number_verified",
            "roles",
        ],
        "prompt_values_supported": [*PROMPTS],
        "ui_locales_supported": ["zh-CN"],
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
    }
