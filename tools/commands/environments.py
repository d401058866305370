"""Commands that look at one environment."""

from __future__ import annotations

import json
import os
import shlex
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from infra.engine import Engine
from infra.outputs import EnvironmentOutputs
from tools import deployment
from tools.commands.arguments import Environment, engine_of, running_engine_of
from tools.demo import log_ins
from tools.logs import journal, stream
from tools.ports import own_port_of
from tools.stages import StageError
from tools.watch import firing


def mount(app: typer.Typer) -> None:
    """Adds the commands to `yiwang` itself."""
    for command in (status, logs, ssh, env, outputs):
        app.command()(command)


def status(
    environment: Environment = "local",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, log-ins included")] = False,
) -> None:
    """What was provisioned, where it answers, and how to log in."""
    engine = engine_of(environment)
    if as_json:
        typer.echo(json.dumps(describe(engine), ensure_ascii=False, indent=2))
    else:
        show(Console(highlight=False), engine)


def logs(
    environment: Environment = "local",
    host: Annotated[
        str | None, typer.Argument(help="one host; without it every host, each line after its name")
    ] = None,
    lines: Annotated[int, typer.Option(min=0, help="how many lines that are there already, of each host")] = 20,
    follow: Annotated[bool, typer.Option(help="go on with the lines to come, until Ctrl-C")] = True,
) -> None:
    """Follows the logs of what runs on the hosts: services, gateways, pools, exporters, monitoring."""
    engine = running_engine_of(environment)
    environment_outputs = _outputs(engine)
    names = (
        [cell_host.name for cell in environment_outputs.cells for cell_host in cell.hosts] if host is None else [host]
    )
    command = journal(lines, follow)
    width = max(map(len, names)) if host is None else 0

    def say(name: str, line: str) -> None:
        typer.echo(f"{typer.style(name.ljust(width), dim=True)} {line}" if width else line)

    try:
        failed = stream({name: [*_ssh(engine, environment_outputs, name), command] for name in names}, say)
    except KeyboardInterrupt:
        return
    if failed:
        raise StageError(f"no log of {', '.join(failed)}", "what ssh or journalctl said stands above; see make status")


def ssh(environment: Environment, host: Annotated[str, typer.Argument(help="the host's name")]) -> None:
    """A shell on a host."""
    engine = running_engine_of(environment)
    _exec_ssh(engine, _outputs(engine), host)


def env(environment: Environment = "local") -> None:
    """Prints what pulumi, ansible-playbook and ansible-inventory need: eval "$(yiwang env local)"."""
    engine = engine_of(environment)
    if engine.folder.made_here:
        for scope in engine.stacks():
            engine.link_settings(scope)
    for name, value in deployment.variables(engine).items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def outputs(environment: Environment = "local") -> None:
    """Prints the merged outputs of the environment's stacks as JSON, without secrets: what later stages read."""
    typer.echo(_outputs(engine_of(environment)).model_dump_json(indent=2))


def describe(engine: Engine) -> dict[str, Any]:
    """What `yiwang status --json` prints."""
    environment_outputs = _outputs(engine)
    folder = engine.folder
    private = bool(environment_outputs.foundation.authority_certificate)
    return {
        "environment": engine.environment,
        "issuer": environment_outputs.issuer,
        "query": environment_outputs.service_url("query"),
        "gateway": _front_gateway(environment_outputs),
        "ca_file": str(folder.authority / "authority.pem") if private else None,
        "prometheus": environment_outputs.prometheus,
        "alertmanager": environment_outputs.alertmanager,
        "receiver": environment_outputs.receiver,
        "alerts": firing(environment_outputs),
        "keeper": own_port_of(folder, "status").keeper() if folder.made_here else None,
        "tenants": [
            {
                "code": tenant.code,
                "name": tenant.name,
                "level": tenant.level,
                "status": tenant.status,
                "url": tenant.url,
            }
            for tenant in environment_outputs.tenants
        ],
        "hosts": [
            {"name": host.name, "role": host.role, "scope": cell.cell, "address": host.address}
            for cell in environment_outputs.cells
            for host in cell.hosts
        ],
        "demo": log_ins(environment_outputs, folder.demo),
    }


