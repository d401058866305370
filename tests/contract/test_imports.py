"""A stage imports nothing from a later stage, `services/` nothing from the others, and no modules in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

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


def import_graph(root: Path, *folders: str) -> dict[str, set[str]]:
    """The modules below the folders, each with those of them that it imports, wherever in it the import stands."""
    paths = [path.relative_to(root) for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}

    def module_of(name: str) -> str:
        """What is imported is a module, or a name in the module before it."""
        return name if name in modules else name.rpartition(".")[0]

    return {
        module: ({module_of(name) for name in imported((root / path).read_text())} & modules.keys()) - {module}
        for module, path in modules.items()
    }


def circle(root: Path, *folders: str) -> list[str]:
    """The first circle of imports, from a module back to itself; nothing where there is none."""
    try:
        TopologicalSorter(import_graph(root, *folders)).prepare()
    except CycleError as error:
        modules: list[str] = error.args[1]
        return modules
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = import_graph(REPOSITORY, *MAY_IMPORT)
    assert "services.kernel.http" in graph["services.query.app"], "the imports are read"
    assert circle(REPOSITORY, *MAY_IMPORT) == []


def test_a_circle_is_seen_also_where_an_import_hides_in_a_function(tmp_path: Path) -> None:
    (tmp_path / "services" / "parking").mkdir(parents=True)
    for path, line in {
        "app.py": "def create():\n    from services.parking.api import router",
        "api.py": "from services.parking import store",
        "store.py": "import services.parking.app",
        "schema.py": "from services.parking.store import SCHEMA",
    }.items():
        (tmp_path / "services" / "parking" / path).write_text(line)
    parts = [f"services.parking.{name}" for name in ("api", "app", "store")]
    assert sorted(set(circle(tmp_path, "services"))) == parts
    (tmp_path / "services" / "parking" / "store.py").write_text("")
    assert circle(tmp_path, "services") == []
