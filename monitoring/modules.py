"""What a module of the services has of its own to be watched, from its folder `services/<module>/watch`:

- `watch.yaml`: `metrics` that are kept beside those of every service, and `alerts`;
- `<Alert>.md`: the runbook of each of its alerts, as `docs/runbooks` has those of everybody's;
- `tests.yml`: for promtool, as `monitoring/tests`; the rules are in `../rules/modules.yml`.

A module without the folder is watched like every service.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from infra.errors import ExpectedError
from infra.services import NAMES
from monitoring.metric import Metric, Size
from monitoring.rules.model import Alert, Severity

SERVICES = Path(__file__).resolve().parents[1] / "services"


class WatchError(ExpectedError):
    """A module's file does not hold; the message names it and each fault."""


class WatchModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModuleMetric(WatchModel):
    """As `Metric` explains."""

    name: Annotated[str, Field(pattern=r"^yiwang_[a-z0-9_]+$")]
    labels: dict[str, int | Size] = Field(default_factory=dict)
    histogram: int = 0
    late: bool = False


class ModuleAlert(WatchModel):
    """As `Alert` explains; its component is the module."""

    name: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]{0,63}$")]
    expression: str
    severity: Severity
    summary: str
    description: str
    lasting: str = ""


class WatchFile(WatchModel):
    metrics: list[ModuleMetric] = Field(default_factory=list)
    alerts: list[ModuleAlert] = Field(default_factory=list)


class Watched:
    """A module's own metrics and alerts.

    Raises:
        WatchError: the file does not hold.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self.folder = SERVICES / module / "watch"
        path = self.folder / "watch.yaml"
        try:
            self._file = WatchFile.model_validate(YAML(typ="safe").load(path.read_text("utf-8")) or {})
        except FileNotFoundError:
            self._file = WatchFile()
        except YAMLError as error:
            raise WatchError(f"{path}: {error}") from None
        except ValidationError as error:
            faults = [f"  {'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors()]
            raise WatchError("\n".join([f"{path}: what is to be watched does not hold.", *faults])) from None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return tuple(
            Metric(metric.name, metric.labels or None, metric.histogram, metric.late) for metric in self._file.metrics
        )

    @property
    def alerts(self) -> list[Alert]:
        return [Alert(**alert.model_dump(), component=self._module) for alert in self._file.alerts]

    @property
    def runbooks(self) -> list[Path]:
        return sorted(self.folder.glob("[A-Z]*.md"))


@cache
def of(module: str) -> Watched:
    return Watched(module)


def everybodys() -> list[Watched]:
    return [of(name) for name in NAMES]
