"""The people that a local or test environment is seeded with, so that somebody can log in."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.outputs import EnvironmentOutputs, TenantOutputs
from tools.stages import StageError

DEPARTMENT = "政务服务中心"
PASSWORD_BYTES = 9


@dataclass(frozen=True)
class Person:
    """A log-in. `roles`: as identity's operator API takes them."""

    username: str
    password: str
    name: str
    phone: str
    roles: list[dict[str, str]]

    def as_json(self) -> dict[str, Any]:
        return {
            "username": self.username,
            "password": self.password,
            "name": self.name,
            "phone": self.phone,
            "roles": self.roles,
        }


def people(outputs: EnvironmentOutputs, path: Path) -> list[Person]:
    """A citizen, a clerk for each tenant and a province administrator; passwords are kept in `path` (mode 0600)."""
    passwords = _passwords(path)

    def password(username: str) -> str:
        return passwords.setdefault(username, secrets.token_urlsafe(PASSWORD_BYTES))

    demo_people = [Person("citizen", password("citizen"), "林小满", "13800000001", [])]
    for tenant in outputs.tenants:
        username = f"clerk-{tenant.code}"
        demo_people.append(Person(username, password(username), f"{tenant.name}窗口", "", _roles(tenant, "clerk")))
    province = next((tenant for tenant in outputs.tenants if tenant.level == "province"), None)
    if province is not None:
        roles = _roles(province, "administrator")
        demo_people.append(Person("administrator", password("administrator"), "省级管理员", "", roles))
    path.touch(mode=0o600)
    path.write_text(json.dumps(passwords, indent=2) + "\n")
    return demo_people


def _passwords(path: Path) -> dict[str, str]:
    """By user name; empty before anybody was made.

    Raises:
        StageError: the file is not what was written there.
    """
    try:
        passwords: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise StageError(f"{path} is malformed: {error}", "remove it: make up makes new log-ins") from None
    if passwords and not (isinstance(passwords, dict) and {"citizen", "administrator"} <= passwords.keys()):
        raise StageError(f"{path} lacks the citizen or the administrator", "remove it: make up makes new log-ins")
    return passwords


def _roles(tenant: TenantOutputs, role: str) -> list[dict[str, str]]:
    return [{"tenant": tenant.code, "department": DEPARTMENT, "role": role}]


def log_ins(outputs: EnvironmentOutputs, path: Path) -> dict[str, Any]:
    """What `yiwang status --json` shows under `demo`: citizen, clerks by tenant code, administrator."""
    passwords = _passwords(path)
    if not passwords:
        return {}

    def log_in(username: str) -> dict[str, str]:
        return {"username": username, "password": passwords[username]}

    clerks = {
        tenant.code: log_in(f"clerk-{tenant.code}") for tenant in outputs.tenants if f"clerk-{tenant.code}" in passwords
    }
    return {"citizen": log_in("citizen"), "clerks": clerks, "operator": log_in("administrator")}
