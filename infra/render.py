"""`python -m infra.render STACK`: every resource that the program would declare, without a cloud or credentials.

The real program runs against a monitor in this process that writes down what the engine would be asked for. What only
a deployment knows is `[unknown]`, what is encrypted is `[secret]`; other stacks' outputs come from rendering them too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi.runtime
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime import mocks, rpc
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.proto import resource_pb2

from infra import plan, stacks
from infra.__main__ import main
from infra.errors import ExpectedError
from infra.folder import EnvironmentFolder
from infra.names import PROJECT, StackName
from infra.registry import load_registry
from infra.settings import secret_keys

STACK_TYPE = "pulumi:pulumi:Stack"
UNKNOWN = "[unknown]"
SECRET = "[secret]"  # noqa: S105 - a mark, not a secret

STAND_INS: Mapping[str, Any] = {
    "cidr": "10.200.0.0/16",
    "sitePort": 8443,
    "siteSuffix": "render.localhost",
    "privateZone": "render.yiwang.internal",
    "certificate": "-----BEGIN CERTIFICATE-----\nstands in\n-----END CERTIFICATE-----\n",
    "certificateKey": "-----BEGIN PRIVATE KEY-----\nstands in\n-----END PRIVATE KEY-----\n",  # gitleaks:allow
    "authorityCertificate": "",
    "sshPublicKey": "ssh-ed25519 standsIn",
    "nameServers": [],
    "objectEndpoint": "https://oss.render.yiwang.internal",
    "seed": "0" * 64,
    "accountId": "1000000000000001",
}
"""For values that an operator or the machine makes and that no tracked file holds, and for encrypted ones."""


@dataclass(frozen=True)
class Declared:
    """A resource as the engine is asked for it; `inputs` are marked plain values."""

    urn: str
    type: str
    name: str
    inputs: dict[str, Any]
    parent: str
    custom: bool
    protect: bool
    delete_before_replace: bool
    dependencies: tuple[str, ...]
    provider: str
    version: str

    def line(self) -> str:
        shown = {"type": self.type, "urn": self.urn, "name": self.name, "inputs": self.inputs}
        return json.dumps(shown, ensure_ascii=False, sort_keys=True)


@dataclass
class Rendering:
    stack: StackName
    resources: list[Declared] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)

    def of_type(self, type_: str) -> list[Declared]:
        return [resource for resource in self.resources if resource.type == type_]


class Monitor(mocks.MockMonitor):
    """Writes down every registration; answers with the inputs, so that all else stays unknown."""

    preview = True

    def __init__(self, rendering: Rendering, published: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(Answers())
        self._rendering = rendering
        self._published = published

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """As the engine builds it: all ancestors' types, the stack's own left out."""
        ancestors = parent.split("::")[2] if parent else STACK_TYPE
        qualified = type_ if ancestors == STACK_TYPE else f"{ancestors}${type_}"
        return f"urn:pulumi:{self._rendering.stack}::{PROJECT}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:
        urn = self.make_urn(request.parent, request.type, request.name)
        if request.type == STACK_TYPE:
            return resource_pb2.RegisterResourceResponse(urn=urn)
        inputs = json_format.MessageToDict(request.object)
        self._rendering.resources.append(
            Declared(
                urn=urn,
                type=request.type,
                name=request.name,
                inputs=marked(inputs),
                parent=request.parent,
                custom=request.custom,
                protect=request.protect,
                delete_before_replace=request.deleteBeforeReplace,
                dependencies=tuple(sorted(request.dependencies)),
                provider=request.provider,
                version=request.version,
            )
        )
        return self.answer(urn, request)

    def answer(self, urn: str, request: Any) -> Any:
        return resource_pb2.RegisterResourceResponse(urn=urn, id="", object=request.object)

    def ReadResource(self, request: Any) -> Any:
        asked = json_format.MessageToDict(request.properties)["name"]
        properties = struct_pb2.Struct()
        outputs = {"name": asked, "outputs": self._published[asked], "secretOutputNames": []}
        json_format.ParseDict(outputs, properties)
        urn = self.make_urn(request.parent, request.type, request.name)
        return resource_pb2.ReadResourceResponse(urn=urn, properties=properties)

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if request.urn.split("::")[2] == STACK_TYPE:
            self._rendering.outputs = marked(json_format.MessageToDict(request.outputs))
        return empty_pb2.Empty()


class Answers(mocks.Mocks):
    """The monitor above answers registrations itself; programs here call no function of the cloud."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise ValueError(f"{args.token}: a program asks the cloud something, so it cannot be rendered")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        raise AssertionError(args.typ)


