"""What PostgreSQL is told in its container: how it boots, its settings, who may connect."""

from __future__ import annotations

import re

from pg8000.native import literal

from infra.local.cloud.databases.administrator import PORT
from infra.local.cloud.instance_types import max_connections
from infra.local.cloud.specs.accounts import ADMINISTRATOR
from infra.local.cloud.specs.databases import DatabaseInstanceSpec

LIMITS = (1.0, 1024)
"""Cores and MiB of every instance."""
# What a parameter group may set here; the rest is the instance's own.
PARAMETERS = re.compile(r"^(work_mem|maintenance_work_mem|idle_in_transaction_session_timeout|lock_timeout|"
                        r"statement_timeout|log_min_duration_statement|log_statement|log_connections|"
                        r"log_disconnections|random_page_cost|track_io_timing|track_functions|"
                        r"pg_stat_statements\.\w+|autovacuum\w*|synchronous_commit|timezone)$")  # fmt: skip

BOOT = """
if [ ! -f /data/cluster/PG_VERSION ]; then
  rm -rf /data/cluster.new && chown postgres /data
  install -o postgres -m 600 /settings/password /tmp/password
  setpriv --reuid postgres --regid postgres --init-groups initdb --pgdata /data/cluster.new --username yw_cloud \
    --pwfile /tmp/password --auth-local peer --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8
  rm /tmp/password && sync && mv /data/cluster.new /data/cluster
fi
if [ "$(stat -c %u /data/cluster)" != "$(id -u postgres)" ]; then chown -R postgres:postgres /data/cluster; fi
rm -f /data/cluster/postmaster.pid
if [ -f /settings/server.key ]; then install -o postgres -m 600 /settings/server.key /tmp/server.key; fi
exec setpriv --reuid postgres --regid postgres --init-groups \
  postgres -D /data/cluster -c config_file=/settings/postgresql.conf
"""


def settings_file(spec: DatabaseInstanceSpec) -> str:
    values = {
        "listen_addresses": "*",
        "port": str(PORT),
        "max_connections": str(max_connections(spec.instance_class)),
        "superuser_reserved_connections": "5",
        "unix_socket_directories": "/tmp",  # noqa: S108 - inside the instance's own container
        "hba_file": "/settings/pg_hba.conf",
        "shared_buffers": f"{LIMITS[1] // 4}MB",
        "effective_cache_size": f"{LIMITS[1] // 2}MB",
        "dynamic_shared_memory_type": "posix",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_wal_size": "512MB",
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "pg_stat_statements",
        "log_timezone": "UTC",
        "timezone": "Asia/Shanghai",
        **spec.parameters,
    }
    if spec.ssl:
        values |= {"ssl": "on", "ssl_cert_file": "/settings/server.crt", "ssl_key_file": "/tmp/server.key"}  # noqa: S108
    return "".join(f"{name} = {literal(value)}\n" for name, value in sorted(values.items()))


def access_file(gateway: str) -> str:
    """The cloud's own account comes from the machine alone; everybody else by password."""
    return (
        f"local all {ADMINISTRATOR} peer\n"
        f"host all {ADMINISTRATOR} {gateway}/32 scram-sha-256\n"
        f"host all {ADMINISTRATOR} all reject\n"
        "host all all all scram-sha-256\n"
    )
