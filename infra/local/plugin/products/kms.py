"""Keys, their aliases, and secrets. The store keeps a secret's value encrypted; nothing local reads it."""

from __future__ import annotations

import uuid

from infra.local.plugin.binding import Creation
from infra.local.plugin.invokes import ACCOUNT
from infra.local.plugin.rules import ClassRules, needs, number, on, one_of, tags, text
from infra.local.plugin.shapes import KeptClass
from infra.local.plugin.values import Values

KEY = "alicloud:kms/key:Key"
ALIAS = "alicloud:kms/alias:Alias"
SECRET = "alicloud:kms/secret:Secret"  # noqa: S105


def _key_id(creation: Creation, inputs: Values) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{creation.urn} {creation.owner}"))


def _key(id: str, inputs: Values) -> Values:
    return {
        "arn": f"acs:kms:cn-hangzhou:{ACCOUNT}:key/{id}",
        "creationDate": "2026-01-01T00:00:00Z",
        "creator": ACCOUNT,
        "keyState": "Enabled",
        "status": inputs.get("status", "Enabled"),
        "primaryKeyVersion": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{id} 1")),
    }


def _protected(inputs: Values) -> str | None:
    if inputs.get("deletionProtection") == "Enabled":
        return "deletionProtection is Enabled: set it to Disabled, update, then delete"
    return None


def _secret(id: str, inputs: Values) -> Values:
    return {"arn": f"acs:kms:cn-hangzhou:{ACCOUNT}:secret/{id}", "createTime": "2026-01-01T00:00:00Z"}


def _period(value: object) -> str | None:
    """As the service counts: whole days, hours, minutes or seconds, 7 to 730 days together."""
    text = str(value)
    seconds = {"d": 86400, "h": 3600, "m": 60, "s": 1}.get(text[-1:], 0)
    if not seconds or not text[:-1].isdigit():
        return f"is {text!r}; allowed: a whole number with d, h, m or s"
    return None if 7 * 86400 <= int(text[:-1]) * seconds <= 730 * 86400 else f"is {text}; allowed: 7 to 730 days"


RULES = {
    KEY: ClassRules(
        KEY,
        rules=(
            number("pendingWindowInDays", "[P] kms_key", 7, 366),
            one_of("automaticRotation", "[P] kms_key", "Enabled", "Disabled", "Suspended"),
            one_of("deletionProtection", "[P] kms_key", "Enabled", "Disabled"),
            one_of("keyUsage", "[P] kms_key", "ENCRYPT/DECRYPT", "SIGN/VERIFY", "GENERATE/VERIFY_MAC"),
            one_of("origin", "[P] kms_key", "Aliyun_KMS", "EXTERNAL"),
            one_of("status", "[P] kms_key", "Enabled", "Disabled", "PendingDeletion"),
            one_of(
                "keySpec",
                "[P] kms_key",
                *("Aliyun_AES_256", "Aliyun_AES_128", "Aliyun_AES_192", "Aliyun_SM4", "RSA_2048", "RSA_3072"),
                *("RSA_4096", "EC_P256", "EC_P256K", "EC_SM2", "HMAC_SM3", "HMAC_SHA224", "HMAC_SHA256"),
                *("HMAC_SHA384", "HMAC_SHA512"),
            ),
            on("rotationInterval", "7 to 730 days, as 365d", "[P] kms_key", _period),
            needs(
                "[P] kms_key",
                "rotationInterval",
                when=lambda inputs: inputs.get("automaticRotation") == "Enabled",
                because="where automaticRotation is Enabled",
            ),
            tags("[P] kms_key"),
        ),
        replace=frozenset({"keySpec", "keyUsage", "origin", "dkmsInstanceId", "protectionLevel"}),
        replace_source="[S] resource_alicloud_kms_key.go",
    ),
    ALIAS: ClassRules(
        ALIAS,
        rules=(
            text(
                "aliasName",
                "[P] kms_alias",
                pattern=r"alias/[A-Za-z0-9/_-]+",
                longest=255,
                says="alias/ and letters, digits, slashes, hyphens and underscores, 255 characters together",
            ),
        ),
        replace=frozenset({"aliasName"}),
        replace_source="[S] resource_alicloud_kms_alias.go",
        refers={"keyId": KEY},
    ),
    SECRET: ClassRules(
        SECRET,
        rules=(
            text(
                "secretName",
                "[P] kms_secret",
                pattern=r"[A-Za-z0-9_/+=.@-]+",
                longest=64,
                says="up to 64 letters, digits and _/+=.@-",
            ),
            text("versionId", "[P] kms_secret", shortest=1, longest=64, says="1 to 64 characters"),
            number("recoveryWindowInDays", "[P] kms_secret", 7, 30),
            one_of("secretDataType", "[P] kms_secret", "text", "binary"),
            one_of("secretType", "[P] kms_secret", "Generic", "Rds", "RAMCredentials", "ECS", "Redis", "PolarDB"),
            tags("[P] kms_secret"),
        ),
        replace=frozenset({"secretName", "encryptionKeyId", "dkmsInstanceId", "secretType", "extendedConfig"}),
        replace_source="[S] resource_alicloud_kms_secret.go",
        refers={"encryptionKeyId": KEY},
    ),
}
CLASSES = {
    KEY: KeptClass(make_id=_key_id, compute=_key, protected=_protected),
    ALIAS: KeptClass(make_id=lambda _, inputs: str(inputs["aliasName"])),
    SECRET: KeptClass(make_id=lambda _, inputs: str(inputs["secretName"]), compute=_secret),
}
