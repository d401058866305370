"""Looking into the databases of a living environment as their owners."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pg8000.native

from infra.name_lookup import address_of
from infra.outputs import CellOutputs
from tests.support.living import Living


def cell_of(living: Living, name: str) -> CellOutputs:
    return next(cell for cell in living.outputs.cells if cell.cell == name)


@contextmanager
def connected(
    living: Living, cell: CellOutputs, user: str, password: str, database: str
) -> Iterator[pg8000.native.Connection]:
    """A connection with the account's own rights, from the machine itself."""
    connection = pg8000.native.Connection(
        user,
        host=address_of(cell.database.host, living.outputs.foundation.name_servers),
        port=cell.database.port,
        database=database,
        password=password,
        timeout=10,
    )
    try:
        yield connection
    finally:
        connection.close()


def tenant_rows(living: Living, code: str, sql: str, **parameters: Any) -> list[list[Any]]:
    """Rows of a query on the tenant's database, run as its owner."""
    tenant = next(tenant for tenant in living.outputs.tenants if tenant.code == code)
    database = tenant.databases[0]
    secrets = living.secrets(living.life.registry.scope_of(code))[code]
    cell = cell_of(living, database.cell)
    with connected(living, cell, database.owner, secrets["database_owner_password"], database.name) as connection:
        rows: list[list[Any]] = connection.run(sql, **parameters)
        return rows


def index_rows(living: Living, sql: str, **parameters: Any) -> list[list[Any]]:
    """Rows of a query on the index of cases, run as its owner."""
    cell = next(cell for cell in living.outputs.cells if "query" in cell.database.databases)
    password = living.secrets(cell.cell)["databases"]["query"]["owner"]
    with connected(living, cell, cell.database.databases["query"], password, "query") as connection:
        rows: list[list[Any]] = connection.run(sql, **parameters)
        return rows
