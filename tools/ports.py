"""Which form of the port an environment has: it follows from its kind, here and nowhere else. A command on production
loads nothing of the local cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from tools.environment import refuse_production
from tools.locks import holding
from tools.port import Agree, Port
from tools.stages import StageError

if TYPE_CHECKING:
    from tools.recovering import Recovering


def nobody(question: str) -> bool:
    """The answer where nobody was asked to stand by.

    Raises:
        StageError: always.
    """
    raise StageError(f"nobody is there to agree: {question}", "agree beforehand: --yes")


def port_of(folder: EnvironmentFolder, agree: Agree = nobody, stacks_at_once: int = 1) -> Port:
    """The port to an environment, in the form that its kind has. `stacks_at_once`: how many stacks that share no cell
    are updated side by side.

    Raises:
        StageError: production has its stacks one by one, each with its question.
    """
    if folder.kind == "production":
        from tools.native import Native

        if stacks_at_once != 1:
            raise StageError(
                f"{folder.environment} is production: its stacks are previewed and agreed to one after the other",
                "leave --at-once away",
            )
        return Native(folder, agree)
    from tools.recovering import Recovering

    return Recovering(folder, stacks_at_once=stacks_at_once)


def own_port_of(folder: EnvironmentFolder, verb: str) -> Recovering:
    """The port for what is done to environments of this machine alone.

    Raises:
        StageError: it is a production environment.
    """
    refuse_production(folder.environment, verb)
    from tools.recovering import Recovering

    return Recovering(folder)


def must_run(engine: Engine) -> None:
    """For what asks an environment's hosts. Production is not started from here.

    Raises:
        StageError: it was ended, or its machine was.
    """
    port_of(engine.folder).must_run()


@contextmanager
def judging(engine: Engine, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the environment while it is judged what its hosts carry. Local ones that a command cut short left bursting
    have their own share of a core first: with more they would seem to carry more.

    Raises:
        StageError: it does not run, or another command is at work.
    """
    port = port_of(engine.folder)
    port.must_run()
    with holding(engine.folder, "judging what it carries"):
        port.steady(say)
        yield
