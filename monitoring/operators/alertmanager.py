"""Asking Alertmanager: what fires, and what is silenced until when.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

TIMEOUT_SECONDS = 3.0


class AlertmanagerError(Exception):
    """Alertmanager did not answer, or refused; the message says which."""


class Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Matcher(Told):
    """Chooses alerts by one label's value."""

    name: str
    value: str
    isRegex: bool = False
    isEqual: bool = True

    def __str__(self) -> str:
        how = ("=~" if self.isEqual else "!~") if self.isRegex else ("=" if self.isEqual else "!=")
        return f"{self.name}{how}{self.value}"


class SilenceState(Told):
    state: Literal["active", "pending", "expired"]


class Silence(Told):
    id: str
    status: SilenceState
    matchers: list[Matcher]
    startsAt: AwareDatetime
    endsAt: AwareDatetime
    createdBy: str
    comment: str


class AlertState(Told):
    state: Literal["unprocessed", "active", "suppressed"]
    silencedBy: list[str] = Field(default_factory=list)
    inhibitedBy: list[str] = Field(default_factory=list)


class Alert(Told):
    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    startsAt: AwareDatetime
    status: AlertState

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


ALERTS = TypeAdapter(list[Alert])
SILENCES = TypeAdapter(list[Silence])
Content = TypeVar("Content")


class Alertmanager:
    """Every method raises AlertmanagerError."""

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self.url = url.rstrip("/")
        self._client = client or httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False)

    def alerts(self) -> list[Alert]:
        """What fires, the silenced and the inhibited included; pages first, then the oldest."""
        alerts = self._read(ALERTS, "alerts")
        return sorted(
            alerts, key=lambda alert: (alert.labels.get("severity") != "page", alert.startsAt, alert.fingerprint)
        )

    def silences(self) -> list[Silence]:
        """Those that hold or will; the one that ends first comes first."""
        lasting = [silence for silence in self._read(SILENCES, "silences") if silence.status.state != "expired"]
        return sorted(lasting, key=lambda silence: silence.endsAt)

    def silence(self, matchers: Sequence[Matcher], until: datetime, by: str, reason: str) -> str:
        """Silence what matches from now on; the silence's id."""
        document = {
            "matchers": [matcher.model_dump() for matcher in matchers],
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": until.isoformat(),
            "createdBy": by,
            "comment": reason,
        }
        answer: Mapping[str, Any] = self._ask("POST", "silences", json=document).json()
        return str(answer["silenceID"])

    def expire(self, identifier: str) -> None:
        self._ask("DELETE", f"silence/{identifier}")

    def _read(self, kind: TypeAdapter[Content], what: str) -> Content:
        try:
            return kind.validate_json(self._ask("GET", what).content)
        except ValidationError:
            raise AlertmanagerError(f"{self.url} answers, but not as Alertmanager does") from None

    def _ask(self, method: str, what: str, **more: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, f"{self.url}/api/v2/{what}", **more)
        except httpx.HTTPError as error:
            raise AlertmanagerError(f"Alertmanager at {self.url} does not answer: {error!r}") from error
        if not answer.is_success:
            raise AlertmanagerError(f"Alertmanager refuses ({answer.status_code}): {answer.text[:200]}")
        return answer
