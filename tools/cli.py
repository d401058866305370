"""`yiwang`: only what no native tool has. The rest is `pulumi`, `ansible-playbook` and their kin (`yiwang env`)."""

from __future__ import annotations

import sys

import typer

from tools.commands import capacity, demonstration, environments, invitations, planning, rehearsals, tenants, verbs
from tools.refusals import explain

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(tenants.app, name="tenants")
app.add_typer(invitations.app, name="invitation")
app.add_typer(rehearsals.app, name="rehearsal")
verbs.mount(app)
environments.mount(app)
capacity.mount(app)
planning.mount(app)
demonstration.mount(app)


def main() -> None:
    """Runs the command; what it refuses is said in two lines and ends with code 1."""
    try:
        app()
    except Exception as error:
        typer.echo(f"yiwang: {explain(error)}", err=True)
        sys.exit(1)
