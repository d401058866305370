"""`yiwang invitation`: a tenant's administrator is invited, or no longer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.outputs import TenantOutputs
from tools.commands.arguments import Environment, running_engine_of
from tools.operator_client import Operator, operator_of
from tools.stages import StageError
from tools.times import local_time

app = typer.Typer(help="Invitations of tenants' administrators.", no_args_is_help=True)

Tenant = Annotated[str, typer.Argument(help="code, label or name of a live tenant")]


@app.command("list")
def list_open(environment: Environment, tenant: Tenant) -> None:
    """Lists the tenant's open invitations; links are told once, when they are given."""
    with _at(environment, tenant) as (operator, tenant_outputs):
        invitations = operator.invitations(tenant_outputs.code)
    table = Table(
        "id", "for", "office", "until", title=f"{tenant_outputs.name}, administrators: {invitations['administrators']}"
    )
    for invitation in invitations["open"]:
        table.add_row(
            invitation["id"],
            invitation["name"],
            f"{invitation['department']}, {invitation['role']}",
            local_time(invitation["expires_at"]),
        )
    Console(highlight=False).print(table)


@app.command()
def give(environment: Environment, tenant: Tenant) -> None:
    """Prints a new link for the tenant's administrator; the link that was given before ends."""
    from tools.invitations import give as give_again

    with _at(environment, tenant) as (operator, tenant_outputs):
        first = not operator.invitations(tenant_outputs.code)["administrators"]
        show(Console(highlight=False), give_again(operator, tenant_outputs), first)


@app.command()
def revoke(
    environment: Environment,
    tenant: Tenant,
    invitation: Annotated[str | None, typer.Argument(help="its id; without it every open one")] = None,
) -> None:
    """Ends open invitations of a tenant: their links are gone from now on."""
    with _at(environment, tenant) as (operator, tenant_outputs):
        identifiers = [open_invitation["id"] for open_invitation in operator.invitations(tenant_outputs.code)["open"]]
        chosen = [identifier for identifier in identifiers if invitation in (None, identifier)]
        if not chosen:
            what = f"no open invitation {invitation!r}" if invitation else "no open invitation"
            another = f"give one: yiwang invitation give {environment} {tenant_outputs.code}"
            there = f"open are {', '.join(identifiers)}" if identifiers else another
            raise StageError(f"{tenant_outputs.name} has {what}", there)
        for identifier in chosen:
            done = operator.revoke(identifier)
            typer.echo(f"{identifier}: revoked" if done else f"{identifier}: was taken up or has ended meanwhile")


def show(console: Console, invitation: dict[str, str], first: bool = True) -> None:
    """An invitation as it is told once. `first`: the tenant has no administrator yet."""
    until = local_time(invitation["expires_at"])
    console.print(f"{'First' if first else 'Another'} administrator's link, shown once, until {until}:", soft_wrap=True)
    console.print(invitation["link"], soft_wrap=True)


@contextmanager
def _at(environment: str, word: str) -> Iterator[tuple[Operator, TenantOutputs]]:
    engine = running_engine_of(environment)
    outputs = engine.merged_outputs()
    matches = [tenant for tenant in outputs.tenants if word in (tenant.code, tenant.label, tenant.name)]
    if not matches:
        live = ", ".join(f"{tenant.code} {tenant.name}" for tenant in outputs.tenants)
        raise StageError(f"no tenant {word!r} in {environment}", f"one of {live}")
    with closing(operator_of(engine, outputs)) as operator:
        yield operator, matches[0]