def marked(value: Any) -> Any:
    """The engine's wire values with marks in place of what is unknown or secret."""
    if value == rpc.UNKNOWN:
        return UNKNOWN
    if isinstance(value, Mapping):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return SECRET
        return {key: marked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner) for inner in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def render(
    name: str, monitor: type[Monitor] = Monitor, siblings: Mapping[str, Mapping[str, Any]] | None = None
) -> Rendering:
    """What the stack's program would declare, in the order of URNs.

    `siblings` has outputs of other stacks by their references; those that it lacks are rendered.

    Raises:
        FileNotFoundError: production's stack has no settings file.
        StackNameError, SettingsError, PlanError, RegistryError: as the program itself.
    """
    stack = StackName.parse(name)
    published = dict(siblings or {})
    for other in references(stack):
        if other.reference not in published:
            published[other.reference] = render(str(other), monitor, published).outputs
    rendering = Rendering(stack)
    contextvars.copy_context().run(_run, stack, monitor(rendering, published))
    rendering.resources.sort(key=lambda resource: resource.urn)
    return rendering


def references(stack: StackName) -> Iterator[StackName]:
    """The stacks that a stack's program reads."""
    if stack.kind != "foundation":
        yield stack.sibling("foundation")
    if stack.kind == "tenants":
        registry = load_registry(overlay=EnvironmentFolder(stack.environment).registry_overlay)
        capacity, _ = plan.load(stack.environment, registry)
        yield from (stack.sibling(cell) for cell in capacity.tenant_cells)


def configuration(stack: StackName) -> tuple[dict[str, str], list[str]]:
    """The stack's settings with stand-ins where nothing readable is, as full keys, and which of them are secret."""
    path = stacks.path_of(stack)
    if path.exists():
        own = stacks.read(path)
    elif not EnvironmentFolder(stack.environment).made_here:
        raise FileNotFoundError(f"stack {stack} has no settings: {path.name} is missing in infra/stacks")
    else:
        made = stacks.stack_settings(stack.environment, stack.scope, STAND_INS)
        own = {key.removeprefix(f"{PROJECT}:"): setting.value for key, setting in made.items()}
    secrets = secret_keys(stack.kind)
    for key in stacks.PROVIDED[stack.kind]:
        if key in secrets or key not in own:
            own[key] = STAND_INS[key]
    full = {stacks.full_key(key): stacks.as_text(value) for key, value in own.items()}
    return full, [stacks.full_key(key) for key in secrets]


def _run(stack: StackName, monitor: Monitor) -> None:
    values, secrets = configuration(stack)
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        features = set(monitor.GetDeploymentInfo(empty_pb2.Empty()).supportedFeatures)  # type: ignore[no-untyped-call]
        runtime_settings.configure(
            mocks.MockSettings(  # type: ignore[no-untyped-call]
                monitor=monitor,
                monitor_features=features,
                engine=mocks.MockEngine(logging.getLogger(__name__)),
                project=PROJECT,
                stack=str(stack),
                dry_run=monitor.preview,
                organization="organization",
                callbacks=None,
            )
        )
        runtime_settings.set_root_resource(None)  # type: ignore[arg-type]
        pulumi.runtime.set_all_config(values, secrets)
        loop.run_until_complete(pulumi.runtime.run_in_stack(main))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def command() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.render", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("stack", help="for example prod.hangzhou")
    stack = parser.parse_args().stack
    try:
        rendering = render(stack)
    except (ExpectedError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    for resource in rendering.resources:
        print(resource.line())
    return 0


if __name__ == "__main__":
    sys.exit(command())