def _front_gateway(environment_outputs: EnvironmentOutputs) -> dict[str, Any] | None:
    """The balancer of the first cell that serves tenants."""
    serving = {tenant.cell for tenant in environment_outputs.tenants}
    gateways = [cell.gateway for cell in environment_outputs.cells if cell.cell in serving]
    return gateways[0].model_dump(include={"name", "address", "port"}) if gateways else None


def _outputs(engine: Engine) -> EnvironmentOutputs:
    return engine.merged_outputs()


def show(console: Console, engine: Engine) -> None:
    """What `yiwang status` shows."""
    described = describe(engine)
    tenants = Table("code", "name", "site", title="tenants")
    for tenant in described["tenants"]:
        tenants.add_row(tenant["code"], tenant["name"], tenant["url"])
    hosts = Table("host", "role", "address", title="hosts")
    for host in described["hosts"]:
        hosts.add_row(host["name"], host["role"], host["address"])
    people = Table("who", "user name", "password", title=f"log in at any site (identity: {described['issuer']})")
    demo = described["demo"]
    if demo:
        people.add_row("citizen", demo["citizen"]["username"], demo["citizen"]["password"])
        names = {tenant["code"]: tenant["name"] for tenant in described["tenants"]}
        for code, log_in in demo["clerks"].items():
            people.add_row(f"clerk of {names[code]}", log_in["username"], log_in["password"])
        people.add_row("province administrator", demo["operator"]["username"], demo["operator"]["password"])
    _show_sight(console, described)
    _show_keeper(console, described["keeper"])
    for table in (hosts, tenants, people):
        if table.row_count:
            console.print(table)
    if described["ca_file"]:
        console.print(
            f"A browser trusts the sites once it knows this authority: {described['ca_file']}", soft_wrap=True
        )


def _show_sight(console: Console, described: dict[str, Any]) -> None:
    if described["prometheus"] is None:
        console.print("monitoring: no host in the plan")
        return
    page = f"see and silence: {described['receiver']} (Prometheus' own pages: {described['prometheus']}/classic/graph)"
    if described["alerts"] is None:
        console.print(f"[red]monitoring does not answer[/red]; {page}", soft_wrap=True)
        return
    if described["alerts"]:
        alerts = Table("alert", "what", "runbook", title="alerts firing")
        for alert in described["alerts"]:
            alerts.add_row(alert["name"], alert["summary"], f"{described['receiver']}/runbooks/{alert['name']}")
        console.print(alerts)
    console.print(page if described["alerts"] else f"no alert fires; {page}", soft_wrap=True)


def _show_keeper(console: Console, keeper: dict[str, Any] | None) -> None:
    if keeper is None:
        return
    if not keeper["runs"]:
        console.print("[red]nothing brings back what dies[/red]: the keeper does not run; make up starts it")
    for entry in keeper["last"]:
        when = datetime.fromisoformat(entry["time"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        console.print(f"keeper, {when}: {entry['thing']} {entry['result']} {entry.get('error', '')}", soft_wrap=True)


def _ssh(engine: Engine, environment_outputs: EnvironmentOutputs, name: str) -> list[str]:
    hosts = {host.name: host for cell in environment_outputs.cells for host in cell.hosts}
    if name not in hosts:
        raise StageError(f"no host {name!r} in {engine.environment}", f"one of {', '.join(hosts)}")
    key = ["-i", str(engine.folder.ssh_key)] if engine.folder.ssh_key.exists() else []
    target = f"{environment_outputs.foundation.ssh_user}@{hosts[name].address}"
    return ["ssh", *key, *shlex.split(environment_outputs.foundation.ssh_arguments), target]


def _exec_ssh(engine: Engine, environment_outputs: EnvironmentOutputs, host: str, *command: str) -> None:
    words = [*_ssh(engine, environment_outputs, host), *command]
    os.execvp(words[0], words)  # noqa: S606 - the user's own ssh takes this terminal over
