"""What commands take alike: the environment, checked before anything else happens."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from tools.environment import load_choice, refuse_production
from tools.ports import must_run, nobody


def known_name(environment: str | None) -> str | None:
    """Refuses what can be no environment's name, as wrong usage."""
    if environment is not None:
        try:
            EnvironmentFolder(environment)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    return environment


def changed_name(environment: str | None) -> str | None:
    """As `known_name`; behind `make`, which is no place for production, refuses that, too.

    Raises:
        StageError: it is a production environment, and `make` called.
    """
    known_name(environment)
    if environment is not None and os.environ.get(BY_MAKE):
        refuse_production(environment, "make")
    return environment


BY_MAKE = "YIWANG_BY_MAKE"
"""Set by the Makefile for its recipes."""
ANY_ENVIRONMENT = "local, test-… or a production environment, as prod"
Environment = Annotated[
    str, typer.Argument(help="local, test-… or a production environment, as prod", callback=known_name)
]
ChangedEnvironment = Annotated[
    str, typer.Argument(help="local, test-… or a production environment, as prod", callback=changed_name)
]
"""For what changes an environment."""
OwnEnvironment = Annotated[str, typer.Argument(help="local or test-…", callback=changed_name)]
"""For what is done to environments of this machine alone."""
Yes = Annotated[bool, typer.Option("--yes", "-y", help="agree beforehand to what production would ask")]


def asking(yes: bool) -> Callable[[str], bool]:
    """How a command has something agreed to: beforehand, or by whoever sits there; nothing hangs where nobody does."""

    def agree(question: str) -> bool:
        if yes:
            return True
        return typer.confirm(question) if is_attended() else nobody(question)

    return agree


def is_attended() -> bool:
    """Whether somebody sits there who could answer."""
    return sys.stdin.isatty()


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
