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
    region: pulumi.Output[str]
    account_id: pulumi.Output[str]
    account_suffix: pulumi.Output[str]
    kms_instance_id: pulumi.Output[str]
    zones: pulumi.Output[Sequence[str]]
    vpc_id: pulumi.Output[str]
    service_vswitch_ids: pulumi.Output[Sequence[str]]
    balancer_vswitch_ids: pulumi.Output[Sequence[str]]
    balancer_cidrs: pulumi.Output[Sequence[str]]
    management_group_id: pulumi.Output[str]
    monitoring_group_id: pulumi.Output[str]
    resource_group_id: pulumi.Output[str]
    key_id: pulumi.Output[str]
    key_pair_name: pulumi.Output[str]
    snapshot_policy_id: pulumi.Output[str]
    certificate_id: pulumi.Output[str]
    log_bucket: pulumi.Output[str]
    log_retention_days: pulumi.Output[int]
    site_suffix: pulumi.Output[str]
    site_port: pulumi.Output[int]
    public_domain: pulumi.Output[str]
    site_zone_id: pulumi.Output[str]
    private_zone: pulumi.Output[str]
    private_zone_id: pulumi.Output[str]


@dataclass(frozen=True)
class CellLinks:
    database_instance_id: pulumi.Output[str]
    balancer_name: pulumi.Output[str]


def publish(kind: type[FoundationLinks] | type[CellLinks], **links: Any) -> None:
    """Exports a stack's links; lists stay lists of single values, so that one unknown does not hide the others.

    Raises:
        TypeError: the links are not exactly those of their kind.
    """
    expected = {field.name for field in fields(kind)}
    if set(links) != expected:
        raise TypeError(f"{kind.__name__}: {', '.join(sorted(set(links) ^ expected))} missing or too many")
    pulumi.export(OUTPUT, links)


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
