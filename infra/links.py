"""What one stack's program takes from another's: ids and endpoints, read by stack reference.

Inside `infra/` only; what later stages may know is in `infra/outputs.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import pulumi

from infra.names import StackName

Link = TypeVar("Link")
OUTPUT = "links"


@dataclass(frozen=True)
class FoundationLinks:
    region: pulumi.Input[str]
    account_id: pulumi.Input[str]
    account_suffix: pulumi.Output[str]
    kms_instance_id: pulumi.Output[str]
    zones: pulumi.Output[Sequence[str]]
    vpc_id: pulumi.Input[str]
    service_vswitch_ids: pulumi.Output[Sequence[str]]
    balancer_vswitch_ids: pulumi.Output[Sequence[str]]
    balancer_cidrs: pulumi.Output[Sequence[str]]
    management_group_id: pulumi.Input[str]
    resource_group_id: pulumi.Input[str]
    key_id: pulumi.Input[str]
    key_pair_name: pulumi.Input[str]
    snapshot_policy_id: pulumi.Input[str]
    certificate_id: pulumi.Input[str]
    log_bucket: pulumi.Input[str]
    log_retention_days: pulumi.Output[int]
    site_suffix: pulumi.Output[str]
    site_port: pulumi.Output[int]
    public_domain: pulumi.Input[str]
    site_zone_id: pulumi.Input[str]
    private_zone: pulumi.Output[str]
    private_zone_id: pulumi.Input[str]


@dataclass(frozen=True)
class CellLinks:
    database_instance_id: pulumi.Input[str]
    balancer_name: pulumi.Input[str]


def publish(links: FoundationLinks | CellLinks) -> None:
    pulumi.export(OUTPUT, {field.name: getattr(links, field.name) for field in fields(links)})


def read(kind: type[Link], stack: StackName) -> Link:
    """The links of another stack; fails in the engine's words where that stack was never brought up."""
    published = pulumi.StackReference(stack.scope, stack_name=stack.reference).get_output(OUTPUT)

    def field_of(links: dict[str, Any] | None, name: str) -> Any:
        if links is None or name not in links:
            raise pulumi.RunError(f"stack {stack} does not publish {name}: bring it up first, pulumi up -s {stack}")
        return links[name]

    def lift(name: str) -> pulumi.Output[Any]:
        return published.apply(lambda links: field_of(links, name))

    return kind(**{field.name: lift(field.name) for field in fields(kind)})  # type: ignore[arg-type]
