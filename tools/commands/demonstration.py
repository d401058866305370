"""`yiwang demo-loop`: watch, load, decide, plan, shown in one run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from infra.folder import EnvironmentFolder
from tools.commands.arguments import OwnEnvironment, running_engine_of
from tools.ports import own_port_of

UNSURE = 2


def mount(app: typer.Typer) -> None:
    """Adds the command to `yiwang` itself."""
    app.command()(demo_loop)


def demo_loop(
    environment: OwnEnvironment = "local",
    short: Annotated[bool, typer.Option("--short", help="short holds, and no second measurement")] = False,
) -> None:
    """Shows the loop on a cell: a launch above what it carries is refused, hosts are planned and added, the same gate
    says GO. About ten minutes; no step begins after the twentieth.

    Exit code 0: shown; 2: unsure, for what was measured did not tell; 1: anything else.

    The environment keeps the hosts; `yiwang demo-loop` begins from the tracked plan again.
    """
    # libraries for statistics and charts take a second to load, which no other command should wait for
    port = own_port_of(EnvironmentFolder(environment), "demo-loop")
    from tools.demo_loop import FULL, SHORT, Demonstration, Unsure

    running_engine_of(environment)
    console = Console(highlight=False)
    lengths = SHORT if short else FULL
    try:
        Demonstration(port, console, lengths, measure_after=not short).run()
    except Unsure as error:
        typer.echo(f"yiwang: UNSURE: {error}", err=True)
        raise typer.Exit(UNSURE) from None
