"""`yiwang plan`: how many hosts a scenario's target needs, from what was measured."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from loadtests.scenario import load
from tools.commands.arguments import Environment, engine_of
from tools.stages import StageError, with_way_out

if TYPE_CHECKING:
    from loadtests.model.planning import Change, Proposal


def mount(app: typer.Typer) -> None:
    app.command()(plan)


def plan(
    environment: Environment = "local",
    scenario: Annotated[str, typer.Option(help="a name in loadtests/scenarios, or a file")] = "launch",
    rate: Annotated[float | None, typer.Option(help="journeys a second, instead of the scenario's")] = None,
    cell: Annotated[str | None, typer.Option(help="only this cell")] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="or take what was measured within the last day")
    ] = True,
    write: Annotated[
        Path | None, typer.Option(help="write here, for example plans/local.json, not to the environment's folder")
    ] = None,
    allow_fewer: Annotated[bool, typer.Option("--allow-fewer", help="take hosts away that are not needed")] = False,
    workers: Annotated[int, typer.Option(help="generator processes beside a master", envvar="WORKERS")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="write without asking")] = False,
) -> None:
    """Measures the cells' capacity, works out the hosts that the scenario's rate needs, and writes the plan."""
    # the model's libraries take a second to load, which no other command should wait for
    from tools.measured_plan import make_plan

    engine = engine_of(environment)
    console = Console(highlight=False)
    with with_way_out("name a scenario of loadtests/scenarios"):
        wanted = load(scenario)

    def agreed(proposal: Proposal) -> bool:
        show(proposal, console)
        if yes:
            return True
        if not sys.stdin.isatty():
            raise StageError("the plan was shown, not written: nobody is there to agree", "write it: --yes")
        return typer.confirm("Write this plan?")

    made = make_plan(
        engine,
        wanted,
        rate=rate,
        cell=cell,
        measuring=measure,
        write=write,
        allow_fewer=allow_fewer,
        workers=workers,
        agreed=agreed,
        say=lambda line: console.print(line, style="dim", soft_wrap=True),
    )
    if made.path is None:
        if made.proposal.changes_nothing:
            show(made.proposal, console)
            console.print("Nothing to change.")
        else:
            console.print("Not written.")
        return
    console.print(f"Written: {made.path}", soft_wrap=True)
    _say_next(made.proposal, environment, console)


def show(proposal: Proposal, console: Console) -> None:
    """Today's plan beside the new one, and why."""
    table = Table("cell", "role", "today", "plan", "then carries", title="journeys a second, interval of 90 %")
    for change in proposal.changes:
        after = f"[bold]{change.after}[/bold]" if change.after != change.before else str(change.after)
        table.add_row(change.cell, change.role, str(change.before), after, _carries(change))
    console.print(table)
    for reason in proposal.reasons:
        console.print(f"  {reason}", soft_wrap=True, markup=False)


def _carries(change: Change) -> str:
    low, high = change.carries_interval.low, change.carries_interval.high
    if math.isinf(high):
        return f"at least {change.carries:.1f}"
    return f"{change.carries:.1f} ({low:.1f} to {high:.1f})"


def _say_next(proposal: Proposal, environment: str, console: Console) -> None:
    changed = [change.cell for change in proposal.changes if change.before != change.after]
    if not changed:
        console.print("No host changes: the plan rests on newer evidence.")
        return
    console.print("Next:")
    console.print(f'    eval "$(.venv/bin/yiwang env {environment})"', markup=False)
    for cell in changed:
        console.print(f"    pulumi preview -s {environment}.{cell}", markup=False)
    for cell in changed:
        console.print(f"    yiwang resize {environment} {cell}", markup=False)
