"""The commands that change an environment: each a verb of `tools/verbs`, through the port that its environment has."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from infra.folder import EnvironmentFolder, cache
from tools.commands import environments, invitations
from tools.commands.arguments import ChangedEnvironment, OwnEnvironment, Yes, asking, engine_of
from tools.environment import environments_here
from tools.ports import own_port_of, port_of
from tools.stages import Run, StageError


def mount(app: typer.Typer) -> None:
    """Adds the commands to `yiwang` itself: they are its verbs."""
    for command in (prepare, up, onboard, resize, down):
        app.command()(command)


def prepare() -> None:
    """Brings the machine to where an environment can start: the engine's command, the object store, images."""
    from tools.images import prepare_machine

    run = Run("prepare", cache() / "logs")
    with run.stage("machine") as stage:
        prepare_machine(stage)


def up(
    environment: ChangedEnvironment = "local",
    yes: Yes = False,
    at_once: Annotated[
        int, typer.Option(min=1, help="how many stacks that share no cell are updated side by side")
    ] = 1,
) -> None:
    """Brings the environment up, or heals it; run again it changes nothing.

    In production each stack is previewed and updated after its own question, then the playbook.
    """
    from tools.verbs.up import up as bring_up

    port = port_of(EnvironmentFolder(environment), asking(yes), at_once)
    run = _run("up", port.folder)
    bring_up(port, run)
    run.console.print(run.table())
    environments.show(run.console, port.engine)
    if not run.changed:
        run.console.print("Nothing was changed.")


def onboard(
    environment: ChangedEnvironment,
    tenant: Annotated[str, typer.Argument(help="the tenant's code, label or name")],
    yes: Yes = False,
) -> None:
    """Brings one planned tenant live; prints its address and a one-time link for its first administrator.

    All is checked before anything is changed. Run again, it goes on where it was cut short.
    """
    from tools.verbs.onboard import onboard as bring

    if not tenant:
        raise StageError(
            "no tenant named", f"make onboard TENANT=330127; yiwang tenants list -e {environment} --status planned"
        )
    port = port_of(engine_of(environment).folder, asking(yes))
    run = _run("onboard", port.folder)
    come, invitation = bring(port, tenant, run)
    run.console.print(run.table())
    run.console.print(f"{come.name} answers at {come.url}", soft_wrap=True)
    if invitation is not None:
        invitations.show(run.console, invitation)


def resize(
    environment: ChangedEnvironment,
    cell: Annotated[str, typer.Argument(help="the cell's name, as cell-a")],
    yes: Yes = False,
) -> None:
    """Brings one cell to what the plan says: its stack alone, then the playbook, until monitoring sees it."""
    from tools.verbs.resize import resize as bring

    port = port_of(engine_of(environment).folder, asking(yes))
    run = _run("resize", port.folder)
    bring(port, cell, run)
    run.console.print(run.table())
    if not run.changed:
        run.console.print("Nothing was changed.")


def down(
    environment: OwnEnvironment = "local",
    purge: Annotated[bool, typer.Option("--purge", help="remove data and state too")] = False,
) -> None:
    """Ends and removes everything that runs; data and state stay unless --purge."""
    port = own_port_of(EnvironmentFolder(environment), "down")
    from tools.verbs.down import down as take_down

    if not port.folder.root.exists():  # a name mistyped is not what was to go
        there = ", ".join(environments_here()) or "none"
        raise StageError(f"environment {environment} does not exist on this machine", f"there is {there}")
    run = _run("down", port.folder)
    take_down(port, run, purge)
    run.console.print(run.table())


def _run(verb: str, folder: EnvironmentFolder) -> Run:
    return Run(verb, folder.logs, Console(highlight=False))
