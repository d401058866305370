"""A tenant's coming: everything is checked before anything is written, and what a failed run has begun is taken back.

Once the tenant's stack stands, its database and its site are there: a run that fails later takes nothing away, and the
next one goes on (docs/decisions/0012-onboarding-is-taken-back-until-the-stack-stands.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from infra import plan as plans
from infra.folder import EnvironmentFolder
from infra.outputs import EnvironmentOutputs, TenantOutputs
from infra.registry import Division, Registry, set_status, with_status, write_overlay
from infra.stacks import cells_in_use
from tools.environment import bringing_up
from tools.locks import turn
from tools.operator_client import Operator, OperatorError
from tools.port import Port
from tools.scopes import cells_of, registry_of
from tools.stages import Run, StageError


@dataclass(frozen=True)
class Coming:
    """A tenant that may come: all that was checked held. `is_planned`: the environment's overlay is to say that it is
    live. `is_new`: nothing of it is there yet that a run which fails should leave alone. `cells`: those on which its
    stack has databases today, which the plan may have left."""

    tenant: Division
    scope: str
    is_planned: bool
    is_new: bool
    cells: frozenset[str]


def touched(port: Port, word: str) -> frozenset[str]:
    """The cells that the coming of the tenant of that code, name or label touches.

    Raises:
        StageError: there is no such tenant, or it cannot come.
        RegistryError, PlanError: the registry or the plan does not hold.
    """
    registry = registry_of(port.folder)
    tenant = _tenant(port.folder, registry, word)
    plan = plans.consistent(port.folder.environment, registry)
    return cells_of(registry.scope_of(tenant.code), registry, plan, coming=[tenant.code])


def check(port: Port, word: str) -> tuple[Coming, EnvironmentOutputs]:
    """Whether the tenant of that code, name or label can come here, found out without changing anything.

    Raises:
        StageError: it cannot; names what is in the way, and the way out.
        RegistryError, PlanError: with this tenant live the registry or the plan would not hold.
    """
    folder = port.folder
    registry = registry_of(folder)
    tenant = _tenant(folder, registry, word)
    _check_lineage(folder, registry, tenant)
    is_planned = not tenant.provisioned
    if is_planned:
        _check_place(folder, tenant)
        registry, _ = with_status(folder.registry_overlay, tenant.code, "live")
        plans.load(folder.environment, registry, cells_in_use(folder.environment))
    scope = registry.scope_of(tenant.code)
    _check_stack(port, scope, tenant)
    outputs = port.engine.merged_outputs()
    _check_others(folder, registry, scope, tenant, outputs)
    _check_hosts(port, outputs)
    standing = [other for other in outputs.tenants if other.code in registry.divisions]
    cells = {
        database.cell for other in standing for database in other.databases if registry.scope_of(other.code) == scope
    }
    is_new = is_planned if folder.made_here else tenant.code not in [other.code for other in standing]
    return Coming(tenant, scope, is_planned, is_new, frozenset(cells)), outputs


def _tenant(folder: EnvironmentFolder, registry: Registry, word: str) -> Division:
    try:
        tenant = registry.find(word)
    except KeyError:
        raise StageError(f"no tenant {word!r} in the registry", "see yiwang tenants list") from None
    if tenant.status == "suspended":
        raise StageError(
            f"{tenant.name} ({tenant.code}) is suspended: it has been on the network, and its data is there",
            f"end that where it was said, in {tenant.file} or in the environment's overlay, then {bringing_up(folder)}",
        )
    return tenant


def _check_place(folder: EnvironmentFolder, tenant: Division) -> None:
    """Where an environment is made here its overlay says who is live; production is what its registry says, which is
    read by a second person."""
    if not folder.made_here:
        raise StageError(
            f"{tenant.name} ({tenant.code}) is {tenant.status} by the registry, which is production's",
            f"say that it is live in {tenant.file}, have that read, then run the same command again",
        )


def _check_lineage(folder: EnvironmentFolder, registry: Registry, tenant: Division) -> None:
    for above in registry.lineage(tenant.code)[:-1]:
        if not above.provisioned:
            raise StageError(
                f"{tenant.name} ({tenant.code}) belongs to {above.name} ({above.code}), which is not on the network",
                _way_up(folder, above),
            )


def _way_up(folder: EnvironmentFolder, division: Division) -> str:
    if not folder.made_here:
        return f"bring {division.name} up first: its file in tenants/, its stack ({bringing_up(folder)})"
    return (
        f'bring {division.name} up first: "{division.code}": live under statuses in {folder.registry_overlay}, '
        f"then {bringing_up(folder)}"
    )


def _check_stack(port: Port, scope: str, tenant: Division) -> None:
    port.must_run()
    if scope not in port.engine.stacks():
        raise StageError(
            f"stack {port.engine.stack(scope)}, which {tenant.name} would be in, is not there",
            _way_up(port.folder, tenant),
        )


def _check_others(
    folder: EnvironmentFolder, registry: Registry, scope: str, coming: Division, outputs: EnvironmentOutputs
) -> None:
    """What the registry says of the others in the stack is what the stack has: its update would bring them, too."""
    names = {tenant.code: tenant.name for tenant in outputs.tenants} | {
        code: division.name for code, division in registry.divisions.items()
    }
    standing = {tenant.code: tenant for tenant in outputs.tenants}
    wanted = {code: division for code, division in registry.divisions.items() if division.provisioned}
    waiting = [
        code
        for code in sorted((standing.keys() | wanted.keys()) - {coming.code})
        if code not in registry.divisions or registry.scope_of(code) == scope
        if not _stands(registry, wanted.get(code), standing.get(code))
    ]
    if waiting:
        named = ", ".join(f"{names[code]} ({code})" for code in waiting)
        raise StageError(
            f"onboarding {coming.name} would bring what the registry says anew of {named}",
            f"bring that first: {bringing_up(folder)}; or take it back",
        )


def _stands(registry: Registry, wanted: Division | None, standing: TenantOutputs | None) -> bool:
    if wanted is None or standing is None:
        return False
    told = (wanted.name, wanted.label, wanted.residents, wanted.status, registry.settings_of(wanted.code))
    return told == (standing.name, standing.label, standing.residents, standing.status, standing.settings)


def check_identity(folder: EnvironmentFolder, operator: Operator, code: str) -> None:
    """It will be asked for people, items and the tenant's invitation.

    Raises:
        StageError: it does not answer, does not know the operator, or is of a release that tells of no invitations.
    """
    try:
        operator.invitations(code)
    except OperatorError as error:
        raise StageError(
            f"identity does not let the operator in: {error}",
            f"{bringing_up(folder)} heals it; see yiwang logs {folder.environment}",
        ) from None


def _check_hosts(port: Port, outputs: EnvironmentOutputs) -> None:
    """The playbook will have to reach all of them."""
    if missing := port.unreached(outputs):
        raise StageError(f"{', '.join(missing)} cannot be reached over SSH", f"{bringing_up(port.folder)} heals them")


@dataclass
class Joining:
    """How far a tenant's coming is. `begun`: its stack may have something of it."""

    begun: bool = False


