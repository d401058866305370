"""Who listens where on the hosts: what the firewall opens and what the outputs' URLs end in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ports(NamedTuple):
    """A range, both ends included."""

    first: int
    last: int

    @classmethod
    def one(cls, port: int) -> Ports:
        return cls(port, port)

    def __str__(self) -> str:
        """As part of a resource's name."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


SSH = Ports.one(22)
GATEWAY_PORT = 8080
SERVICES: Mapping[str, Ports] = {
    "application": Ports(8001, 8002),
    "identity": Ports.one(8003),
    "query": Ports.one(8004),
}
"""What the gateway hosts of the same cell reach on each role; the services show their metrics there, too."""
GATEWAY_METRICS = Ports.one(8405)
EXPORTERS: Mapping[str, int] = {"host": 9100, "cache": 9121, "pgbouncer": 9127, "tenants": 9128, "database": 9187}
"""By what they tell of. Debian's keep the port that is theirs by default."""
EXPORTERS_OF: Mapping[str, tuple[str, ...]] = {
    "application": ("host", "cache", "pgbouncer", "tenants", "database"),
    "gateway": ("host",),
    "identity": ("host", "pgbouncer"),
    "monitoring": ("host", "cache", "database"),
    "query": ("host", "pgbouncer"),
}
"""By role. Those of tenants, cache and database run on one host of the cell."""
PROMETHEUS_PORT, ALERTMANAGER_PORT, RECEIVER_PORT = 9090, 9093, 9095
