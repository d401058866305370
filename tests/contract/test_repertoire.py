"""Each line of the table of what the engine can do is run by a test, and each test is of a line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.repertoire import BEGIN, END, lines

TESTS = Path(__file__).resolve().parents[1] / "integration" / "test_repertoire.py"


def tried(source: str) -> set[str]:
    """The lines that the tests type."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    typed = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in ("types", "refused")]
    return {str(call.args[0].value) for call in typed if call.args and isinstance(call.args[0], ast.Constant)}


def test_every_line_is_tried_and_every_trial_is_of_a_line() -> None:
    assert tried(TESTS.read_text()) == set(lines())


def test_a_line_without_a_test_and_a_row_that_is_none_are_found() -> None:
    head = "| what | as typed | what happens |\n| --- | --- | --- |\n"
    page = f"{BEGIN}{head}| drink | `pulumi coffee` | hot |\n{END}"
    assert set(lines(page)) - tried(TESTS.read_text()) == {"drink"}
    assert tried("hands.types('drink')\nhands.refused('spill', r'no')\nother('eat')") == {"drink", "spill"}
    with pytest.raises(ValueError, match="2 rows and 1 that can be read"):
        lines(page.replace(END, f"| eat | pulumi cake | sweet |\n{END}"))
    with pytest.raises(ValueError, match="twice"):
        lines(page.replace(END, f"| drink | `pulumi tea` | hot |\n{END}"))
