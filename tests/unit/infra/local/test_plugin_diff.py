"""What changes, and what is replaced for it."""

from __future__ import annotations

from infra.local.plugin.diff import Change, Difference, differences
from infra.local.plugin.values import UNKNOWN, Secret

NOTHING: frozenset[str] = frozenset()


def test_equal_inputs_have_no_difference() -> None:
    inputs = {"a": 1, "b": ["x", {"y": None}], "c": Secret("s")}
    assert differences(inputs, {"a": 1, "b": ["x", {}], "c": Secret("s")}, frozenset({"a"})) == []


def test_a_secret_that_only_lost_its_wrapper_is_no_change() -> None:
    assert differences({"a": Secret("s")}, {"a": "s"}, NOTHING) == []


def test_paths_are_the_engine_s() -> None:
    old = {"tags": {"a": "1", "x/y": "1"}, "servers": [{"port": 1}], "gone": 1}
    new = {"tags": {"a": "2", "x/y": "2"}, "servers": [{"port": 2}, {"port": 3}], "new": 1}
    assert differences(old, new, NOTHING) == [
        Difference("gone", Change.DELETE, False),
        Difference("new", Change.ADD, False),
        Difference("servers[0].port", Change.UPDATE, False),
        Difference("servers[1]", Change.ADD, False),
        Difference("tags.a", Change.UPDATE, False),
        Difference('tags["x/y"]', Change.UPDATE, False),
    ]


def test_a_nested_change_replaces_by_its_top() -> None:
    (difference,) = differences({"disks": [{"size": 1}]}, {"disks": [{"size": 2}]}, frozenset({"disks"}))
    assert difference.replaces and difference.top == "disks"


def test_an_unknown_value_counts_as_a_change() -> None:
    (difference,) = differences({"a": "1"}, {"a": UNKNOWN}, frozenset({"a"}))
    assert difference == Difference("a", Change.UPDATE, True)


def test_a_number_is_no_text() -> None:
    assert differences({"a": 1}, {"a": "1"}, NOTHING) == [Difference("a", Change.UPDATE, False)]
