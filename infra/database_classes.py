"""Database classes that a plan may name, and the connections each takes.

Connections, not databases, size an instance. Source: help.aliyun.com, "RDS PostgreSQL主实例规格列表"
(primary-apsaradb-rds-instance-types), high-availability series, standard edition, seen 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

USABLE_SHARE = 0.8
"""Of an instance's connections; the rest is for operators, backups and what the cloud itself opens."""


@dataclass(frozen=True)
class DatabaseClass:
    cores: int
    memory_gib: int
    max_connections: int

    @property
    def usable_connections(self) -> int:
        return int(self.max_connections * USABLE_SHARE)


DATABASE_CLASSES: Mapping[str, DatabaseClass] = {
    # general purpose
    "pg.n2.2c.2m": DatabaseClass(2, 4, 400),
    "pg.n2.4c.2m": DatabaseClass(4, 8, 800),
    "pg.n2.8c.2m": DatabaseClass(8, 16, 1600),
    "pg.n4.2c.2m": DatabaseClass(2, 8, 800),
    "pg.n4.4c.2m": DatabaseClass(4, 16, 1600),
    "pg.n4.6c.2m": DatabaseClass(6, 24, 2400),
    "pg.n4.8c.2m": DatabaseClass(8, 32, 3200),
    "pg.n4.12c.2m": DatabaseClass(12, 48, 4800),
    # dedicated
    "pg.x4.medium.2c": DatabaseClass(2, 8, 800),
    "pg.x4.large.2c": DatabaseClass(4, 16, 1600),
    "pg.x4.xlarge.2c": DatabaseClass(8, 32, 3200),
    "pg.x4.2xlarge.2c": DatabaseClass(16, 64, 6400),
    "pg.x4.4xlarge.2c": DatabaseClass(32, 128, 12800),
    "pg.x8.medium.2c": DatabaseClass(2, 16, 1600),
    "pg.x8.large.2c": DatabaseClass(4, 32, 3200),
    "pg.x8.xlarge.2c": DatabaseClass(8, 64, 6400),
    "pg.x8.2xlarge.2c": DatabaseClass(16, 128, 12800),
}
