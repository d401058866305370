"""`yiwang rehearsal`: the people that load runs need, and their removal with all that they left."""

from __future__ import annotations

from typing import Annotated

import typer

from loadtests.scenario import load
from tools import rehearsal_people
from tools.commands.arguments import Environment, running_engine_of
from tools.locks import holding
from tools.stages import with_way_out

app = typer.Typer(help="The people of load runs: made before, removed after.", no_args_is_help=True)


@app.command()
def prepare(
    environment: Environment = "local",
    scenario: Annotated[str, typer.Option(help="a name in loadtests/scenarios, or a file")] = "launch",
) -> None:
    """Makes the people of a scenario and writes the kit; people that are there are used again."""
    engine = running_engine_of(environment)
    with with_way_out("nothing was made"), holding(engine.folder, "rehearsal prepare"):
        path = rehearsal_people.prepare(engine, load(scenario), typer.echo, kept=True)
    typer.echo(f"kit: {path}")
    chosen = "" if scenario == "launch" else f"YIWANG_SCENARIO={scenario} "
    typer.echo(f'eval "$(.venv/bin/yiwang env {environment})"; {chosen}locust -f loadtests/locustfile.py')


@app.command()
def remove(environment: Environment = "local") -> None:
    """Removes the kit's people and their cases from every database, traces and audit included."""
    engine = running_engine_of(environment)
    with with_way_out("nothing was removed"), holding(engine.folder, "rehearsal remove"):
        counts = rehearsal_people.remove(engine, typer.echo)
    for table, rows in sorted(counts.items()):
        typer.echo(f"{rows:>8}  {table}")
    typer.echo("nothing of a rehearsal is left" if counts else "there was nothing to remove")
