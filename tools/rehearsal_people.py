"""The people of load runs in an environment: made before, removed with all that they left after."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.engine import Engine
from infra.errors import ExpectedError
from infra.name_lookup import NameLookupError, address_of
from infra.outputs import CellOutputs, EnvironmentOutputs
from infra.secret_outputs import OwnDatabaseSecrets, TenantSecrets
from infra.services import IDENTITY
from loadtests import rehearsal
from loadtests.rehearsal import Kit, load_kit
from loadtests.scenario import Scenario
from services.rehearsals import MODULES
from tools.counts import counted
from tools.operator_client import OperatorError, operator_of
from tools.stages import StageError

REPOSITORY = Path(__file__).resolve().parent.parent
REMOVAL_SECONDS = 900


@contextmanager
def people(engine: Engine, scenario: Scenario, say: Callable[[str], None]) -> Iterator[None]:
    """The scenario's people for as long as it takes.

    Those that `yiwang rehearsal prepare` made, or a run that still goes on, stay; what an interrupted run has left is
    used and then removed. What cannot be removed is said, and changes nothing of what the run found out.
    """
    former = kit_of(engine)
    ours = former is None or not (former.kept or former.in_use)
    try:
        prepare(engine, scenario, say)
        yield
    finally:
        if ours:
            try:
                rows = remove(engine, say)
            except ExpectedError as error:
                say(f"{error}; yiwang rehearsal remove {engine.environment} tries again")
            else:
                say(f"removed {counted(sum(rows.values()), 'row')} of this run and of those before it")


def prepare(engine: Engine, scenario: Scenario, say: Callable[[str], None], kept: bool = False) -> Path:
    """Makes the people of the scenario, or finds them there, and writes the environment's kit; gives its path.
    `kept`: runs leave them where they are."""
    outputs = engine.merged_outputs()
    if (former := kit_of(engine)) is not None:
        identity = [database for database in _own_databases(engine, outputs) if database["module"] == IDENTITY]
        usernames = [person.username for person in former.people]
        _run({"usernames": usernames, "attempts_only": True, "databases": identity})
    operator = operator_of(engine, outputs)
    private = bool(outputs.foundation.authority_certificate)
    try:
        rehearsal.prepare(
            engine.folder.rehearsal,
            outputs,
            {code: tenant_secrets.client_secret for code, tenant_secrets in _tenant_secrets(engine, outputs).items()},
            str(engine.folder.authority / "authority.pem") if private else None,
            operator,
            scenario,
            say,
            kept,
        )
    except OperatorError as error:
        raise StageError(f"people could not be made: {error}", "is the environment well? then run it again") from None
    finally:
        operator.close()
    return engine.folder.rehearsal


def remove(engine: Engine, say: Callable[[str], None]) -> dict[str, int]:
    """Removes the kit's people, their cases and every trace of both; rows by table. Without a kit there is nothing.

    Raises:
        StageError: something could not be removed; the kit stays, so that it can be tried again.
    """
    path = engine.folder.rehearsal
    if not path.exists():
        return {}
    kit = load_kit(path)
    say(f"removing {counted(len(kit.people), 'person', 'people')} of rehearsal {kit.run} and their cases")
    counts = _run({"usernames": [person.username for person in kit.people], "databases": _databases(engine)})
    path.unlink()
    return counts


def kit_of(engine: Engine) -> Kit | None:
    return load_kit(engine.folder.rehearsal) if engine.folder.rehearsal.exists() else None


def _run(removal: dict[str, Any]) -> dict[str, int]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "services.rehearsals"],
            input=json.dumps(removal),
            capture_output=True,
            text=True,
            check=False,
            timeout=REMOVAL_SECONDS,
            cwd=REPOSITORY,
        )
    except subprocess.TimeoutExpired:
        raise StageError(f"the removal took over {REMOVAL_SECONDS} s", "run the same command again") from None
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    problems = [f"{line.get('database', 'rehearsal')}: {line['error']}" for line in lines if "error" in line]
    if done.returncode != 0 or problems:
        said = "; ".join(problems) or (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise StageError(f"not all of the rehearsal could be removed: {said}", "run the same command again")
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line["removed"])
    return dict(counts)


def _tenant_secrets(engine: Engine, outputs: EnvironmentOutputs) -> dict[str, TenantSecrets]:
    """By tenant's code, from each tenants stack."""
    codes = {tenant.code for tenant in outputs.tenants}
    secrets_by_code: dict[str, TenantSecrets] = {}
    for scope in engine.stacks():
        if scope == "foundation" or scope in {cell.cell for cell in outputs.cells}:
            continue
        exported = engine.outputs(scope, secrets=True).get("secrets", {})
        secrets_by_code |= {
            code: TenantSecrets.model_validate(tenant_secrets)
            for code, tenant_secrets in exported.items()
            if code in codes
        }
    return secrets_by_code


def _databases(engine: Engine) -> list[dict[str, Any]]:
    """Every database in which a rehearsal leaves something, with its owner."""
    outputs = engine.merged_outputs()
    secrets = _tenant_secrets(engine, outputs)
    cells = {cell.cell: cell for cell in outputs.cells}
    of_tenants = [
        {
            "module": service.name,
            "database": database.name,
            "user": database.owner,
            "password": secrets[tenant.code].database_owner_password,
            **_instance(outputs, cells[database.cell]),
        }
        for tenant in outputs.tenants
        for database in tenant.databases
        for service in cells[database.cell].services
        if service.tables == "tenants" and service.name in MODULES
    ]
    return of_tenants + _own_databases(engine, outputs)


def _own_databases(engine: Engine, outputs: EnvironmentOutputs) -> list[dict[str, Any]]:
    """Those of the cells' own databases whose module knows anything of people."""
    databases = []
    for cell in outputs.cells:
        own = [service.name for service in cell.services if service.tables == "own" and service.name in MODULES]
        exported = engine.outputs(cell.cell, secrets=True)["secrets"]["databases"] if own else {}
        databases += [
            {
                "module": name,
                "database": name,
                "user": cell.database.databases[name],
                "password": OwnDatabaseSecrets.model_validate(exported[name]).owner,
                **_instance(outputs, cell),
            }
            for name in own
        ]
    return databases


def _instance(outputs: EnvironmentOutputs, cell: CellOutputs) -> dict[str, Any]:
    try:
        host = address_of(cell.database.host, outputs.foundation.name_servers)
    except NameLookupError as error:
        raise StageError(f"cell {cell.cell}: {error}", "is the environment up? see yiwang status") from None
    return {"host": host, "port": cell.database.port}
