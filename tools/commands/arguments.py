"""What commands take alike: the environment, checked before anything else happens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from tools.environment import load_choice, must_run


def known_name(environment: str | None) -> str | None:
    """Refuses what can be no environment's name, as wrong usage."""
    if environment is not None:
        try:
            EnvironmentFolder(environment)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return environment


ANY_ENVIRONMENT = "local, test-… or a production environment, as prod"
Environment = Annotated[
    str, typer.Argument(help="local, test-… or a production environment, as prod", callback=known_name)
]
OwnEnvironment = Annotated[str, typer.Argument(help="local or test-…", callback=known_name)]
"""For what is done to environments of this machine alone."""


def engine_of(environment: str) -> Engine:
    """The engine of an environment that is there. Production's state is where its operators logged in to.

    Raises:
        StageError: there is no such environment on this machine.
    """
    engine = Engine(EnvironmentFolder(environment))
    if engine.folder.made_here:
        load_choice(engine.folder)
    return engine


def running_engine_of(environment: str) -> Engine:
    """The engine of an environment whose hosts will be asked.

    Raises:
        StageError: there is no such environment on this machine, or it does not run.
    """
    engine = engine_of(environment)
    must_run(engine)
    return engine


def overlay_of(environment: str) -> Path:
    """Where an environment that is there says otherwise than production.

    Raises:
        StageError: there is no such environment on this machine.
    """
    return engine_of(environment).folder.registry_overlay
