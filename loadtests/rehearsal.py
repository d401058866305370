"""The kit of a rehearsal: the people that were made for load runs, and all that journeys need to know beside them.

It lies in the environment's folder, readable by its owner alone, from the first person that is made until all of them
and their cases are removed. Everything in it shows what it is: user names begin with `rehearsal-`, names with 演练.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.errors import ExpectedError
from infra.outputs import EnvironmentOutputs, TenantOutputs
from loadtests.scenario import Scenario
from services.kernel.forgetting import NAME_MARK, USERNAME_MARK

AT_ONCE = 4
DEPARTMENT = "政务服务中心"
PROGRESS_EVERY = 25


class RehearsalError(ExpectedError):
    """There is no kit, or it does not do; the message says the way out."""


class KitModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KitPerson(KitModel):
    username: str = Field(pattern=rf"^{USERNAME_MARK}[a-z0-9-]+$")
    password: str = Field(repr=False)
    name: str = Field(pattern=rf"^{NAME_MARK}")
    subject: str | None = Field(None, description="as tokens and cases name the person; None until they are made")


class KitItem(KitModel):
    code: str
    name: str


class KitTenant(KitModel):
    code: str
    name: str
    level: Literal["province", "city", "county"]
    parent: str | None
    residents: int
    cell: str
    url: str
    client_secret: str = Field(repr=False)
    items: list[KitItem] = Field(description="what it offers, to search for")


class Kit(KitModel):
    schema_version: Literal[1] = 1
    environment: str
    run: str
    issuer: str
    query: str
    ca_file: str | None
    tenants: list[KitTenant]
    citizens: list[KitPerson]
    clerks: dict[str, KitPerson] = Field(description="by the code of their tenant")
    kept: bool = Field(False, description="until somebody removes them; else as long as the run that made them")
    owner: int = Field(0, description="process that made them, and that removes them when they are not kept")

    @property
    def in_use(self) -> bool:
        """Whether the run that made them still goes on."""
        return self.owner > 0 and Path(f"/proc/{self.owner}").exists()

    @property
    def people(self) -> list[KitPerson]:
        return [*self.citizens, *self.clerks.values()]

    def tenants_of(self, scenario: Scenario) -> list[KitTenant]:
        """The tenants at which the scenario's people are.

        Raises:
            RehearsalError: there are none, or the kit has too few people for the scenario.
        """
        again = f"yiwang rehearsal prepare {self.environment} --scenario {scenario.name}"
        tenants = [tenant for tenant in self.tenants if scenario.cell in (None, tenant.cell)]
        if not tenants:
            cells = ", ".join(sorted({tenant.cell for tenant in self.tenants}))
            raise RehearsalError(f"no tenant of {self.environment} is on cell {scenario.cell}; they are on {cells}")
        if len(self.citizens) < scenario.people:
            raise RehearsalError(f"the kit has {len(self.citizens)} people, the scenario {scenario.people}: {again}")
        unknown = [tenant.code for tenant in tenants if tenant.code not in self.clerks]
        if unknown:
            raise RehearsalError(f"the kit has no clerk of {', '.join(unknown)}: {again}")
        return tenants


def load_kit(path: Path) -> Kit:
    """
    Raises:
        RehearsalError: there is no kit, or it is not of this version.
    """
    try:
        return Kit.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RehearsalError(f"no kit at {path}: yiwang rehearsal prepare makes one") from None
    except (OSError, ValidationError) as error:
        reason = f"{error.error_count()} faults" if isinstance(error, ValidationError) else str(error)
        raise RehearsalError(f"{path}: {reason}; move it away; its people, rehearsal-…, then stay") from None


def write_kit(path: Path, kit: Kit) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.chmod(0o600)
    fresh.write_text(kit.model_dump_json(indent=1) + "\n", "utf-8")
    fresh.replace(path)


class Operator(Protocol):
    """What of the operator's client a rehearsal needs."""

    def find_person(self, username: str) -> dict[str, Any] | None: ...

    def ensure_person(self, person: dict[str, Any]) -> dict[str, Any]: ...

    def items(self, url: str) -> list[dict[str, Any]]: ...


