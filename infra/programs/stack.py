"""What every program begins with: the typed settings, the explicit provider, and what cuts across all resources."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import pulumi
import pulumi_alicloud as alicloud
from pulumi.runtime import config
from pulumi.runtime.stack import register_stack_transformation
from pydantic import BaseModel

from infra.names import PROJECT, StackName
from infra.settings import Settings

S = TypeVar("S", bound=Settings)
T = TypeVar("T", bound=Settings)

HOLDS_DATA = frozenset(
    [
        "alicloud:rds/instance:Instance",
        "alicloud:rds/database:Database",
        "alicloud:rds/rdsAccount:RdsAccount",
        "alicloud:oss/bucket:Bucket",
        "alicloud:kms/key:Key",
        "alicloud:kms/secret:Secret",
        "alicloud:log/project:Project",
        "alicloud:log/store:Store",
        "alicloud:actiontrail/trail:Trail",
    ]
)
"""Types that the engine refuses to delete where the settings say `protect`: what is in them is not made again."""


def configuration() -> tuple[Mapping[str, str], Collection[str]]:
    """All of the stack's configuration as the engine hands it over, and which keys are encrypted."""
    values = {**config.get_config_env(), **config.CONFIG.get()}
    return values, {key for key in values if config.is_config_secret(key)}


@dataclass(frozen=True)
class Stack(Generic[S]):
    name: StackName
    settings: S

    def of(self, kind: type[T]) -> Stack[T]:
        """The same stack, its settings known to be of this kind."""
        if not isinstance(self.settings, kind):
            raise TypeError(f"stack {self.name} is no stack of {kind.__name__}")
        return Stack(self.name, self.settings)

    @property
    def environment(self) -> str:
        return self.name.environment

    @property
    def tags(self) -> dict[str, str]:
        return {"project": PROJECT, "environment": self.environment, "scope": self.name.scope}

    def provider(self, region: pulumi.Input[str]) -> alicloud.Provider:
        """The stack's only way to the cloud. A version picks the plugin, so a stack never reaches another's."""
        version = self.settings.provider_version or None
        return alicloud.Provider("cloud", region=region, opts=pulumi.ResourceOptions(version=version))

    def shape_all(self) -> None:
        """Tags, protection and the order of replacement, for every resource that follows."""
        register_stack_transformation(self._shape)

    def _shape(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith("alicloud:"):
            return None
        props = dict(args.props)
        if "tags" in props:
            # Ours are plain maps: a resource adds what is its own alone, such as its tenant.
            own = cast(Mapping[str, str], props["tags"] or {})
            props["tags"] = {**self.tags, **own}
        cross_cutting = pulumi.ResourceOptions(
            # Physical names are ours: the old one must be gone before the new one can have its name.
            delete_before_replace=True,
            protect=True if self.settings.protect and args.type_ in HOLDS_DATA else None,
        )
        return pulumi.ResourceTransformationResult(props, pulumi.ResourceOptions.merge(args.opts, cross_cutting))


def export_contract(model: type[BaseModel], values: dict[str, object]) -> None:
    """Exports a stack's typed outputs, checked against their type as soon as they are known."""
    outputs = pulumi.Output.from_input(values)
    pulumi.export("contract", outputs.apply(lambda plain: model.model_validate(plain).model_dump(mode="json")))
