"""Every module of `services/` has one shape: what it does is found in the file of that name, or in a folder of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.engine import REPOSITORY

SERVICES = REPOSITORY / "services"
SHARED = frozenset({"kernel", "pages"})
"""Folders that are no modules: they run nowhere by themselves."""
NEEDED = ("__init__", "__main__", "app", "parts")
SHOWN_BY = ("api", "pages", "areas")
"""A module answers somebody: programs, people, or both."""
OTHER_NAMES: Mapping[str, str] = {
    "application": "app",
    "main": "app",
    "runtime": "parts",
    "container": "parts",
    "routes": "api",
    "endpoints": "api",
    "views": "pages",
    "models": "schema",
    "types": "schema",
    "queries": "store",
    "repository": "store",
    "config": "settings",
    "handlers": "messages",
    "inbox": "messages",
    "metrics": "measures",
    "cleanup": "forget",
}
NO_NAMES = frozenset({"utils", "helpers", "common", "manager", "misc"})


@dataclass(frozen=True)
class Rule:
    """What stands in files of these names alone."""

    names: tuple[str, ...]
    what: str
    holds: Callable[[ast.Module], bool]


def calls(*functions: str) -> Callable[[ast.Module], bool]:
    return lambda tree: any(
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions
        for node in ast.walk(tree)
    )


def defines(function: str) -> Callable[[ast.Module], bool]:
    """At the top of the file, not as a method."""
    return lambda tree: any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function for node in tree.body
    )


def extends(name: str) -> Callable[[ast.Module], bool]:
    return lambda tree: any(
        isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id == name for base in node.bases)
        for node in ast.walk(tree)
    )


STATEMENT = re.compile(
    r"\b(?:SELECT\s.+\sFROM\s|SELECT\s+\w+\.\w+\(|INSERT\s+INTO\s|UPDATE\s.+\sSET\s|DELETE\s+FROM\s)", re.DOTALL
)


def has_sql(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and STATEMENT.search(node.value)
        for node in ast.walk(tree)
    )


RULES = (
    Rule(("__main__",), "serves", calls("serve")),
    Rule(("app",), "builds the application", calls("create_app")),
    Rule(("app",), "makes the service", defines("create")),
    Rule(("parts",), "wires what a process holds", defines("assemble")),
    Rule(("api", "pages"), "has routes", calls("APIRouter")),
    Rule(("store", "measures", "forget", "migrations"), "holds SQL", has_sql),
    Rule(("settings",), "reads variables", extends("BaseSettings")),
    Rule(("measures",), "measures tables", defines("measure")),
    Rule(("forget",), "forgets people of a rehearsal", defines("forget")),
    Rule(("messages",), "handles messages", calls("Handler")),
    Rule(("notices",), "says something to people", extends("Notice")),
)
NO_HTTP = ("store", "schema", "measures", "forget", "migrations")
HTTP = frozenset({"fastapi", "starlette"})


def modules(services: Path) -> list[Path]:
    folders = (path for path in sorted(services.iterdir()) if path.is_dir() and any(path.glob("*.py")))
    return [folder for folder in folders if folder.name not in SHARED]


def faults(module: Path) -> Iterator[str]:
    """What of a module is not of the shape."""
    files = {path: path.relative_to(module).with_suffix("").parts for path in sorted(module.rglob("*.py"))}
    yield from (f"{module.name} has no {name}" for name in NEEDED if (name,) not in files.values())
    if not any(set(SHOWN_BY) & set(parts) for parts in files.values()):
        yield f"{module.name} answers nobody: it has none of {', '.join(SHOWN_BY)}"
    for path, parts in files.items():
        yield from faults_of_file(path, parts, module.name)


def faults_of_file(path: Path, parts: tuple[str, ...], module: str) -> Iterator[str]:
    place = f"{module}/{'/'.join(parts)}.py"
    for part in parts:
        if part in OTHER_NAMES:
            yield f"{place}: {part} is called {OTHER_NAMES[part]} here"
        if part in NO_NAMES:
            yield f"{place}: {part} says nothing"
    tree = ast.parse(path.read_text())
    for rule in RULES:
        if rule.holds(tree) and not set(rule.names) & set(parts):
            yield f"{place} {rule.what}, which stands in {' or '.join(rule.names)}"
    if set(NO_HTTP) & set(parts) and HTTP & {name.partition(".")[0] for name in imported(tree)}:
        yield f"{place} knows of HTTP"


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def table(readme: str) -> set[str]:
    """The files that the document's table of the shape tells of."""
    rows = readme.partition("| file | what it is |\n| --- | --- |\n")[2].partition("\n\n")[0].splitlines()
    return {name.strip("/") for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


@pytest.mark.parametrize("module", modules(SERVICES), ids=lambda module: module.name)
def test_a_module_has_the_shape(module: Path) -> None:
    assert list(faults(module)) == []


def test_the_rules_hold_for_something() -> None:
    trees = [ast.parse(path.read_text()) for module in modules(SERVICES) for path in module.rglob("*.py")]
    assert [rule.what for rule in RULES if not any(map(rule.holds, trees))] == []


def test_the_document_tells_of_every_file_of_the_shape() -> None:
    shape = {*NEEDED, *SHOWN_BY, *NO_HTTP, *(name for rule in RULES for name in rule.names)}
    assert shape - {"__init__"} <= table((SERVICES / "README.md").read_text())


WHOLE = {
    "__init__": '"""Parking."""',
    "__main__": "serve(create(ServiceSettings()))",
    "app": "def create(settings):\n    return create_app(settings)",
    "parts": "def assemble(kernel): ...",
    "api": "router = APIRouter()",
    "store": "ADD = 'INSERT INTO parking.places VALUES ($1)'",
    "schema": "class Place(BaseModel): ...",
    "tariff": "def price(hours): ...",
}


def made_up(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "parking" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "parking"


def test_a_module_of_the_shape_is_let_through(tmp_path: Path) -> None:
    assert list(faults(made_up(tmp_path, WHOLE))) == []
    assert [module.name for module in modules(tmp_path)] == ["parking"]


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_is_missing_is_seen(name: str, tmp_path: Path) -> None:
    kept = {other: text for other, text in WHOLE.items() if other != name}
    assert list(faults(made_up(tmp_path, kept))) == [f"parking has no {name}"]


def test_a_module_that_answers_nobody_is_seen(tmp_path: Path) -> None:
    kept = {name: text for name, text in WHOLE.items() if name != "api"}
    assert list(faults(made_up(tmp_path, kept))) == ["parking answers nobody: it has none of api, pages, areas"]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("application", "", "parking/application.py: application is called app here"),
        ("places/models", "", "parking/places/models.py: models is called schema here"),
        ("utils", "", "parking/utils.py: utils says nothing"),
        ("tariff", "serve(create())", "parking/tariff.py serves, which stands in __main__"),
        ("tariff", "create_app()", "parking/tariff.py builds the application, which stands in app"),
        ("tariff", "def create(): ...", "parking/tariff.py makes the service, which stands in app"),
        ("tariff", "def assemble(): ...", "parking/tariff.py wires what a process holds, which stands in parts"),
        ("tariff", "router = APIRouter()", "parking/tariff.py has routes, which stands in api or pages"),
        (
            "tariff",
            "ALL = f'''\nSELECT *\nFROM {table}'''\nMORE = 'SELECT name FROM parking.places'",
            "parking/tariff.py holds SQL, which stands in store or measures or forget or migrations",
        ),
        (
            "api",
            "router = APIRouter()\nasync def take(): await execute('SELECT parking.take($1)')",
            "parking/api.py holds SQL, which stands in store or measures or forget or migrations",
        ),
        ("tariff", "class Own(BaseSettings): ...", "parking/tariff.py reads variables, which stands in settings"),
        ("tariff", "async def measure(): ...", "parking/tariff.py measures tables, which stands in measures"),
        (
            "tariff",
            "async def forget(): ...",
            "parking/tariff.py forgets people of a rehearsal, which stands in forget",
        ),
        ("tariff", "HANDLERS = {'x': Handler(X, y)}", "parking/tariff.py handles messages, which stands in messages"),
        ("tariff", "class Due(Notice): ...", "parking/tariff.py says something to people, which stands in notices"),
        ("places/store", "from fastapi import Request", "parking/places/store.py knows of HTTP"),
        ("schema", "def late():\n    import starlette.requests", "parking/schema.py knows of HTTP"),
    ],
)
def test_what_stands_elsewhere_is_seen(name: str, text: str, fault: str, tmp_path: Path) -> None:
    assert list(faults(made_up(tmp_path, {**WHOLE, name: text}))) == [fault]


def test_a_folder_of_the_name_is_as_good_as_the_file(tmp_path: Path) -> None:
    files = {name: text for name, text in WHOLE.items() if name != "store"}
    files |= {"store/places": WHOLE["store"], "places/api": WHOLE["api"], "migrations/versions/0001": WHOLE["store"]}
    assert list(faults(made_up(tmp_path, files))) == []
    assert list(faults(made_up(tmp_path, {"storage/places": WHOLE["store"]}))) != []


def test_a_document_that_forgets_a_file_is_seen() -> None:
    readme = (
        "# x\n\n| file | what it is |\n| --- | --- |\n| `app` | a |\n| `store`, `migrations/` | b |\n\nThen `api`.\n"
    )
    assert table(readme) == {"app", "store", "migrations"}
