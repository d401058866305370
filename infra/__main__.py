"""The Pulumi program: one stack, `<environment>.<scope>`, declared by the program of its scope's kind."""

from __future__ import annotations

import pulumi

from infra import plan, settings
from infra.errors import ExpectedError
from infra.folder import EnvironmentFolder
from infra.names import StackName
from infra.programs import cell, foundation, tenants
from infra.programs.stack import Stack, configuration
from infra.registry import load_registry
from infra.stacks import cells_in_use


def main() -> None:
    name = StackName.parse(pulumi.get_stack())
    stack = Stack(name, settings.load(name, *configuration()))
    if name.kind == "foundation":
        foundation.declare(stack.of(settings.FoundationSettings))
        return

    registry = load_registry(overlay=EnvironmentFolder(name.environment).registry_overlay)
    capacity, warnings = plan.load(name.environment, registry, cells_in_use(name.environment))
    for warning in [*warnings, *(f"{file}: is no division, and not read" for file in registry.unread)]:
        pulumi.warn(warning)

    if name.kind == "cell":
        cell.declare(stack.of(settings.CellSettings), capacity.cell(name.scope))
    else:
        tenants.declare(stack.of(settings.TenantsSettings), capacity, registry)


if __name__ == "__main__":
    try:
        main()
    except ExpectedError as error:  # bad input: one clear message, no traceback, and nothing was declared
        raise pulumi.RunError(str(error)) from None
