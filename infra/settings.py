"""A stack's settings: Pulumi stack configuration in the namespace `yiwang:`, typed, checked before any resource.

The field's description is its documentation; `infra/README.md` lists them. What is marked secret must be set with
`--secret`. A stack learns what another stack owns by reference, never by repeating a setting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from infra import addresses
from infra.errors import ExpectedError
from infra.names import PROJECT, StackName
from infra.passwords import SEED_DIGITS

DOMAIN = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$"
SECRET: dict[str, Any] = {"secret": True}


def _structured(value: object) -> object:
    """Lists and maps come from the engine as JSON text."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError(f"is not JSON: {error}") from error
    return value


Texts = Annotated[tuple[str, ...], BeforeValidator(_structured)]
TextByName = Annotated[dict[str, str], BeforeValidator(_structured)]
NumberByName = Annotated[dict[str, int], BeforeValidator(_structured)]
Seed = Annotated[str, Field(pattern=rf"^[0-9a-f]{{{SEED_DIGITS}}}$", repr=False, json_schema_extra=SECRET)]


class SettingsError(ExpectedError):
    """A stack's settings do not hold; the message names each key, the stack, the reason and the command."""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, hide_input_in_errors=True)

    provider_version: str = Field("", description="version of the provider plugin to ask for; empty: the SDK's own")
    protect: bool = Field(True, description="refuse to delete what holds data, in the engine and in the cloud")


class FoundationSettings(Settings):
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z0-9]+)+$", description="region of everything")
    zones: Texts = Field(description="the two zones of the network")
    cidr: str = Field(description="the network's range, /8 to /24")
    neighbours: Texts = Field((), description="ranges that the network must not overlap")
    site_suffix: str = Field(pattern=DOMAIN, description="suffix of every site's name")
    site_port: int = Field(443, ge=1, le=65535, description="port of every site")
    private_zone: str = Field(pattern=DOMAIN, description="suffix of names inside the network")
    account_id: str = Field(pattern=r"^[0-9]{12,20}$", description="number of the cloud account")
    account_suffix: str = Field(pattern=r"^[a-z0-9]{2,12}$", description="makes globally unique names ours")
    certificate: str = Field(description="PEM chain of the sites' wildcard certificate")
    certificate_key: str = Field(repr=False, description="PEM of its private key", json_schema_extra=SECRET)
    authority_certificate: str = Field("", description="PEM of a private authority that hosts must trust")
    ssh_public_key: str = Field(pattern=r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-\S+) \S+", description="operators' key")
    ssh_user: str = Field("root", description="user that the playbooks log in as")
    ssh_arguments: str = Field("", description="more ssh arguments for the way in, for example a ProxyJump")
    name_servers: Texts = Field((), description="addresses that hosts ask; empty leaves the image's resolver alone")
    kms_instance_id: str = Field("", description="key management instance, which accounts made today need")
    object_endpoint: str = Field(pattern=r"^https://\S+$", description="URL of the object store as hosts reach it")
    log_retention_days: int = Field(180, ge=180, le=3650, description="how long audit and access logs are kept")

    @field_validator("zones")
    @classmethod
    def _two_zones(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        if len(zones) != addresses.ZONES or len(set(zones)) != addresses.ZONES:
            raise ValueError(f"names {len(set(zones))} zones, the network spreads over {addresses.ZONES}")
        return zones

    @field_validator("certificate", "certificate_key", "authority_certificate")
    @classmethod
    def _pem(cls, text: str) -> str:
        if text and not re.match(r"-----BEGIN [A-Z ]+-----\n", text):
            raise ValueError("is not PEM: it does not begin with -----BEGIN")
        return text

    @model_validator(mode="after")
    def _network(self) -> FoundationSettings:
        _ = self.addresses
        return self

    @property
    def addresses(self) -> addresses.AddressPlan:
        return addresses.plan(self.cidr, self.neighbours)


class SeededSettings(Settings):
    seed: Seed
    password_versions: NumberByName = Field(
        default_factory=dict, description="purpose, or purpose/tenant → version; raise one to rotate"
    )


class CellSettings(SeededSettings):
    image_id: str = Field(min_length=1, description="image of every host")
    instance_types: TextByName = Field(description="role → instance type")
    system_disk_gib: int = Field(40, ge=20, le=500, description="size of a host's system disk")
    balancer_address_type: Literal["Internet", "Intranet"] = Field("Internet", description="who reaches the balancer")
    balancer_edition: Literal["Standard", "StandardWithWaf"] = Field("StandardWithWaf", description="with firewall")
    management_cidr: str = Field("", description="range that may use SSH beside the bastion's group; empty: none")
    backup_retention_days: int = Field(30, ge=7, le=730, description="how long backups and their logs are kept")
    backup_region: str = Field("", description="a second region that also keeps the backups; empty: none")

    @field_validator("instance_types")
    @classmethod
    def _types(cls, types: dict[str, str]) -> dict[str, str]:
        for role, instance_type in types.items():
            if not re.match(r"^ecs\.[a-z0-9-]+\.[a-z0-9]+$", instance_type):
                raise ValueError(f"{role}: {instance_type!r} is no instance type like ecs.g7.large")
        return types

    @field_validator("management_cidr")
    @classmethod
    def _range(cls, cidr: str) -> str:
        if cidr and addresses.parse(cidr).prefixlen == 0:
            raise ValueError(f"{cidr} is the whole internet")
        return cidr


class TenantsSettings(SeededSettings):
    pass


KINDS: dict[str, type[Settings]] = {
    "foundation": FoundationSettings,
    "cell": CellSettings,
    "tenants": TenantsSettings,
}


def secret_keys(kind: str) -> set[str]:
    """Keys, as the stack's file writes them, that must be encrypted there."""
    fields = KINDS[kind].model_fields
    return {
        to_camel(name)
        for name, field in fields.items()
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret")
    }


def load(stack: StackName, values: Mapping[str, str], secrets: Collection[str]) -> Settings:
    """The typed settings of a stack from the engine's full keys (`yiwang:cidr`) and the keys that are encrypted.

    Raises:
        SettingsError: a value is missing, wrong, unknown, or a secret stands there in clear.
    """
    prefix = f"{PROJECT}:"
    own = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
    in_clear = [key for key in secret_keys(stack.kind) if key in own and prefix + key not in secrets]
    if in_clear:
        raise SettingsError(_refusal(stack, [(key, "is a secret and stands in clear") for key in sorted(in_clear)]))
    try:
        return KINDS[stack.kind].model_validate(own)
    except ValidationError as error:
        problems = [(_key(detail["loc"]), _reason(detail)) for detail in error.errors(include_url=False)]
        raise SettingsError(_refusal(stack, problems)) from None


def _key(location: tuple[int | str, ...]) -> str:
    """An error of the whole model is the network's: it alone is checked across fields."""
    return str(location[0]) if location else "cidr"


def _reason(detail: Any) -> str:
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "extra_forbidden":
        return "is no setting of this kind of stack"
    return str(detail["msg"]).removeprefix("Value error, ")


def _refusal(stack: StackName, problems: list[tuple[str, str]]) -> str:
    lines = [f"stack {stack}: its settings do not hold; nothing was changed."]
    for key, reason in problems:
        lines.append(f"  {PROJECT}:{key}: {reason}")
        if "no setting" in reason:
            lines.append(f"    pulumi config rm {PROJECT}:{key} --stack {stack}")
        else:
            secret = "--secret " if key in secret_keys(stack.kind) else ""
            lines.append(f"    pulumi config set {secret}{PROJECT}:{key} VALUE --stack {stack}")
    return "\n".join(lines)
