"""What a command says before it ends: one class of errors is expected, the system's refusals name their file."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.errors import ExpectedError
from tools.refusals import OWN_FAULT, explain


def test_a_way_out_stands_under_the_cause() -> None:
    assert explain(ExpectedError("no such cell", "one of cell-a")) == "no such cell\n        one of cell-a"
    assert explain(ExpectedError("no such cell")) == "no such cell"


def test_what_the_system_refuses_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as refused:
        (tmp_path / "none").read_text()
    assert explain(refused.value) == f"{tmp_path / 'none'}: No such file or directory"


def test_whatever_else_is_a_fault_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert explain(ValueError("odd")).startswith(OWN_FAULT)
    (trace,) = tmp_path.iterdir()
    assert "ValueError: odd" in trace.read_text()