@contextmanager
def joining(port: Port, coming: Coming, run: Run) -> Iterator[Joining]:
    """The environment's registry says that the tenant is live; if the body fails, it says again what it said, and what
    the stack has of the tenant goes. Where the registry says so by itself nothing is written, and nothing taken back
    but what this run began.
    """
    joined = Joining()
    written = _write(port.folder, coming, run) if coming.is_planned else None
    try:
        yield joined
    except BaseException:
        if written is not None:
            _write_back(port.folder, coming, written, run)
            run.console.print(f"{coming.tenant.name} is planned, as before this run", soft_wrap=True)
        if joined.begun and coming.is_new:
            port.take_back(run, coming.scope, coming.tenant.name)
        raise


@dataclass(frozen=True)
class _Written:
    before: bytes | None
    after: bytes


def _write(folder: EnvironmentFolder, coming: Coming, run: Run) -> _Written:
    """The overlay is one file for all cells: whoever writes it reads it first, and nobody else meanwhile."""
    overlay = folder.registry_overlay
    with turn(folder, "registry", run.command, run.console.print):
        before = overlay.read_bytes() if overlay.exists() else None
        write_overlay(overlay, with_status(overlay, coming.tenant.code, "live")[1])
        return _Written(before, overlay.read_bytes())


def _write_back(folder: EnvironmentFolder, coming: Coming, written: _Written, run: Run) -> None:
    overlay = folder.registry_overlay
    with turn(folder, "registry", run.command, run.console.print):
        if overlay.read_bytes() != written.after:  # somebody else has come or gone meanwhile
            set_status(overlay, coming.tenant.code, coming.tenant.status)
        elif written.before is None:
            overlay.unlink()
        else:
            write_overlay(overlay, written.before.decode("utf-8"))
