"""Every physical name, derived from codes. Nothing else in `infra/` builds one, so a name is changed in one place.

Names are ours (no auto-naming): a replacement deletes first or changes its name. Names that are unique in the whole
cloud (buckets, log projects) end in the account's suffix.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.errors import ExpectedError
from infra.folder import NAME as ENVIRONMENT

PROJECT = "yiwang"
STACK_NAME = re.compile(rf"^(?P<environment>{ENVIRONMENT})\.(?P<scope>[a-z][a-z0-9-]{{0,30}})$")


class StackNameError(ExpectedError, ValueError):
    """A stack that is none of ours."""


@dataclass(frozen=True)
class StackName:
    """`<environment>.<scope>`.

    Raises:
        StackNameError: from `parse`, when the text is no stack of ours.
    """

    environment: str
    scope: str

    @classmethod
    def parse(cls, text: str) -> StackName:
        match = STACK_NAME.match(text)
        if not match:
            raise StackNameError(f"stack {text!r}: expected <environment>.<scope>, for example local.foundation")
        return cls(match["environment"], match["scope"])

    def __str__(self) -> str:
        return f"{self.environment}.{self.scope}"

    @property
    def reference(self) -> str:
        """As another stack names it."""
        return f"organization/{PROJECT}/{self}"

    @property
    def kind(self) -> str:
        if self.scope == "foundation":
            return "foundation"
        return "cell" if self.scope.startswith("cell-") else "tenants"

    def sibling(self, scope: str) -> StackName:
        return StackName(self.environment, scope)


def shared(environment: str, thing: str) -> str:
    """What the environment has one of: `yw-prod-vpc`."""
    return f"yw-{environment}-{thing}"


def scoped(environment: str, scope: str, thing: str = "") -> str:
    """What a stack has one of: `yw-prod-cell-a-gateway`."""
    return "-".join(part for part in ("yw", environment, scope, thing) if part)


def bucket(environment: str, scope: str, account_suffix: str) -> str:
    return f"yw-{environment}-{scope}-{account_suffix}"


def log_project(environment: str, scope: str, account_suffix: str) -> str:
    return f"yw-{environment}-{scope}-log-{account_suffix}"


def host(cell: str, role: str, number: int) -> str:
    return f"{cell}-{role}-{number}"


MEASURES = "measures"
"""Reads what the modules let be measured of a tenant's records, and nothing else."""


def tenant_database(code: str) -> str:
    return f"t{code}"


def tenant_prefix(code: str) -> str:
    return f"{code}/"


def tenant_identity(environment: str, code: str) -> str:
    """RAM user and policy of a tenant."""
    return f"yw-{environment}-t{code}"


def owner_account(database: str) -> str:
    return f"{database}_owner"


def application_account(database: str) -> str:
    """Of the service whose database it is. Made by the database role of the playbooks, not an account of the cloud."""
    return f"{database}_app"


def module_account(database: str, module: str) -> str:
    """Of a module in a tenant's database, or of `MEASURES`; made like `application_account`."""
    return f"{database}_{module}"


def site(label: str, suffix: str) -> str:
    return f"{label}.{suffix}"


def site_url(label: str, suffix: str, port: int) -> str:
    return f"https://{site(label, suffix)}" + ("" if port == 443 else f":{port}")