def prepare(
    path: Path,
    outputs: EnvironmentOutputs,
    client_secrets: dict[str, str],
    ca_file: str | None,
    operator: Operator,
    scenario: Scenario,
    say: Callable[[str], None],
    kept: bool = False,
) -> Kit:
    """Makes the people that the scenario needs and writes the kit. People of a kit that is there are used again.
    `kept`: until somebody removes them, and not only as long as a run needs them.

    The kit is written before anybody is made, so that whatever an interruption leaves can be removed.
    """
    former = load_kit(path) if path.exists() else None
    run = former.run if former else secrets.token_hex(3)
    live = [tenant for tenant in outputs.tenants if tenant.status == "live"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        offered = list(pool.map(lambda tenant: operator.items(tenant.url), live))
    if empty := [tenant.code for tenant, items in zip(live, offered, strict=True) if not items]:
        raise RehearsalError(f"tenants {', '.join(empty)} offer no item, so nobody could file there; run make up again")
    kit = Kit(
        environment=outputs.environment,
        run=run,
        kept=kept or (former is not None and former.kept),
        owner=former.owner if former is not None and former.in_use else os.getpid(),
        issuer=outputs.issuer,
        query=outputs.service_url("query"),
        ca_file=ca_file,
        tenants=[
            _tenant(tenant, client_secrets[tenant.code], items) for tenant, items in zip(live, offered, strict=True)
        ],
        citizens=_citizens(run, former, max(scenario.people, len(former.citizens) if former else 0)),
        clerks=_clerks(run, former, live),
    )
    write_kit(path, kit)
    subjects = _make(kit, operator, say)
    kit = kit.model_copy(
        update={
            "citizens": [_known(citizen, subjects) for citizen in kit.citizens],
            "clerks": {code: _known(clerk, subjects) for code, clerk in kit.clerks.items()},
        }
    )
    write_kit(path, kit)
    return kit


def _tenant(tenant: TenantOutputs, client_secret: str, items: Iterable[dict[str, Any]]) -> KitTenant:
    return KitTenant(
        code=tenant.code,
        name=tenant.name,
        level=tenant.level,
        parent=tenant.parent,
        residents=tenant.residents,
        cell=tenant.cell,
        url=tenant.url,
        client_secret=client_secret,
        items=[KitItem(code=item["code"], name=item["name"]) for item in items],
    )


def _citizens(run: str, former: Kit | None, count: int) -> list[KitPerson]:
    former_citizens = former.citizens if former else []
    numbers = range(len(former_citizens) + 1, count + 1)
    return [*former_citizens, *(_person(f"{run}-{number}", f"市民{number:04d}") for number in numbers)]


def _clerks(run: str, former: Kit | None, tenants: Sequence[TenantOutputs]) -> dict[str, KitPerson]:
    former_clerks = former.clerks if former else {}
    return former_clerks | {
        tenant.code: _person(f"{run}-clerk-{tenant.code}", f"{tenant.name}窗口")
        for tenant in tenants
        if tenant.code not in former_clerks
    }


def _person(suffix: str, name: str) -> KitPerson:
    password = secrets.token_urlsafe(12)
    return KitPerson(username=f"{USERNAME_MARK}{suffix}", password=password, name=f"{NAME_MARK}{name}")


def _make(kit: Kit, operator: Operator, say: Callable[[str], None]) -> dict[str, str]:
    """User name → subject of everybody, made where they are missing. Each costs a hash on a small host."""
    offices = {clerk.username: code for code, clerk in kit.clerks.items()}
    subjects: dict[str, str] = {}

    def make(person: KitPerson) -> tuple[str, str, bool]:
        account = operator.find_person(person.username)
        if account is not None:
            return person.username, str(account["id"]), False
        code = offices.get(person.username)
        roles = [{"tenant": code, "department": DEPARTMENT, "role": "clerk"}] if code else []
        made = operator.ensure_person(
            {"username": person.username, "password": person.password, "name": person.name, "phone": "", "roles": roles}
        )
        return person.username, str(made["id"]), True

    fresh = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in as_completed([pool.submit(make, person) for person in kit.people]):
            username, subject, was_made = done.result()
            subjects[username] = subject
            fresh += was_made
            if len(subjects) % PROGRESS_EVERY == 0:
                say(f"{len(subjects)} of {len(kit.people)} people are there, {fresh} of them made now")
    say(f"{len(subjects)} people are there, {fresh} of them made now")
    return subjects


def _known(person: KitPerson, subjects: dict[str, str]) -> KitPerson:
    return person.model_copy(update={"subject": subjects[person.username]})
