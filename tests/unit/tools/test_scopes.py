"""Which stacks meet on a cell, and that those which do not can be updated side by side."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from infra.engine import REPOSITORY
from infra.folder import EnvironmentFolder
from infra.plan import Placement, read
from infra.registry import load_registry
from tools.scopes import Stack, cells_of, each_in_turn, stacks_of

A, B = frozenset({"cell-a"}), frozenset({"cell-b"})
STACKS = [
    Stack("foundation", None),
    Stack("cell-a", A),
    Stack("cell-b", B),
    Stack("zhejiang", A),
    Stack("hangzhou", A),
    Stack("ningbo", B),
]
TRACKED = REPOSITORY / "plans" / "local.json"


class Updates:
    """Updates that end at once, or only when those that shall run together do."""

    def __init__(self, together: Sequence[set[str]] = ()) -> None:
        self.log: list[tuple[str, str]] = []
        self.running: set[str] = set()
        self.seen: list[frozenset[str]] = []
        self._together = [(names, threading.Barrier(len(names))) for names in together]
        self._lock = threading.Lock()

    def __call__(self, scope: str) -> None:
        with self._lock:
            self.running.add(scope)
            self.seen.append(frozenset(self.running))
            self.log.append(("begins", scope))
        for names, barrier in self._together:
            if scope in names:
                barrier.wait(10)
        with self._lock:
            self.running.remove(scope)
            self.log.append(("ends", scope))

    def is_before(self, earlier: str, later: str) -> bool:
        return self.log.index(("ends", earlier)) < self.log.index(("begins", later))


def test_by_itself_each_follows_the_other() -> None:
    updates = Updates()
    each_in_turn(STACKS, updates)
    assert [scope for what, scope in updates.log if what == "begins"] == [stack.scope for stack in STACKS]
    assert all(len(running) == 1 for running in updates.seen)


def test_what_shares_no_cell_is_updated_side_by_side() -> None:
    """The barriers open only if the cells run together, and a tenants stack of each."""
    updates = Updates([{"cell-a", "cell-b"}, {"hangzhou", "ningbo"}])
    each_in_turn(STACKS[:3] + STACKS[4:], updates, at_once=3)
    assert {frozenset({"cell-a", "cell-b"}), frozenset({"hangzhou", "ningbo"})} <= set(updates.seen)


def test_what_meets_on_a_cell_or_stands_on_another_waits_for_it() -> None:
    updates = Updates()
    each_in_turn(STACKS, updates, at_once=6)
    assert all(updates.is_before("foundation", stack.scope) for stack in STACKS[1:])
    assert updates.is_before("cell-a", "zhejiang") and updates.is_before("zhejiang", "hangzhou")
    assert updates.is_before("cell-b", "ningbo")


@pytest.mark.parametrize("at_once", [1, 6])
def test_after_a_failure_nothing_more_is_begun(at_once: int) -> None:
    begun = []

    def update(scope: str) -> None:
        begun.append(scope)
        if scope == "foundation":
            raise RuntimeError("out of reach")

    with pytest.raises(RuntimeError, match="out of reach"):
        each_in_turn(STACKS, update, at_once)
    assert begun == ["foundation"]


def test_a_tenants_stack_touches_the_cells_that_serve_and_prepare_its_tenants() -> None:
    registry, plan = load_registry(), read(TRACKED)
    assert cells_of("hangzhou", registry, plan) == A
    moving = {**plan.placements, "330127": Placement(serving="cell-a", preparing="cell-b")}
    assert cells_of("hangzhou", registry, plan.model_copy(update={"placements": moving})) == A | B


def test_one_that_is_to_come_counts() -> None:
    registry, plan = load_registry(), read(TRACKED)
    planned = next(division for division in registry.divisions.values() if not division.provisioned)
    placed = {**plan.placements, planned.code: Placement(serving="cell-b")}
    plan = plan.model_copy(update={"placements": placed})
    scope = registry.scope_of(planned.code)
    assert "cell-b" not in cells_of(scope, registry, plan)
    assert "cell-b" in cells_of(scope, registry, plan, coming=[planned.code])


def test_the_stacks_of_production_come_after_those_that_they_read() -> None:
    scopes = [stack.scope for stack in stacks_of(EnvironmentFolder("prod"))]
    assert scopes[:3] == ["foundation", "cell-a", "cell-core"]
    assert scopes[3:5] == ["zhejiang", "hangzhou"]
