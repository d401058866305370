"""Rules as Prometheus knows them: recordings, alerts, groups; and the file that they become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any, Literal

from ruamel.yaml import YAML

Severity = Literal["page", "ticket"]
EVALUATION_SECONDS = 10
"""How often rules are evaluated. A fault must be told within 2 minutes: a minute of its own (`for`, or the shortest
window) and twelve steps of these. 5 s would double the work of a small host and gain 5 s."""


@dataclass(frozen=True)
class Recording:
    record: str
    expression: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def document(self, page: str = "") -> dict[str, Any]:
        return {"record": self.record, "expr": self.expression} | ({"labels": dict(self.labels)} if self.labels else {})


@dataclass(frozen=True)
class Alert:
    """`component` and other labels may be templates; `runbook` is by the alert's name, so it cannot be forgotten.

    Its link leads to the operator's page, which serves `docs/runbooks` and what modules have of their own.
    """

    name: str
    expression: str
    severity: Severity
    component: str
    summary: str
    description: str
    lasting: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def document(self, page: str) -> dict[str, Any]:
        return {
            "alert": self.name,
            "expr": self.expression,
            **({"for": self.lasting} if self.lasting else {}),
            "labels": {"severity": self.severity, "component": self.component, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{page}/runbooks/{self.name}",
            },
        }


@dataclass(frozen=True)
class Group:
    """Evaluated one rule after the other: a rule sees what those before it have just recorded."""

    name: str
    rules: Sequence[Recording | Alert]
    interval: str | None = None
    """None: as all."""

    @property
    def recordings(self) -> Iterator[Recording]:
        return (rule for rule in self.rules if isinstance(rule, Recording))

    @property
    def alerts(self) -> Iterator[Alert]:
        return (rule for rule in self.rules if isinstance(rule, Alert))

    def document(self, page: str) -> dict[str, Any]:
        interval = {"interval": self.interval} if self.interval else {}
        return {"name": self.name, **interval, "rules": [rule.document(page) for rule in self.rules]}


def yaml(document: Any) -> str:
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 4096
    stream = StringIO()
    writer.dump(document, stream)
    return stream.getvalue()


def rule_file(groups: Sequence[Group], page: str = "") -> str:
    """`page`: address of the operator's page, which alerts link to."""
    return yaml({"groups": [group.document(page) for group in groups]})
