"""What a verb works through: an environment's engine and playbooks, in one of two forms.

*Recovering* is the form of environments that are made on this machine: whatever an earlier run left is mended first
(`tools/recovering.py`). *Native* is production's: what would change is shown, somebody agrees, and just that is done
(`tools/native.py`). Which it is follows from the environment's kind, here and nowhere else; a production command loads
nothing of the local cloud.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from infra.outputs import EnvironmentOutputs
from tools.environment import refuse_production
from tools.locks import holding
from tools.stages import Run, StageError

if TYPE_CHECKING:
    from tools.recovering import Recovering

Agree = Callable[[str], bool]
"""Puts a question to whoever runs the command."""


@dataclass(frozen=True)
class Agreed:
    """A stack's update that was shown and agreed to: what `Port.update` takes, so that no verb forgets the preview."""

    scope: str
    preview: Path | None = None
    """What the engine holds the update to, where it does."""
    changes_nothing: bool = False


class Port(Protocol):
    """The engine and the playbooks of one environment.

    Raises (every method that takes a `run`):
        StageError: it cannot go on; says why, and the way out.
    """

    folder: EnvironmentFolder

    @property
    def engine(self) -> Engine: ...

    def must_run(self) -> None:
        """
        Raises:
            StageError: the environment was ended, or its machine was.
        """

    def unreached(self, outputs: EnvironmentOutputs) -> list[str]:
        """Hosts that a playbook could not reach now."""

    def agreed(self, run: Run, scope: str, alone: str = "") -> Agreed:
        """Shows what an update of the stack would change, and has it agreed to. `alone`: every resource of it should
        carry this in its name; production insists."""

    def update(self, run: Run, agreed: Agreed) -> None:
        """Updates the stack so, as a stage."""

    def stand(self, run: Run) -> None:
        """Brings everything that the engine makes to what registry and plan say: all stacks, each after those that it
        reads."""

    def take_back(self, run: Run, scope: str, whose: str) -> None:
        """What a failed update has made for a tenant goes again, where that is safe."""

    def play(self, run: Run, *options: str, **extra: str) -> None:
        """Plays `site.yml` as a stage, with ansible-playbook's own `options` and `extra` variables."""

    def steady(self, say: Callable[[str], None]) -> None:
        """Hosts have no more than their own share of their machines, so that it can be judged what they carry."""


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
