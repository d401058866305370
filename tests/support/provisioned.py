"""Outputs and secrets of a province that exists nowhere, for what playbooks make of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from infra.engine import REPOSITORY
from infra.outputs import (
    CacheOutputs,
    CellOutputs,
    DatabaseOutputs,
    EnvironmentOutputs,
    FoundationOutputs,
    GatewayOutputs,
    HostOutputs,
    TenantDatabaseOutputs,
    TenantOutputs,
    TenantSettings,
)
from infra.services import kind_of, services_of

ENVIRONMENT = "test-province"
SUFFIX = "province.localhost"
SHAPE = {
    "cell-core": {"gateway": 2, "identity": 2, "query": 2, "monitoring": 1},
    "cell-a": {"gateway": 2, "application": 2},
}
CODES = ["330000", "330100", "330102", "330105", "330106", "330108", "330109", "330110", "330111", "330112", "330113",
         "330114", "330122", "330182"]  # fmt: skip
TENANT_PURPOSES = ("database_owner_password", "database_application_password", "object_access_key_id",
                   "object_access_key_secret", "client_secret", "check_code_key")  # fmt: skip
ACCOUNTS = ("affairs", "portal", "measures")


def outputs(*more: str) -> EnvironmentOutputs:
    """What `yiwang outputs` would tell of it, with more tenants than it has by itself."""
    return EnvironmentOutputs(
        environment=ENVIRONMENT,
        foundation=_foundation(),
        cells=[_cell(cell, number) for number, cell in enumerate(SHAPE)],
        tenants=[_tenant(code) for code in [*CODES, *more]],
    )


def secrets() -> dict[str, Any]:
    """What the lookup `yiwang_secrets` would answer: the secrets of all its stacks."""
    return {
        "cells": {cell.cell: _cell_secrets(cell) for cell in outputs().cells},
        "tenants": {code: _tenant_secrets(code) for code in CODES},
    }


def _tenant_secrets(code: str) -> dict[str, Any]:
    return {
        **{purpose: secret(f"{code} {purpose}") for purpose in TENANT_PURPOSES},
        "database_passwords": {account: secret(f"{code} database {account}") for account in ACCOUNTS},
        "made": {},
    }


def secret(purpose: str) -> str:
    """One secret: the same at each call, and found in no text by chance."""
    return "Aa1-" + hashlib.sha256(purpose.encode()).hexdigest()[:20]


def write(folder: Path) -> None:
    """Lays outputs and secrets down where `variables` makes Ansible look for them."""
    (folder / "outputs.json").write_text(outputs().model_dump_json(indent=1))
    path = folder / "secrets.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(secrets()))


def variables(folder: Path) -> dict[str, str]:
    """What Ansible's own commands need in their environment to work on it."""
    return {
        "YIWANG_ENVIRONMENT": ENVIRONMENT,
        "YIWANG_OUTPUTS": str(folder / "outputs.json"),
        "YIWANG_PLAY_SECRETS": str(folder / "secrets.json"),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
    }


def _foundation() -> FoundationOutputs:
    return FoundationOutputs(
        environment=ENVIRONMENT, region="cn-hangzhou", vpc_id="vpc-1", cidr="10.91.0.0/16", vswitches={},
        site_suffix=SUFFIX, site_port=8443, private_zone="province.yiwang.internal", account_suffix="x",
        certificate_id="c-1", authority_certificate="PEM", object_endpoint="https://oss.province.yiwang.internal",
        name_servers=[], ssh_user="root",
        ssh_arguments="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    )  # fmt: skip


def _cell(cell: str, number: int) -> CellOutputs:
    names = [(role, n) for role, count in SHAPE[cell].items() for n in range(1, count + 1)]
    hosts = [
        HostOutputs(
            name=f"{cell}-{role}-{n}", role=role, zone="cn-hangzhou-h", instance_id=f"i-{cell}-{role}-{n}",
            address=f"10.91.{number}.{place}", instance_type="ecs.c7.large",
        )
        for place, (role, n) in enumerate(names, 10)
    ]  # fmt: skip
    services = services_of(kind_of(cell))
    own = [service.name for service in services if service.tables == "own"]
    return CellOutputs(
        environment=ENVIRONMENT, cell=cell, hosts=hosts, database_instance_id=f"pgm-{number}",
        database=DatabaseOutputs(
            host=f"10.91.{number}.2", port=5432, instance_class="pg.n2.2c.2m", max_connections=400,
            privileged_account="yiwang_admin", databases={name: f"{name}_owner" for name in own},
        ),
        cache=CacheOutputs(
            host=f"10.91.{number}.3", port=6379,
            accounts={name: name for name in (*(service.name for service in services), "monitoring")},
        ),
        gateway=GatewayOutputs(name=f"{cell}.alb", address="", port=8443, server_group_id=f"sgp-{number}"),
    )  # fmt: skip


def _tenant(code: str) -> TenantOutputs:
    level = "province" if code.endswith("0000") else "city" if code.endswith("00") else "county"
    parent = {"province": None, "city": f"{code[:2]}0000", "county": f"{code[:4]}00"}[level]
    site = f"t{code}.{SUFFIX}"
    return TenantOutputs(
        code=code, name=f"区划{code}", level=level, parent=parent, residents=1000000, status="live",
        cell="cell-a", label=f"t{code}", site=site, url=f"https://{site}:8443", bucket="yw-test", prefix=f"{code}/",
        databases=[TenantDatabaseOutputs(cell="cell-a", name=f"t{code}", owner=f"t{code}_owner",
                                         application=f"t{code}_app")],
        settings=TenantSettings(service_phone="12345", database_connections=2, requests_per_second=200,
                                acceptance_working_days=5),
    )  # fmt: skip


def _cell_secrets(cell: CellOutputs) -> dict[str, Any]:
    cell_secrets: dict[str, Any] = {
        "database_privileged_password": secret(f"{cell.cell} admin"),
        "databases": {
            name: {"owner": secret(f"{name} owner"), "application": secret(f"{name} application")}
            for name in cell.database.databases
        },
        "monitoring_database_password": secret(f"{cell.cell} monitoring"),
        "cache": {name: secret(f"{cell.cell} {name} cache") for name in cell.cache.accounts},
    }
    if "identity" in cell.database.databases:
        cell_secrets["identity_signing_key"] = hashlib.sha256(b"signing").hexdigest()
        cell_secrets["operator_client_secret"] = secret("operator")
    return cell_secrets
