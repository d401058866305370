"""What a service process is told by its unit: `YIWANG_…` variables, all of them read here."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="YIWANG_", extra="ignore", frozen=True)

    service: str = Field(description="name of the service; also its account in the cache and its log field")
    database_account: str = Field(
        default="", description="in tenants' databases, after the database's name; empty: the service's name"
    )
    cell: str = Field(description="the cell of this host; databases of other cells are out of reach")
    port: int
    bind: str = "0.0.0.0"  # noqa: S104  (the gateway must reach it; security groups close the rest)
    tenants_file: Path = Path("/etc/yiwang/tenants.json")
    secrets_file: Path
    database_host: str = "/run/postgresql"
    database_port: int = 6432
    cache_url: str | None = Field(default=None, description="redis:// URL without password; absent means no cache")
    log_level: str = "INFO"
    trusted_proxies: int = Field(
        default=1, description="proxies that append to X-Forwarded-For: the balancer does, the gateway passes it on"
    )
    show_telephones: bool = Field(
        default=False,
        description="messages to people are kept, and shown by telephone on a page; for networks on one machine alone",
    )
    drain_seconds: int = Field(default=30, description="after SIGTERM, how long requests in flight may take")
