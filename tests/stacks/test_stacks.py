"""The native engine on a living environment: clean previews, and a county's change that touches that county alone."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.registry import ROOT
from tests.support.living import LINAN, XIHU, Living, preview, temporary_stack, touched
from tools.scopes import scopes_of

NINGBO = "330200"


def test_nothing_is_left_to_change_in_any_stack(living: Living) -> None:
    for scope in scopes_of(living.life.folder):
        changes, written = preview(living, scope)
        assert not changes.any, f"{scope}:\n{written}"


@pytest.fixture
def edited_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the registry that the program reads instead of the tracked one."""
    copy = tmp_path / "tenants"
    shutil.copytree(ROOT, copy)
    monkeypatch.setenv("YIWANG_REGISTRY", str(copy))
    return copy


def rename(registry: Path, label: str, other: str) -> None:
    """Gives a county another label, and so another site: the file is named after it."""
    county = registry / "zhejiang" / "hangzhou" / f"{label}.yaml"
    renamed = county.with_name(f"{other}.yaml")
    renamed.write_text(county.read_text().replace(f"label: {label}", f"label: {other}"))
    county.unlink()


def test_an_edited_county_changes_its_own_resources_alone(living: Living, edited_registry: Path) -> None:
    rename(edited_registry, "xihu", "westlake")
    changes, written = preview(living, "hangzhou")
    own, others = touched(written, XIHU)
    assert changes.any
    assert own
    assert others == []


def test_the_check_catches_a_change_that_reaches_a_neighbour(living: Living, edited_registry: Path) -> None:
    rename(edited_registry, "xihu", "westlake")
    rename(edited_registry, "linan", "qingshanhu")
    _, written = preview(living, "hangzhou")
    _, others = touched(written, XIHU)
    assert any(LINAN in line for line in others)


@pytest.fixture
def second_city(living: Living) -> Iterator[str]:
    with temporary_stack(living, NINGBO) as scope:
        yield scope


def test_up_refresh_destroy_and_up_of_one_stack_work_natively(living: Living, second_city: str) -> None:
    log = io.StringIO()
    assert living.engine.up(second_city, log).any
    assert not living.engine.refresh(second_city, log).any
    assert living.engine.destroy(second_city, log).any
    assert not preview(living, "hangzhou")[0].any, "another stack must not notice"
    assert living.engine.up(second_city, log).any
    assert not preview(living, second_city)[0].any
