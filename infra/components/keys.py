"""Keys of the key management service, and secrets kept in it."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_alicloud import kms


@dataclass(frozen=True)
class KeyArgs:
    physical_name: str
    description: str
    instance_id: pulumi.Input[str | None]
    """The key management instance; accounts made today need one of their own."""
    deletion_protection: bool


class Key(pulumi.ComponentResource):
    def __init__(self, name: str, args: KeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:Key", name, None, opts)
        key = kms.Key(
            f"{name}-key",
            description=args.description,
            key_spec="Aliyun_AES_256",
            key_usage="ENCRYPT/DECRYPT",
            origin="Aliyun_KMS",
            dkms_instance_id=args.instance_id,
            automatic_rotation="Enabled",
            rotation_interval="365d",
            deletion_protection="Enabled" if args.deletion_protection else "Disabled",
            pending_window_in_days=30 if args.deletion_protection else 7,
            opts=pulumi.ResourceOptions(parent=self),
        )
        kms.Alias(
            f"{name}-alias",
            alias_name=f"alias/{args.physical_name}",
            key_id=key.id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.key_id = key.id
        self.arn = key.arn
        self.register_outputs({"key_id": self.key_id})


@dataclass(frozen=True)
class KeptSecretArgs:
    physical_name: str
    description: str
    value: pulumi.Input[str]
    version: int
    key_id: pulumi.Input[str]
    instance_id: pulumi.Input[str | None]
    recoverable: bool


class KeptSecret(pulumi.ComponentResource):
    """A copy for the day when the stack's state is out of reach; nothing reads it in a normal run."""

    def __init__(self, name: str, args: KeptSecretArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("yiwang:infra:KeptSecret", name, None, opts)
        kms.Secret(
            f"{name}-secret",
            secret_name=args.physical_name,
            description=args.description,
            secret_data=args.value,
            version_id=f"v{args.version}",
            encryption_key_id=args.key_id,
            dkms_instance_id=args.instance_id,
            recovery_window_in_days=30 if args.recoverable else None,
            force_delete_without_recovery=not args.recoverable,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
