"""A stage imports nothing from a later stage, and `services/` imports nothing from the others."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from infra.engine import REPOSITORY

# Stage → what it may import of the others. Playbooks read of tools what builds a release, and no more.
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "services": frozenset(),
    "infra": frozenset(),
    "playbooks": frozenset({"infra", "tools.release"}),
    "monitoring": frozenset({"infra", "services"}),
    "loadtests": frozenset({"infra", "services", "monitoring"}),
    "tools": frozenset({"infra", "services", "monitoring", "loadtests"}),
}


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def allowed(module: str, stage: str) -> bool:
    top = module.partition(".")[0]
    others = {*MAY_IMPORT, "tests"} - {stage}
    return top not in others or any(f"{module}.".startswith(f"{named}.") for named in MAY_IMPORT[stage])


def wrong_ways(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}: {module}"
        for stage in MAY_IMPORT
        for path in sorted((root / stage).rglob("*.py"))
        for module in imported(path.read_text())
        if not allowed(module, stage)
    ]


def test_the_direction_of_imports_is_that_of_the_data() -> None:
    assert wrong_ways(REPOSITORY) == []


def test_an_import_from_a_later_stage_is_seen(tmp_path: Path) -> None:
    for path, line in {
        "services/kernel/a.py": "from infra.services import NAMES",
        "infra/a.py": "import monitoring.jobs",
        "playbooks/plugins/a.py": "from tools.release import build\nfrom tools import lifecycle",
        "monitoring/a.py": "def late():\n    from loadtests import run",
        "loadtests/a.py": "from services.affairs.schema import Item\nimport json",
        "tools/a.py": "from tests.support.living import Living",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(line)
    assert wrong_ways(tmp_path) == [
        "services/kernel/a.py: infra.services.NAMES",
        "infra/a.py: monitoring.jobs",
        "playbooks/plugins/a.py: tools.lifecycle",
        "monitoring/a.py: loadtests.run",
        "tools/a.py: tests.support.living.Living",
    ]


def imports_within(root: Path, package: str) -> dict[str, set[str]]:
    """Module → modules of the package that it imports, wherever in its text: a late import closes a circle, too."""
    sources = {_module(path.relative_to(root)): path.read_text() for path in (root / package).rglob("*.py")}
    return {
        module: {name if name in sources else name.rpartition(".")[0] for name in imported(source)} & {*sources}
        for module, source in sources.items()
    }


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def test_the_local_cloud_imports_in_no_circle() -> None:
    TopologicalSorter(imports_within(REPOSITORY, "infra/local")).prepare()


def test_a_circle_is_seen(tmp_path: Path) -> None:
    for path, line in {"a/b.py": "from a.c import thing", "a/c.py": "def late():\n    from a import b"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(line)
    with pytest.raises(CycleError):
        TopologicalSorter(imports_within(tmp_path, "a")).prepare()
