"""Sealed values: what a browser or a table keeps for us without being able to read it."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE_BYTES = 12


def derive_key(secret: bytes, purpose: str) -> bytes:
    """A key for one purpose; keys of other purposes from the same secret tell nothing of it."""
    return HKDF(SHA256(), length=32, salt=None, info=f"yiwang portal {purpose}".encode()).derive(secret)


def seal(key: bytes, content: dict[str, Any]) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, json.dumps(content).encode(), None)


def unseal(key: bytes, sealed: bytes) -> dict[str, Any] | None:
    """The content, or None when it was sealed with another key or changed since."""
    try:
        opened = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
    except (InvalidTag, ValueError):
        return None
    content: dict[str, Any] = json.loads(opened)
    return content


def seal_text(key: bytes, content: dict[str, Any]) -> str:
    """For a cookie."""
    return base64.urlsafe_b64encode(seal(key, content)).decode()


def unseal_text(key: bytes, text: str) -> dict[str, Any] | None:
    try:
        return unseal(key, base64.b64decode(text.encode("ascii", "replace"), altchars=b"-_", validate=True))
    except binascii.Error:
        return None
