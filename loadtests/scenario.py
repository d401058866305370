"""A scenario: who comes, how often, for how long. One YAML file in `scenarios/` is one scenario."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from infra.errors import ExpectedError
from infra.unread import mistaken_for
from loadtests import journeys
from loadtests.journey import Journey

FOLDER = Path(__file__).parent / "scenarios"
JOURNEYS: dict[str, Journey] = {
    package.name: importlib.import_module(f"{journeys.__name__}.{package.name}").JOURNEY
    for package in pkgutil.iter_modules(journeys.__path__)
}


class ScenarioError(ExpectedError):
    """The scenario does not hold; the message names the file, each fault and the way out."""


class ScenarioModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JourneyShare(ScenarioModel):
    journey: str
    share: Annotated[float, Field(gt=0, le=1, description="of all arrivals")]
    log_in: Literal["once", "each"] = Field("once", description="a log-in a person and run, or one a journey")
    without: tuple[str, ...] = Field((), description="steps that this scenario leaves out")

    @model_validator(mode="after")
    def _known(self) -> JourneyShare:
        if self.journey not in JOURNEYS:
            raise ValueError(f"{self.journey!r} is no journey; there are {', '.join(JOURNEYS)}")
        if unknown := set(self.without) - set(JOURNEYS[self.journey].steps):
            raise ValueError(f"{self.journey} has no step {', '.join(sorted(unknown))}")
        return self


class Scenario(ScenarioModel):
    """`rate`: journeys begun a second over all generators. With `arrival: closed`, `users` go one after another."""

    schema_version: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    description: str
    arrival: Literal["open", "closed"] = "open"
    rate: Annotated[float, Field(gt=0, le=100_000)] | None = Field(None, description="target of an open arrival")
    users: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="of a closed arrival")
    ramp_seconds: Annotated[float, Field(ge=0, le=3600)]
    hold_seconds: Annotated[float, Field(ge=10, le=86400)]
    people: Annotated[int, Field(ge=1, le=100_000, description="citizens made for the run")]
    journeys: Annotated[list[JourneyShare], Field(min_length=1)]
    cell: str | None = Field(None, description="only tenants of this cell; without it all")

    @model_validator(mode="after")
    def _hangs_together(self) -> Scenario:
        if self.arrival == "open" and self.rate is None:
            raise ValueError("an open arrival needs a rate (journeys a second)")
        if self.arrival == "closed" and self.users is None:
            raise ValueError("a closed arrival needs users")
        total = sum(share.share for share in self.journeys)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the journeys' shares add up to {total:g}, not to 1")
        if len({share.journey for share in self.journeys}) != len(self.journeys):
            raise ValueError("a journey is named twice")
        return self

    def changed(self, rate: float | None = None, hold_seconds: float | None = None) -> Scenario:
        """The scenario with another rate or hold; None leaves what it says.

        Raises:
            ScenarioError: it does not hold any more, or its arrival is closed and has no rate.
        """
        if rate is not None and self.arrival == "closed":
            raise ScenarioError(f"{self.name} has {self.users} users who come one after another; it takes no rate")
        changes = {"rate": rate, "hold_seconds": hold_seconds}
        wanted = self.model_dump() | {name: value for name, value in changes.items() if value is not None}
        try:
            return Scenario.model_validate(wanted)
        except ValidationError as error:
            raise ScenarioError(_explain(self.name, error)) from None


def load(name_or_path: str) -> Scenario:
    """The scenario of a file, or of that name in `scenarios/`.

    Raises:
        ScenarioError: there is none, or it does not hold.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml", ".json"):
        path = FOLDER / f"{name_or_path}.yaml"
    try:
        return Scenario.model_validate(YAML(typ="safe").load(path.read_text("utf-8")))
    except FileNotFoundError:
        names = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        others = "".join(f"; {other} is not read: rename it to {path.name}" for other in mistaken_for(path))
        raise ScenarioError(f"no scenario {name_or_path!r}; there are {names}{others}") from None
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    except ValidationError as error:
        raise ScenarioError(_explain(path, error)) from None


def _explain(what: object, error: ValidationError) -> str:
    faults = [f"  {'.'.join(map(str, detail['loc'])) or 'scenario'}: {detail['msg']}" for detail in error.errors()]
    return "\n".join([f"{what}: the scenario does not hold; nothing was sent.", *faults])
