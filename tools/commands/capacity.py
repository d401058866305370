"""`yiwang gate`: whether an environment is fit for launch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperCommand
from typer.exceptions import TyperException

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from tools.commands.arguments import Environment
from tools.refusals import explain

EXIT_CODES = {"GO": 0, "NO-GO": 1, "UNSURE": 2}
NOT_JUDGED = 3


class Judging(TyperCommand):
    """A command whose wrong usage is no verdict either: the usual code 2 would say UNSURE."""

    def make_context(self, *given: Any, **more: Any) -> Any:
        try:
            return super().make_context(*given, **more)
        except TyperException as error:
            error.exit_code = NOT_JUDGED
            raise


def mount(app: typer.Typer) -> None:
    """Adds the command to `yiwang` itself."""
    app.command(cls=Judging)(gate)


def gate(
    environment: Environment = "local",
    scenario: Annotated[str, typer.Option(help="a name in loadtests/scenarios, or a file")] = "launch",
    rate: Annotated[float | None, typer.Option(help="journeys a second, instead of the scenario's")] = None,
    hold: Annotated[float | None, typer.Option(help="seconds, instead of the scenario's")] = None,
    workers: Annotated[int, typer.Option(help="generator processes beside a master; 0: one process", min=0)] = 0,
    folder: Annotated[
        Path | None, typer.Option(help="where the reports go, instead of the environment's folder")
    ] = None,
) -> None:
    """Is this environment fit for launch? GO, NO-GO or UNSURE, with reasons and a page with charts.

    Exit code 0 is GO, 1 NO-GO, 2 UNSURE, 3: it could not be judged at all. Behind `make gate`, make itself ends with
    2 whatever this returned: a program calls `yiwang gate`.
    """
    # libraries for statistics and charts take a second to load, which no other command should wait for
    from loadtests.gate import report
    from loadtests.scenario import load as load_scenario
    from tools.gate import run_gate

    try:
        chosen = load_scenario(scenario).changed(rate=rate, hold_seconds=hold)
        judged = run_gate(
            Engine(EnvironmentFolder(environment)), chosen, workers=workers, folder=folder, say=typer.echo
        )
    except Exception as error:  # 1 would say NO-GO
        _not_judged(explain(error))
    console = Console(highlight=False)
    report.show(console, judged.verdict, judged.load)
    if judged.unpublished:
        console.print(f"the verdict is no metric: {judged.unpublished}", soft_wrap=True, markup=False)
    console.print(f"page: {judged.page}", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_CODES[judged.verdict.verdict])


def _not_judged(message: str) -> NoReturn:
    typer.echo(f"yiwang: no verdict: {message}", err=True)
    sys.exit(NOT_JUDGED)
