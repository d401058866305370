"""What only this machine can say in a local or test stack's settings."""

from __future__ import annotations

import secrets
from typing import Any

from infra.engine import Engine
from infra.passwords import SEED_DIGITS
from infra.stacks import Setting, stack_settings
from tools.environment import load_choice


def machine_made(engine: Engine, scope: str) -> dict[str, Setting]:
    """The settings of a stack: the template of its kind and the environment's own network, names, keys, certificate."""
    folder = engine.folder
    choice = load_choice(folder)
    values: dict[str, Any] = {
        "cidr": choice.network,
        "sitePort": choice.site_port,
        "siteSuffix": choice.site_suffix,
        "privateZone": choice.private_zone,
        "certificate": (folder.authority / "site.pem").read_text(),
        "certificateKey": (folder.authority / "site.key").read_text(),
        "authorityCertificate": (folder.authority / "authority.pem").read_text(),
        "sshPublicKey": folder.ssh_key.with_suffix(".pub").read_text().strip(),
        "nameServers": [choice.name_server],
        "objectEndpoint": f"https://{choice.object_host}",
        "seed": secrets.token_hex(SEED_DIGITS // 2),
    }
    return stack_settings(engine.environment, scope, values)
