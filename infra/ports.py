"""Who listens where on the hosts, beside the services (`services.py`): what the firewall opens and what the outputs'
URLs end in."""

from __future__ import annotations

from collections.abc import Mapping

from infra.services import CellKind, opens_databases, opens_tenants_databases

SSH_PORT = 22
GATEWAY_PORT = 8080
GATEWAY_METRICS_PORT = 8405
EXPORTERS: Mapping[str, int] = {"host": 9100, "cache": 9121, "pgbouncer": 9127, "tenants": 9128, "database": 9187}
"""By what they tell of. Debian's keep the port that is theirs by default."""
PROMETHEUS_PORT, ALERTMANAGER_PORT, RECEIVER_PORT = 9090, 9093, 9095
OUTLOOK: Mapping[CellKind, str] = {"core": "monitoring", "tenants": "application"}
"""The role of whose hosts the cell's first tells of what nobody else may ask: its database, cache, tenants' records."""
OF_THE_CELL = ("database", "cache", "tenants")
"""Exporters that tell of more than their host, and so run on that one alone."""


def exporters_of(role: str) -> tuple[str, ...]:
    """The exporters that hosts of the role may run."""
    outlook = role in OUTLOOK.values()
    return (
        "host",
        *(("pgbouncer",) if opens_databases(role) else ()),
        *(("database", "cache") if outlook else ()),
        *(("tenants",) if outlook and opens_tenants_databases(role) else ()),
    )
