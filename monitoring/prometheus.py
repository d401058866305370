"""Asking Prometheus: the one client of its HTTP API, for status, gate and model.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

TIMEOUT_SECONDS = 10.0


class PrometheusError(Exception):
    """Prometheus did not answer, or refused the question; the message names its address."""


@dataclass(frozen=True)
class Sample:
    """One series' value at one moment (`at`: seconds since the epoch)."""

    labels: Mapping[str, str]
    at: float
    value: float


@dataclass(frozen=True)
class Series:
    """One series over a while: (seconds since the epoch, value), oldest first."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Target:
    job: str
    host: str
    up: bool
    error: str
    scrape_seconds: float


@dataclass(frozen=True)
class Alert:
    """An alert that pends or fires."""

    name: str
    state: str
    labels: Mapping[str, str]
    summary: str


class Prometheus:
    """Every method raises PrometheusError."""

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self.url = url.rstrip("/")
        self._client = client or httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """The series of an instant vector or a scalar; not-a-number is left out, since it says that nothing was."""
        data = self._ask("query", query=expression, **({"time": f"{at:.3f}"} if at is not None else {}))
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][0]), float(data["result"][1]))]
        samples = [
            Sample(series["metric"], float(series["value"][0]), float(series["value"][1])) for series in data["result"]
        ]
        return [sample for sample in samples if not math.isnan(sample.value)]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        data = self._ask("query_range", query=expression, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step:g}")
        return [
            Series(series["metric"], tuple((float(at), float(value)) for at, value in series["values"]))
            for series in data["result"]
        ]

    def targets(self) -> list[Target]:
        """Everything that is scraped."""
        return [
            Target(
                job=target["labels"].get("job", ""),
                host=target["labels"].get("host", ""),
                up=target["health"] == "up",
                error=target["lastError"],
                scrape_seconds=float(target["lastScrapeDuration"]),
            )
            for target in self._ask("targets", state="active")["activeTargets"]
        ]

    def alerts(self) -> list[Alert]:
        return [
            Alert(
                name=alert["labels"]["alertname"],
                state=alert["state"],
                labels={key: value for key, value in alert["labels"].items() if key != "alertname"},
                summary=alert["annotations"].get("summary", ""),
            )
            for alert in self._ask("alerts")["alerts"]
        ]

    def _ask(self, what: str, **parameters: str) -> Any:
        try:
            answer = self._client.get(f"{self.url}/api/v1/{what}", params=parameters)
            document = answer.json()
        except httpx.HTTPError as error:
            raise PrometheusError(f"Prometheus at {self.url} does not answer: {error!r}") from error
        except ValueError:
            raise PrometheusError(f"{self.url} answers {answer.status_code}, not as Prometheus does") from None
        if document.get("status") != "success":
            raise PrometheusError(f"Prometheus at {self.url} refuses the question: {document.get('error')}")
        return document["data"]
