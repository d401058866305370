"""Names say what they hold: some words are bound to nothing, because nobody could search for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from infra.engine import REPOSITORY

NO_NAMES = frozenset({"one", "ones", "found", "known", "foo", "bar", "obj", "stuff"})
FOLDERS = ("infra", "loadtests", "monitoring", "playbooks", "services", "tests", "tools")


def bound(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of everything that is bound: assigned, looped over, taken as a parameter."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg


def nameless(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{line}: {name}"
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.py"))
        for line, name in bound(path.read_text())
        if name in NO_NAMES
    ]


def test_no_variable_is_called_by_a_word_that_names_nothing() -> None:
    assert nameless(REPOSITORY) == []


def test_such_a_word_is_seen_wherever_it_is_bound(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "a.py").write_text(
        "found = [one for one in hosts]\ncheck(lambda known: known, found.one)\nfor one, host in pairs:\n    pass\n"
    )
    assert sorted(line.partition(": ")[2] for line in nameless(tmp_path)) == ["found", "known", "one", "one"]
