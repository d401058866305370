"""What a load run tells: the one seam between the journeys and whoever judges them (gate, model)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ResultModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Latencies(ResultModel):
    """Seconds from the intended start. `within`: count of answers within each bound of `bounds` (cumulative)."""

    bounds: tuple[float, ...]
    within: tuple[int, ...]
    p50: float
    p95: float
    p99: float
    largest: float


class Operation(ResultModel):
    """One step of a journey, as all people together saw it in the hold."""

    name: str = Field(description="journey and step, for example citizen.file")
    service: str = Field(description="affairs, portal, identity or query")
    requests: int
    failed: int = Field(description="no answer, a 5xx, or a code that the step does not allow")
    limited: int = Field(description="429: the tenant's own limit")
    wrong: int = Field(description="the code was right, the body does not fit the service's schema or what was sent")
    latencies: Latencies


class TenantResult(ResultModel):
    code: str
    requests: int
    failed: int
    limited: int
    wrong: int


class Failure(ResultModel):
    operation: str
    tenant: str
    kind: Literal["no answer", "status", "wrong answer"]
    detail: str = Field(description="bounded: a code or what did not fit, never a whole body")
    count: int


class Second(ResultModel):
    """One second of the run, ramp included. `at`: seconds since the epoch."""

    at: int
    intended: int = Field(description="journeys that should have begun (open arrival) or did begin (closed)")
    begun: int
    requests: int
    failed: int
    wrong: int
    p95: float | None


class Generator(ResultModel):
    """How the generator itself fared in the hold."""

    processes: int
    cpu_share: float = Field(description="of one core, the busiest process")
    lateness_p99: float = Field(description="seconds between intended and real start of a journey")
    limited: bool
    reason: str = Field("", description="why the generator was the limit")


class Speed(ResultModel):
    """Of the machine, by a fixed piece of work: MiB hashed per second."""

    whole: float = Field(gt=0, description="by all cores together")
    core: float = Field(gt=0, description="per second of a processor's time")


class Machine(ResultModel):
    """The machine that the load came from; in a local environment the hosts' own as well."""

    before: Speed
    after: Speed

    @property
    def changed(self) -> float:
        """How much slower the slower of both was, as a share of the faster."""
        slower, faster = sorted((self.before.whole, self.after.whole))
        return 1 - slower / faster

    @property
    def whole(self) -> float:
        return (self.before.whole + self.after.whole) / 2


class LoadResult(ResultModel):
    schema_version: Literal[2] = 2
    environment: str
    scenario: str
    arrival: Literal["open", "closed"]
    target_rate: float | None
    users: int | None
    started_at: float
    hold_started_at: float
    hold_ended_at: float
    journeys_intended: int = Field(description="in the hold")
    journeys_begun: int
    journeys_completed: int
    journeys_ended: int = Field(description="completed by the clock within the hold, whenever they began")
    in_flight_seconds: float = Field(
        description="of the hold by the clock, that requests were waited for, all together, whenever they began"
    )
    operations: list[Operation]
    tenants: list[TenantResult]
    failures: list[Failure]
    seconds: list[Second]
    generator: Generator
    machine: Machine | None = Field(None, description="None in results that were written before it was measured")
    machine_busy: float | None = Field(None, description="share of the machine's cores in use in the hold")

    @property
    def hold_seconds(self) -> float:
        return self.hold_ended_at - self.hold_started_at

    @property
    def journey_cost(self) -> float | None:
        """The generator's CPU seconds a journey: the same work in every run, so what work costs on its machine while
        the load goes on. None with several processes, of which the busiest alone is known."""
        if self.generator.processes != 1 or not self.journeys_ended or not self.generator.cpu_share:
            return None
        return self.generator.cpu_share * self.hold_seconds / self.journeys_ended

    @property
    def requests(self) -> int:
        return sum(operation.requests for operation in self.operations)

    @property
    def failed(self) -> int:
        return sum(operation.failed for operation in self.operations)
