"""Which stacks an environment has, in which order they are brought up, and which cells each touches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from infra import plan as plans
from infra.engine import Engine
from infra.folder import EnvironmentFolder
from infra.names import StackName
from infra.plan import Plan
from infra.registry import Registry, load_registry

FOUNDATION = "foundation"
CELL = "cell-"


@dataclass(frozen=True)
class Stack:
    """A stack's scope and the cells that its update touches; None: everything stands on it."""

    scope: str
    cells: frozenset[str] | None

    def meets(self, other: Stack) -> bool:
        """Whether the two must not be updated together. A cell refuses two operations at a time, and a tenants stack
        reads what its cells export."""
        return self.cells is None or other.cells is None or bool(self.cells & other.cells)


def registry_of(folder: EnvironmentFolder) -> Registry:
    return load_registry(overlay=folder.registry_overlay)


def stacks_of(folder: EnvironmentFolder) -> list[Stack]:
    """The environment's stacks in the order in which they are brought up, by its registry and its plan."""
    registry = registry_of(folder)
    plan, _ = plans.load(folder.environment, registry)
    cells = [Stack(cell, frozenset({cell})) for cell in sorted(plan.cells)]
    tenants = [Stack(scope, cells_of(scope, registry, plan)) for scope in registry.scopes()]
    return [Stack(FOUNDATION, None), *cells, *tenants]


def scopes_of(folder: EnvironmentFolder) -> list[str]:
    """Scopes of the environment's stacks in that order."""
    return [stack.scope for stack in stacks_of(folder)]


def standing_scopes(engine: Engine) -> list[str]:
    """Scopes of the stacks that there are, in that order, too, whatever a registry and a plan say that may be wrong."""
    kinds = ["foundation", "cell", "tenants"]
    return sorted(engine.stacks(), key=lambda scope: (kinds.index(StackName(engine.environment, scope).kind), scope))


def cells_of(scope: str, registry: Registry, plan: Plan, coming: Iterable[str] = ()) -> frozenset[str]:
    """The cells that serve the tenants of a stack or are being prepared for them, those still `coming` among them."""
    codes = {division.code for division in registry.in_scope(scope) if division.provisioned} | set(coming)
    return frozenset(cell for code in codes for cell in plan.placement(code, registry).cells)


def each_in_turn(stacks: list[Stack], update: Callable[[str], None], at_once: int = 1) -> None:
    """Updates every stack, up to `at_once` together: none before those ahead of it that it meets are through.

    Raises:
        Exception: what the first update that failed raised; nothing was begun after it, what ran was let end.
    """
    if at_once == 1:
        for stack in stacks:
            update(stack.scope)
        return
    waiting, running = list(stacks), dict[Future[None], Stack]()
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        while waiting or running:
            for stack in _startable(waiting, list(running.values()))[: at_once - len(running)]:
                waiting.remove(stack)
                running[pool.submit(update, stack.scope)] = stack
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for update_ended in ended:
                running.pop(update_ended)
                update_ended.result()


def _startable(waiting: list[Stack], running: list[Stack]) -> list[Stack]:
    """Those of the waiting that meet nothing that runs and nothing ahead of them."""
    return [
        stack
        for place, stack in enumerate(waiting)
        if not any(stack.meets(other) for other in [*running, *waiting[:place]])
    ]
