"""What `pulumi_alicloud` itself says of its classes: names, types, what is required, deprecated or secret.

Read from the SDK's sources with `ast` and never imported: one class costs about 50 ms, importing its module five times
as much, and some modules warn on import. The generator writes every class alike; `tests/contract/test_classes.py`
holds this reading against the imported SDK.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import threading
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

PARSING = threading.Lock()
"""Held by whoever makes a syntax tree: this Python counts the depth of all threads' trees in one place, and two made at
the same time end in "AST constructor recursion depth mismatch". What prints a traceback makes trees, too."""

SCALARS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
WRAPPERS = {"Input", "Optional", "NotRequired"}


@dataclass(frozen=True)
class Type:
    """A property's type. `element` is set for lists and maps, `nested` (a class of `_inputs.py`) for objects."""

    kind: str
    element: Type | None = None
    nested: str | None = None
    folder: Path | None = field(default=None, repr=False)

    def members(self) -> dict[str, Property]:
        """The properties of a nested object."""
        assert self.nested is not None and self.folder is not None
        return _arguments(self.folder / "_inputs.py", self.nested)

    def __str__(self) -> str:
        if self.kind == "list":
            return f"list of {self.element}"
        return f"map of {self.element}" if self.kind == "map" else self.kind


@dataclass(frozen=True)
class Property:
    name: str
    python_name: str
    type: Type
    required: bool
    deprecated: str | None = None


@dataclass(frozen=True)
class ResourceClass:
    """One resource class; names are the engine's camelCase."""

    token: str
    inputs: dict[str, Property]
    state: dict[str, Property]
    secrets: frozenset[str]
    deprecated: str | None

    @property
    def computed(self) -> list[str]:
        """Outputs that are no inputs: the cloud alone can say them."""
        return [name for name in self.state if name not in self.inputs]


class UnknownClass(Exception):
    """The SDK has no class of this token."""


@cache
def sdk_folder() -> Path:
    spec = importlib.util.find_spec("pulumi_alicloud")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("pulumi_alicloud is not installed beside the local provider; run `make up`")
    return Path(spec.submodule_search_locations[0])


@cache
def _catalogue() -> dict[str, tuple[str, str]]:
    """Token → (module, class), from the list that the SDK registers with the engine."""
    source = (sdk_folder() / "__init__.py").read_text()
    listed = re.search(r'resource_modules="""(.*?)"""', source, re.DOTALL)
    assert listed is not None
    return {
        token: (module["fqn"], name) for module in json.loads(listed[1]) for token, name in module["classes"].items()
    }


def tokens() -> list[str]:
    return sorted(_catalogue())


@lru_cache(maxsize=256)
def resource_class(token: str) -> ResourceClass:
    """The class of a token.

    Raises:
        UnknownClass: no such class in the SDK.
    """
    if token not in _catalogue():
        raise UnknownClass(f"pulumi_alicloud has no class {token}")
    module, name = _catalogue()[token]
    folder = sdk_folder().joinpath(*module.split(".")[1:])
    file = _file_of(folder, token, name)
    return ResourceClass(
        token=token,
        inputs=_arguments(file, _arguments_name(file, name)),
        state=_arguments(file, f"_{name}State"),
        secrets=_secrets(file, name),
        deprecated=_deprecation_of_class(_class(file, name)),
    )


@cache
def provider_inputs() -> dict[str, Property]:
    """What the explicit provider itself may be configured with."""
    return _arguments(sdk_folder() / "provider.py", "ProviderArgs")


def _file_of(folder: Path, token: str, name: str) -> Path:
    leaf = token.split(":")[1].split("/")[-1]
    guess = folder / f"{_snake(leaf)}.py"
    if guess.exists() and f"class {name}(pulumi.CustomResource)" in guess.read_text():
        return guess
    for file in sorted(folder.glob("*.py")):
        if f"class {name}(pulumi.CustomResource)" in file.read_text():
            return file
    raise UnknownClass(f"the SDK registers {token} and does not define it")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _tree(file: Path) -> dict[str, ast.ClassDef]:
    with PARSING:
        return _parsed(file)


