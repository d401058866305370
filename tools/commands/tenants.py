"""`yiwang tenants`: who is on the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.outputs import TenantSettings
from infra.registry import ROOT, SCHEMA, Division, Level, Registry, RegistryError, Status, load_registry, schema
from tools.commands.arguments import known_name, overlay_of
from tools.counts import counted
from tools.stages import StageError

app = typer.Typer(help="The registry of tenants.", no_args_is_help=True)

EnvironmentOption = Annotated[
    str | None,
    typer.Option("--environment", "-e", help="apply this environment's overlay of statuses", callback=known_name),
]
RootOption = Annotated[Path, typer.Option(help="folder of the registry", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON")]

LEVELS: dict[Level, str] = {"province": "省", "city": "市", "county": "县区"}
COLOURS: dict[Status, str] = {"live": "green", "planned": "dim", "suspended": "yellow"}


@app.command("list")
def list_tenants(
    level: Annotated[Level | None, typer.Option(help="only this level")] = None,
    city: Annotated[str | None, typer.Option(help="only this city and its counties: code, label or name")] = None,
    status: Annotated[Status | None, typer.Option(help="only this status")] = None,
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
    root: RootOption = ROOT,
) -> None:
    """Lists divisions, by code: as the registry says, or with -e as it is in an environment."""
    registry = _load(root, environment)
    scope = _city(registry, city) if city else None
    chosen = [
        division
        for division in registry.divisions.values()
        if (level is None or division.level == level)
        and (scope is None or registry.scope_of(division.code) == scope)
        and (status is None or division.status == status)
    ]
    if as_json:
        typer.echo(json.dumps([_summary(registry, division) for division in chosen], ensure_ascii=False, indent=2))
        return
    table = Table("code", "name", "label", "level", "status", "scope")
    table.add_column("residents", justify="right")
    for division in chosen:
        coloured = f"[{COLOURS[division.status]}]{division.status}[/]"
        indented = "  " * len(registry.lineage(division.code)[1:]) + division.name
        row = [division.code, indented, division.label, LEVELS[division.level], coloured]
        table.add_row(*row, registry.scope_of(division.code), f"{division.residents:,}")
    console = Console()
    console.print(table)
    view = f"in {environment}" if environment else "by the registry, which is production's; -e local: as it is there"
    live = sum(division.status == "live" for division in chosen)
    console.print(f"{counted(len(chosen), 'division')}, {live} live ({view})")


@app.command()
def show(
    tenant: Annotated[str, typer.Argument(help="code, label or name")],
    environment: EnvironmentOption = None,
    as_json: JsonOption = False,
    root: RootOption = ROOT,
) -> None:
    """Shows one division, and for each setting who says so and who reads it."""
    registry = _load(root, environment)
    division = _find(registry, tenant)
    settings = registry.settings_with_origin(division.code)
    if as_json:
        origins = {name: {"value": value, "origin": giver.code} for name, (value, giver) in settings.items()}
        document = _summary(registry, division) | {"settings": origins}
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    console = Console()
    console.print(f"[bold]{division.name}[/] {division.code} [{COLOURS[division.status]}]{division.status}[/]")
    console.print(" › ".join(ancestor.name for ancestor in registry.lineage(division.code)))
    console.print(f"label {division.label}, {division.residents:,} residents ({division.residents_year})")
    console.print(str(division.file), soft_wrap=True)
    table = Table("setting", "value", "from", "reader")
    for name, field in TenantSettings.model_fields.items():
        value, giver = settings[name]
        origin = "[bold]its own file[/]" if giver == division else giver.name
        table.add_row(name, str(value), origin, (field.description or "").removeprefix("reader: "))
    console.print(table)


@app.command()
def check(environment: EnvironmentOption = None, root: RootOption = ROOT) -> None:
    """Checks every file and tells all problems; exit code 1 if there is any."""
    registry = _load(root, environment)
    typer.echo(f"{counted(len(registry.divisions), 'division')}, no problem")


@app.command("schema")
def write_schema(root: RootOption = ROOT) -> None:
    """Writes the JSON Schema that editors use, from the types."""
    (root / SCHEMA).write_text(schema(), "utf-8")
    typer.echo(f"wrote {root / SCHEMA}")


def _load(root: Path, environment: str | None) -> Registry:
    overlay = overlay_of(environment) if environment else None
    try:
        registry = load_registry(root, overlay)
    except RegistryError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        typer.echo(f"{counted(len(error.problems), 'problem')} in the registry: mend what stands above", err=True)
        raise typer.Exit(1) from error
    for file in registry.unread:
        typer.echo(f"not read: {file}", err=True)
    return registry


def _find(registry: Registry, word: str) -> Division:
    try:
        return registry.find(word)
    except KeyError as error:
        typer.echo(f"no division has the code, label or name {word!r}: see yiwang tenants list", err=True)
        raise typer.Exit(1) from error


def _city(registry: Registry, word: str) -> str:
    """The scope of a city, which is its label."""
    division = _find(registry, word)
    if division.level != "city":
        cities = ", ".join(city.label for city in registry.divisions.values() if city.level == "city")
        raise StageError(f"{division.name} is no city", f"one of {cities}")
    return division.label


def _summary(registry: Registry, division: Division) -> dict[str, Any]:
    return {
        "code": division.code,
        "name": division.name,
        "label": division.label,
        "level": division.level,
        "parent": division.parent,
        "status": division.status,
        "scope": registry.scope_of(division.code),
        "residents": division.residents,
        "residents_year": division.residents_year,
        "file": str(division.file),
    }
