"""The `secrets` output of a stack, version 1: read by one lookup plugin of the playbooks and by `yiwang`, nothing else.

A tenants stack exports a map from code to `TenantSecrets`, a cell one `CellSecrets`; the foundation has none.
"""

from __future__ import annotations

from pydantic import Field

from infra.outputs import Output

SHA256_DIGITS = r"^[0-9a-f]{64}$"


class TenantSecrets(Output):
    database_owner_password: str = Field(repr=False)
    database_application_password: str = Field(
        repr=False, description="of the one account of all modules, which a release before may still use while it goes"
    )
    database_passwords: dict[str, str] = Field(
        default_factory=dict,
        repr=False,
        description="module, or `measures` → password; none: the stack was last brought up before modules had accounts",
    )
    object_access_key_id: str
    object_access_key_secret: str = Field(repr=False)
    client_secret: str = Field(pattern=SHA256_DIGITS, repr=False, description="of the tenant's site at identity")
    check_code_key: str = Field(pattern=SHA256_DIGITS, repr=False, description="keys the hashes of check codes")
    made: dict[str, str] = Field(
        default_factory=dict, repr=False, description="what rows of `infra/services.py` name beside → 64 hex digits"
    )


class OwnDatabaseSecrets(Output):
    owner: str = Field(repr=False)
    application: str = Field(repr=False)


class CellSecrets(Output):
    database_privileged_password: str = Field(repr=False)
    databases: dict[str, OwnDatabaseSecrets] = Field(description="the cell's own databases; tenants' are elsewhere")
    monitoring_database_password: str = Field(repr=False, description="of the role `monitoring`: figures, no data")
    cache: dict[str, str] = Field(repr=False, description="service, or `monitoring`, which only reads → password")
    services: dict[str, dict[str, str]] = Field(
        default_factory=dict, repr=False, description="service → secret of its own → 64 hex digits"
    )
    identity_signing_key: str | None = Field(None, pattern=SHA256_DIGITS, repr=False, description="P-256 scalar, hex")
    operator_client_secret: str | None = Field(None, pattern=SHA256_DIGITS, repr=False)
