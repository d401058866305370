"""JSON Schemas of what crosses a border of `infra/`: `python -m infra.schemas` writes them to `schemas/`.

They are tracked, so a change of a type is seen in review; a change that an older reader cannot take raises the version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from infra.outputs import CellOutputs, EnvironmentOutputs, FoundationOutputs, TenantOutputs, TenantsOutputs
from infra.plan import Plan
from infra.secret_outputs import CellSecrets, TenantSecrets
from infra.settings import KINDS

FOLDER = Path(__file__).parent / "schemas"

TYPES: Mapping[str, type[BaseModel]] = {
    "outputs.v1": EnvironmentOutputs,
    "contract.foundation.v1": FoundationOutputs,
    "contract.cell.v1": CellOutputs,
    "contract.tenants.v1": TenantsOutputs,
    "descriptor.v1": TenantOutputs,
    "plan.v2": Plan,
    "secrets.cell.v1": CellSecrets,
    "secrets.tenant.v1": TenantSecrets,
    **{f"settings.{kind}.v1": settings for kind, settings in KINDS.items()},
}


def schema_of(name: str) -> str:
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TYPES[name].model_json_schema()}
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in TYPES:
        (FOLDER / f"{name}.json").write_text(schema_of(name), "utf-8")


if __name__ == "__main__":
    write()
