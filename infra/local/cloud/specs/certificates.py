"""Certificates that balancers present."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.cloud.records import fixed, secret


@dataclass(frozen=True)
class CertificateSpec:
    name: str = fixed()
    certificate: str = ""  # PEM, the leaf first
    private_key: str = secret("")
    tags: Mapping[str, str] | None = None
