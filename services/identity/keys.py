"""The keys that sign tokens: ES256, made from the private scalars in the secrets file.

The kid is the key's RFC 7638 thumbprint, so every host names the same key alike. While a key is being replaced, the
previous one goes on verifying (and stays in the published set), the current one signs.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, KeySet

from services.kernel.tenancy import ServiceSecrets

ALGORITHM = "ES256"


@dataclass(frozen=True)
class SigningKeys:
    current: ECKey
    previous: ECKey | None = None
    refresh: bytes = field(default=b"", repr=False)
    """What successors of refresh tokens are made with. It changes with the signing key."""

    @classmethod
    def from_secrets(cls, secrets: ServiceSecrets) -> SigningKeys:
        """Raises ValueError when the file holds no usable scalar; the message never quotes it."""
        if secrets.signing_key is None:
            raise ValueError("the secrets file has no signing_key")
        scalar, previous = secrets.signing_key.get_secret_value(), secrets.previous_signing_key
        return cls(
            key_of_scalar(scalar),
            key_of_scalar(previous.get_secret_value()) if previous else None,
            hmac.digest(scalar.encode(), b"yiwang refresh tokens", "sha256"),
        )

    @property
    def kid(self) -> str:
        return str(self.current.kid)

    def verifying(self) -> KeySet:
        return KeySet([key for key in (self.current, self.previous) if key])

    def published(self) -> dict[str, Any]:
        """The JSON Web Key Set, public parts alone."""
        return {"keys": [key.as_dict(private=False) for key in self.verifying().keys]}


def key_of_scalar(digits: str) -> ECKey:
    """The P-256 key with this private scalar, given as 64 hexadecimal digits."""
    try:
        private = ec.derive_private_key(int(digits, 16), ec.SECP256R1())
    except ValueError:
        raise ValueError("the signing key is not the private scalar of a P-256 key in hexadecimal") from None
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    kid = ECKey.import_key(pem).thumbprint()
    return ECKey.import_key(pem, {"kid": kid, "use": "sig", "alg": ALGORITHM})