@lru_cache(maxsize=64)
def _parsed(file: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)}


def _arguments_name(file: Path, name: str) -> str:
    """The generator says `…InitArgs` where a nested type already has the class's own name for it."""
    return f"{name}InitArgs" if f"{name}InitArgs" in _tree(file) else f"{name}Args"


def _class(file: Path, name: str) -> ast.ClassDef:
    return _tree(file)[name]


@lru_cache(maxsize=2048)
def _arguments(file: Path, name: str) -> dict[str, Property]:
    """The properties of an argument class: its constructor has their types, its getters their wire names."""
    definition = _class(file, name)
    wire: dict[str, str] = {}
    deprecated: dict[str, str] = {}
    parameters: list[tuple[ast.arg, ast.expr | None]] = []
    for member in definition.body:
        if not isinstance(member, ast.FunctionDef):
            continue
        if member.name == "__init__":
            parameters = list(zip(member.args.kwonlyargs, member.args.kw_defaults, strict=True))
            continue
        for decorator in member.decorator_list:
            if ast.unparse(decorator).startswith("pulumi.getter"):
                wire[member.name] = _wire_name(member.name, decorator)
        if reason := _deprecation(member.decorator_list):
            deprecated[member.name] = reason
    return {
        wire[parameter.arg]: Property(
            name=wire[parameter.arg],
            python_name=parameter.arg,
            type=_type(parameter.annotation, file.parent),
            required=default is None,
            deprecated=deprecated.get(parameter.arg),
        )
        for parameter, default in parameters
    }


def _wire_name(python_name: str, decorator: ast.expr) -> str:
    for keyword in decorator.keywords if isinstance(decorator, ast.Call) else []:
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return python_name


def _type(node: ast.expr | None, folder: Path) -> Type:
    if isinstance(node, ast.Constant):
        return Type("object", nested=str(node.value), folder=folder)
    if isinstance(node, ast.Subscript):
        outer = node.value.attr if isinstance(node.value, ast.Attribute) else ast.unparse(node.value)
        inner = node.slice
        if outer in WRAPPERS:
            return _type(inner, folder)
        if outer == "Sequence":
            return Type("list", element=_type(inner, folder))
        if outer == "Mapping" and isinstance(inner, ast.Tuple):
            return Type("map", element=_type(inner.elts[1], folder))
        return Type("any")
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node) if node else ""
    return Type(SCALARS.get(name, "any"))


def _deprecation(decorators: list[ast.expr]) -> str | None:
    for decorator in decorators:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("deprecated"):
            return " ".join(str(ast.literal_eval(decorator.args[0])).split())
    return None


def _deprecation_of_class(definition: ast.ClassDef) -> str | None:
    """A retired class warns in its body, when it is imported."""
    calls = [
        statement.value
        for statement in definition.body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    ]
    for call in calls:
        if ast.unparse(call.func) == "warnings.warn":
            return " ".join(str(ast.literal_eval(call.args[0])).split())
    return None


def _secrets(file: Path, name: str) -> frozenset[str]:
    """Inputs that the class wraps by itself, and the outputs that it names as additional secrets (in wire names)."""
    wire = {p.python_name: p.name for p in _arguments(file, f"_{name}State").values()}
    wire |= {p.python_name: p.name for p in _arguments(file, _arguments_name(file, name)).values()}
    secrets: set[str] = set()
    for node in ast.walk(_class(file, name)):
        if isinstance(node, ast.Assign) and "pulumi.Output.secret(" in ast.unparse(node.value):
            target = node.targets[0]
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                secrets.add(wire[str(target.slice.value)])
        if isinstance(node, ast.keyword) and node.arg == "additional_secret_outputs":
            secrets |= {str(value) for value in ast.literal_eval(node.value)}
    return frozenset(secrets)
