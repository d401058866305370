"""A province with its secrets, for what playbooks make of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from infra.engine import REPOSITORY
from infra.outputs import CellOutputs, EnvironmentOutputs
from infra.services import made_for_tenants, modules_with_tables
from tests.support.province import Province

ENVIRONMENT = "test-province"
SUFFIX = "province.localhost"
SHAPE = {
    "cell-core": {"gateway": 2, "identity": 2, "query": 2, "monitoring": 1},
    "cell-a": {"gateway": 2, "application": 2},
}
CODES = ["330000", "330100", "330102", "330105", "330106", "330108", "330109", "330110", "330111", "330112", "330113",
         "330114", "330122", "330182"]  # fmt: skip
TENANT_PURPOSES = ("database_owner_password", "database_application_password", "object_access_key_id",
                   "object_access_key_secret", "client_secret", "check_code_key")  # fmt: skip
ACCOUNTS = (*modules_with_tables(), "measures")


def outputs(*more: str) -> EnvironmentOutputs:
    """What `yiwang outputs` would tell of it, with more tenants than it has by itself."""
    return Province("province", SHAPE, [*CODES, *more], "10.91", authority_certificate="PEM").outputs()


def secrets() -> dict[str, Any]:
    """What the lookup `yiwang_secrets` would answer: the secrets of all its stacks."""
    return {
        "cells": {cell.cell: _cell_secrets(cell) for cell in outputs().cells},
        "tenants": {code: _tenant_secrets(code) for code in CODES},
    }


def _tenant_secrets(code: str) -> dict[str, Any]:
    return {
        **{purpose: secret(f"{code} {purpose}") for purpose in TENANT_PURPOSES},
        "database_passwords": {account: secret(f"{code} database {account}") for account in ACCOUNTS},
        "made": {name: secret(f"{code} made {name}") for name in made_for_tenants()},
    }


def secret(purpose: str) -> str:
    """One secret: the same at each call, and found in no text by chance."""
    return "Aa1-" + hashlib.sha256(purpose.encode()).hexdigest()[:20]


def write(folder: Path) -> None:
    """Lays outputs and secrets down where `variables` makes Ansible look for them."""
    (folder / "outputs.json").write_text(outputs().model_dump_json(indent=1))
    path = folder / "secrets.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(secrets()))


def variables(folder: Path) -> dict[str, str]:
    """What Ansible's own commands need in their environment to work on it."""
    return {
        "YIWANG_ENVIRONMENT": ENVIRONMENT,
        "YIWANG_OUTPUTS": str(folder / "outputs.json"),
        "YIWANG_PLAY_SECRETS": str(folder / "secrets.json"),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
    }


def _cell_secrets(cell: CellOutputs) -> dict[str, Any]:
    cell_secrets: dict[str, Any] = {
        "database_privileged_password": secret(f"{cell.cell} admin"),
        "databases": {
            name: {"owner": secret(f"{name} owner"), "application": secret(f"{name} application")}
            for name in cell.database.databases
        },
        "monitoring_database_password": secret(f"{cell.cell} monitoring"),
        "cache": {name: secret(f"{cell.cell} {name} cache") for name in cell.cache.accounts},
    }
    if "identity" in cell.database.databases:
        cell_secrets["identity_signing_key"] = hashlib.sha256(b"signing").hexdigest()
        cell_secrets["operator_client_secret"] = secret("operator")
    return cell_secrets
