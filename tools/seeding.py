"""Filling a fresh environment: people, the province's catalogue, and the proof that a citizen could use it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

from ruamel.yaml import YAML
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from infra.engine import Engine
from infra.outputs import EnvironmentOutputs, TenantOutputs
from tools.counts import counted
from tools.demo import people
from tools.locks import turn
from tools.operator_client import Operator, operator_of
from tools.stages import Run, StageError

CATALOGUE = Path(__file__).parent / "seed" / "catalogue.yaml"
ARRIVAL_SECONDS = 60.0


def catalogue() -> list[dict[str, Any]]:
    """The standard items of the seed."""
    items: list[dict[str, Any]] = YAML(typ="safe").load(CATALOGUE.read_text())
    return items


def fill(run: Run, engine: Engine, outputs: EnvironmentOutputs, tenants: list[TenantOutputs]) -> None:
    """Gives `tenants` what they begin with, and looks at it as a person would: in an environment that is made here demo
    people and the seed's items, in production the province's own items alone.

    Raises:
        StageError: something did not arrive, or a site does not show what it should.
    """
    with closing(operator_of(engine, outputs)) as operator:
        if engine.folder.made_here:
            # Their log-ins are one file, whichever tenants come.
            with turn(engine.folder, "people", run.command, run.console.print), run.stage("people and items") as stage:
                stage.say(*seed(operator, outputs, tenants, engine.folder.demo, stage.log))
        else:
            with run.stage("items") as stage:
                stage.say(*replay(operator, outputs, tenants, stage.log))
        with run.stage("smoke check") as stage:
            stage.say(smoke(operator, outputs, tenants), changed=False)


def seed(
    operator: Operator, outputs: EnvironmentOutputs, tenants: list[TenantOutputs], demo: Path, log: TextIO
) -> tuple[str, bool]:
    """Makes the demo people, publishes the catalogue and sends it to those of `tenants` that lack some of it.

    Says what it did, and whether anything was missing.
    """
    demo_people = people(outputs, demo)
    for person in demo_people:
        operator.ensure_person(person.as_json())
    print(f"people: {', '.join(person.username for person in demo_people)}", file=log)
    province = next(tenant for tenant in outputs.tenants if tenant.level == "province")
    standards = catalogue()
    for item in standards:
        operator.publish_standard(province.url, {key: value for key, value in item.items() if key != "department"})
    behind = [tenant for tenant in tenants if not _has(operator, tenant, standards)]
    for tenant in behind:
        print(f"catalogue: replayed to {tenant.code} {tenant.name}", file=log)
        operator.replay_catalogue(province.url, tenant.code)
    await_catalogue(operator, behind, standards)
    for tenant in tenants:
        name_departments(operator, tenant, standards)
    came = counted(len(demo_people), "person", "people")
    said = f"{came}, {counted(len(standards), 'item')} at {counted(len(tenants), 'tenant')}"
    return said, bool(behind)


def replay(
    operator: Operator, outputs: EnvironmentOutputs, tenants: list[TenantOutputs], log: TextIO
) -> tuple[str, bool]:
    """Sends the province's own catalogue to those of `tenants` that offer nothing yet, for production: nobody and
    nothing is made up, and each tenant decides for itself what it offers of it.

    Says what it did, and whether anything was missing.

    Raises:
        StageError: nothing has arrived after a minute.
    """
    province = next(tenant for tenant in outputs.tenants if tenant.level == "province")
    behind = [tenant for tenant in tenants if not operator.items(tenant.url)] if operator.items(province.url) else []
    for tenant in behind:
        print(f"catalogue: replayed to {tenant.code} {tenant.name}", file=log)
        operator.replay_catalogue(province.url, tenant.code)
    _await(behind, lambda tenant: bool(operator.items(tenant.url)))
    return f"replayed to {counted(len(behind), 'tenant')}", bool(behind)


def await_catalogue(operator: Operator, tenants: list[TenantOutputs], standards: list[dict[str, Any]]) -> None:
    """Waits until every tenant offers every standard item.

    Raises:
        StageError: one still lacks some after a minute.
    """
    _await(tenants, lambda tenant: _has(operator, tenant, standards))


def _await(tenants: list[TenantOutputs], arrived: Callable[[TenantOutputs], bool]) -> None:
    waiting = Retrying(
        stop=stop_after_delay(ARRIVAL_SECONDS),
        wait=wait_fixed(0.5),
        retry=retry_if_result(lambda there: not there),
        retry_error_callback=lambda _: False,
    )
    for tenant in tenants:
        if not waiting(arrived, tenant):
            raise StageError(
                f"the catalogue did not reach {tenant.name} ({tenant.code}) within {ARRIVAL_SECONDS:.0f} s",
                "see the relay's messages: yiwang logs; then run the same command again",
            )


def name_departments(operator: Operator, tenant: TenantOutputs, standards: list[dict[str, Any]]) -> None:
    """Names the responsible office of each item where the tenant has not named one."""
    departments = {item["code"]: item["department"] for item in standards}
    for item in operator.items(tenant.url):
        if not item["department"] and item["code"] in departments:
            operator.implement(tenant.url, item["code"], {"department": f"{tenant.name}{departments[item['code']]}"})


def _has(operator: Operator, tenant: TenantOutputs, standards: list[dict[str, Any]]) -> bool:
    return {item["code"] for item in standards} <= {item["code"] for item in operator.items(tenant.url)}


def smoke(operator: Operator, outputs: EnvironmentOutputs, tenants: list[TenantOutputs]) -> str:
    """Looks at what a person would see through the front door: identity, query and each tenant's site.

    Raises:
        StageError: a site answers with something else than its own page.
    """
    discovery = operator.get(f"{outputs.issuer}/.well-known/openid-configuration").json()
    if discovery["issuer"] != outputs.issuer:
        raise StageError(f"identity names itself {discovery['issuer']}, not {outputs.issuer}", "see yiwang logs")
    operator.get(f"{outputs.service_url('query')}/readyz")
    for tenant in tenants:
        if tenant.name not in operator.get(f"{tenant.url}/").text:
            raise StageError(f"{tenant.url}/ does not show {tenant.name}", "see yiwang logs and the portal's hosts")
    return f"identity, query and {counted(len(tenants), 'site')} answer through the front door"
