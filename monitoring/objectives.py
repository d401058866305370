"""The objectives of `slo.yaml`, typed. Rules, alerts, dashboard, gate and model read them here and nowhere else."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from infra.errors import ExpectedError

FILE = Path(__file__).parent / "slo.yaml"

Share = Annotated[float, Field(gt=0, lt=1)]
Seconds = Annotated[float, Field(gt=0)]
Window = Annotated[str, Field(pattern=r"^[1-9][0-9]*[mhd]$", description="as Prometheus writes durations")]


class ObjectivesError(ExpectedError):
    """The file does not hold; the message names it and each fault."""


class Objective(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Availability(Objective):
    target: Share


class Latency(Objective):
    seconds: Seconds
    target: Share


class ServiceObjectives(Objective):
    availability: Availability
    latency: Latency
    freshness: Latency | None = None


class BurnRate(Objective):
    long: Window
    short: Window
    factor: Annotated[float, Field(ge=1)]
    severity: Literal["page", "ticket"]


class AlertingLimits(Objective):
    minimum_seen: Share
    minimum_requests: Annotated[int, Field(ge=1)]
    minimum_bad: Annotated[int, Field(ge=1)]


class Saturation(Objective):
    host_cpu: Share
    host_memory: Share
    host_disk: Share
    database_connections: Share
    database_storage: Share
    cache_memory: Share
    pool_clients_waiting_seconds: Seconds


class TenantLimits(Objective):
    failed_share: Share
    index_lag_seconds: Seconds
    reading_age_seconds: Seconds


class GateLimits(Objective):
    minimum_requests: Annotated[int, Field(ge=1)]
    offered_share: Share
    generator_cpu_share: Share
    generator_lateness_seconds: Seconds
    wrong_answers: Share
    limited_answers: Share
    backends_up: Share
    scrapes: Share
    noise: Share
    machine_busy: Share


class CapacityLimits(Objective):
    headroom: Share
    contention: Share


class Objectives(Objective):
    schema_version: Literal[1]
    window_days: Annotated[int, Field(ge=1, le=90)]
    services: dict[str, ServiceObjectives]
    burn_rates: list[BurnRate]
    alerting: AlertingLimits
    saturation: Saturation
    tenants: TenantLimits
    gate: GateLimits
    capacity: CapacityLimits

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.services)


def load(path: Path = FILE) -> Objectives:
    """
    Raises:
        ObjectivesError: the file is missing, no YAML, or a value does not hold.
    """
    try:
        return Objectives.model_validate(YAML(typ="safe").load(path.read_text("utf-8")))
    except (OSError, YAMLError) as error:
        raise ObjectivesError(f"{path}: {error}") from None
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()]
        raise ObjectivesError("\n".join([f"{path}: the objectives do not hold.", *faults])) from None
