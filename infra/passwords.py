"""Every password, derived from a stack's own random seed: the same today and tomorrow, none of them stored.

Each is HKDF of the seed by purpose, tenant and version. Rotation raises the version of a purpose; a purpose's text is
part of what it derives, so renaming one changes its passwords.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PASSWORD_LENGTH = 24
SEED_DIGITS = 64
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the curve's base point, FIPS 186-4 D.1.2.3."""

_CLASSES = (string.ascii_uppercase, string.ascii_lowercase, string.digits)
_ALPHABET = "".join(_CLASSES)


@dataclass(frozen=True)
class Passwords:
    """Derives from one stack's seed.

    `versions` maps a purpose, or `purpose/tenant`, to its version; what it does not name is at version 1.
    """

    seed: str = field(repr=False)
    versions: Mapping[str, int] = field(default_factory=dict)

    def password(self, purpose: str, tenant: str = "") -> str:
        """24 letters and digits: within the cloud's 8 to 32, three of its four classes, safe in URLs and shells."""
        number = int.from_bytes(self._derive(purpose, tenant, 48))
        characters = []
        for place in range(PASSWORD_LENGTH):
            # One of each class first, so that the cloud's rule holds for every seed.
            alphabet = _CLASSES[place] if place < len(_CLASSES) else _ALPHABET
            number, choice = divmod(number, len(alphabet))
            characters.append(alphabet[choice])
        return "".join(characters)

    def token(self, purpose: str, tenant: str = "") -> str:
        """64 hexadecimal digits, for what no rule of the cloud shapes."""
        return self._derive(purpose, tenant, 32).hex()

    def signing_key(self, purpose: str) -> str:
        """A P-256 private scalar as 64 hexadecimal digits. 128 bits more than the order leave no bias to speak of."""
        scalar = int.from_bytes(self._derive(purpose, "", 48)) % (P256_ORDER - 1) + 1
        return f"{scalar:064x}"

    def version(self, purpose: str, tenant: str = "") -> int:
        return self.versions.get(f"{purpose}/{tenant}", self.versions.get(purpose, 1))

    def _derive(self, purpose: str, tenant: str, length: int) -> bytes:
        info = "\0".join(("yiwang", purpose, tenant, str(self.version(purpose, tenant))))
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=info.encode()).derive(bytes.fromhex(self.seed))
