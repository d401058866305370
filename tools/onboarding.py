"""A tenant's coming: everything is checked before anything is written, and what a failed run has begun is taken back.

Once the tenant's stack stands, its database and its site are there: a run that fails later takes nothing away, and the
next one goes on (docs/decisions/0012-onboarding-is-taken-back-until-the-stack-stands.md).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from infra import plan as plans
from infra.engine import Engine
from infra.outputs import EnvironmentOutputs, HostOutputs, TenantOutputs
from infra.recovery import recover
from infra.registry import Division, Registry, load_registry, with_status, write_overlay
from infra.stacks import cells_in_use
from tools.environment import must_run
from tools.operator_client import Operator, OperatorError
from tools.stages import Run, StageError

SSH_PORT = 22
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Coming:
    """A tenant that may come: all that was checked held. `overlay` is the one that says so, None where it is live."""

    tenant: Division
    scope: str
    overlay: str | None


def check(engine: Engine, word: str) -> tuple[Coming, EnvironmentOutputs]:
    """Whether the tenant of that code, name or label can come here, found out without changing anything.

    Raises:
        StageError: it cannot; names what is in the way, and the way out.
        RegistryError, PlanError: with this tenant live the registry or the plan would not hold.
    """
    overlay = engine.folder.registry_overlay
    registry = load_registry(overlay=overlay)
    tenant = _tenant(registry, word)
    _check_lineage(engine, registry, tenant)
    text = None
    if not tenant.provisioned:
        registry, text = with_status(overlay, tenant.code, "live")
        plans.load(engine.environment, registry, cells_in_use(engine.environment))
    coming = Coming(tenant, registry.scope_of(tenant.code), text)
    _check_stack(engine, coming)
    outputs = engine.merged_outputs()
    _check_others(engine, registry, coming, outputs)
    _check_hosts(engine, outputs)
    return coming, outputs


def _tenant(registry: Registry, word: str) -> Division:
    try:
        tenant = registry.find(word)
    except KeyError:
        raise StageError(f"no tenant {word!r} in the registry", "see yiwang tenants list") from None
    if tenant.status == "suspended":
        raise StageError(
            f"{tenant.name} ({tenant.code}) is suspended: it has been on the network, and its data is there",
            f"end that where it was said, in {tenant.file} or in the environment's overlay, then make up",
        )
    return tenant


def _check_lineage(engine: Engine, registry: Registry, tenant: Division) -> None:
    for above in registry.lineage(tenant.code)[:-1]:
        if not above.provisioned:
            raise StageError(
                f"{tenant.name} ({tenant.code}) belongs to {above.name} ({above.code}), which is not on the network",
                _way_up(engine, above),
            )


def _way_up(engine: Engine, division: Division) -> str:
    overlay = engine.folder.registry_overlay
    return (
        f'bring {division.name} up first: "{division.code}": live under statuses in {overlay}, '
        f"then make up ENVIRONMENT={engine.environment}"
    )


def _check_stack(engine: Engine, coming: Coming) -> None:
    must_run(engine)
    if coming.scope not in engine.stacks():
        raise StageError(
            f"stack {engine.stack(coming.scope)}, which {coming.tenant.name} would be in, is not there",
            _way_up(engine, coming.tenant),
        )


def _check_others(engine: Engine, registry: Registry, coming: Coming, outputs: EnvironmentOutputs) -> None:
    """What the registry says of the others in the stack is what the stack has: its update would bring them, too."""
    names = {tenant.code: tenant.name for tenant in outputs.tenants} | {
        code: division.name for code, division in registry.divisions.items()
    }
    standing = {tenant.code: tenant for tenant in outputs.tenants}
    wanted = {code: division for code, division in registry.divisions.items() if division.provisioned}
    waiting = [
        code
        for code in sorted((standing.keys() | wanted.keys()) - {coming.tenant.code})
        if code not in registry.divisions or registry.scope_of(code) == coming.scope
        if not _stands(registry, wanted.get(code), standing.get(code))
    ]
    if waiting:
        named = ", ".join(f"{names[code]} ({code})" for code in waiting)
        raise StageError(
            f"onboarding {coming.tenant.name} would bring what the registry says anew of {named}",
            f"bring that first: make up ENVIRONMENT={engine.environment}; or take it back",
        )


def _stands(registry: Registry, wanted: Division | None, standing: TenantOutputs | None) -> bool:
    if wanted is None or standing is None:
        return False
    told = (wanted.name, wanted.label, wanted.residents, wanted.status, registry.settings_of(wanted.code))
    return told == (standing.name, standing.label, standing.residents, standing.status, standing.settings)


def check_identity(operator: Operator, code: str) -> None:
    """It will be asked for people, items and the tenant's invitation.

    Raises:
        StageError: it does not answer, does not know the operator, or is of a release that tells of no invitations.
    """
    try:
        operator.invitations(code)
    except OperatorError as error:
        raise StageError(f"identity does not let the operator in: {error}", "make up heals it; see make logs") from None


def _check_hosts(engine: Engine, outputs: EnvironmentOutputs) -> None:
    """The playbook will have to reach all of them."""

    def is_reached(host: HostOutputs) -> bool:
        try:
            socket.create_connection((host.address, SSH_PORT), CONNECT_SECONDS).close()
        except OSError:
            return False
        return True

    hosts = [host for cell in outputs.cells for host in cell.hosts]
    with ThreadPoolExecutor(max_workers=16) as pool:
        silent = [host.name for host, reached in zip(hosts, pool.map(is_reached, hosts), strict=True) if not reached]
    if silent:
        raise StageError(
            f"{', '.join(silent)} cannot be reached over SSH", f"make up ENVIRONMENT={engine.environment} heals them"
        )


@dataclass
class Joining:
    """How far a tenant's coming is. `begun`: its stack may have something of it."""

    begun: bool = False


@contextmanager
def joining(engine: Engine, coming: Coming, run: Run) -> Iterator[Joining]:
    """The environment's registry says that the tenant is live; if the body fails, it says again what it said, and what
    the stack has of the tenant goes."""
    joined = Joining()
    if coming.overlay is None:
        yield joined
        return
    overlay = engine.folder.registry_overlay
    before = overlay.read_text("utf-8") if overlay.exists() else None
    write_overlay(overlay, coming.overlay)
    try:
        yield joined
    except BaseException:
        if before is None:
            overlay.unlink()
        else:
            write_overlay(overlay, before)
        run.console.print(f"{coming.tenant.name} is planned, as before this run", soft_wrap=True)
        if joined.begun:
            _take_back(engine, coming, run)
        raise


def _take_back(engine: Engine, coming: Coming, run: Run) -> None:
    try:
        with run.stage("taking back") as stage:
            changes = recover(engine, coming.scope, stage.log)
            stage.say(f"{coming.scope}: {changes}", changed=changes.any)
    except StageError:
        run.console.print(
            f"stack {engine.stack(coming.scope)} is out of reach: if it has anything of {coming.tenant.name}, make up "
            f"takes it away, and onboarding it again goes on with it",
            soft_wrap=True,
        )
