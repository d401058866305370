"""Hosts and their key pairs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from infra.local.cloud.records import fixed, fixed_reference, named, reference
from infra.local.cloud.specs.forms import Form, Span

HOST_NAME = Form(
    "1 to 63 lower-case letters, digits and hyphens, a letter or digit at each end",
    pattern=r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
)
GROUPS_OF_A_HOST = Span(1, 10)
_PUBLIC_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-\S+) [A-Za-z0-9+/=]+( |$)")


def public_key_fault(value: object) -> str | None:
    if _PUBLIC_KEY.match(str(value).strip()):
        return None
    return "is no OpenSSH public key: it begins with ssh-rsa, ssh-ed25519 or ecdsa-sha2-…"


@dataclass(frozen=True)
class KeyPairSpec:
    name: str = fixed()
    public_key: str = fixed()
    tags: Mapping[str, str] | None = None


@dataclass(frozen=True)
class HostSpec:
    """`name` is the instance's and the host's name, unique in the environment."""

    name: str = fixed()
    instance_type: str = ""
    switch_id: str = fixed_reference("Switch", "")
    security_group_ids: tuple[str, ...] = reference("SecurityGroup", ())
    key_name: str = named("KeyPair", "")
    private_ip: str = fixed("")
    image_id: str = ""
    user_data: str = ""
    deletion_protection: bool = False
    description: str = ""
    tags: Mapping[str, str] | None = None
