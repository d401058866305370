"""Asks PgBouncer's console, as the account that it lets in without a password."""

from __future__ import annotations

import os

import pg8000.native

from monitoring.exporters import serve


def pools() -> dict[str, float]:
    socket = f"{os.environ['YIWANG_PGBOUNCER_SOCKET']}/.s.PGSQL.{os.environ['YIWANG_PGBOUNCER_PORT']}"
    console = pg8000.native.Connection("pgbouncer", unix_sock=socket, database="pgbouncer")
    try:
        return {"pgbouncer_up": 1, "pgbouncer_pools": len(console.run("SHOW POOLS"))}
    finally:
        console.close()


serve(int(os.environ["YIWANG_EXPORTER_PORT"]), pools)
