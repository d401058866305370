"""What a verb works through: an environment's engine and playbooks, in one of two forms.

*Recovering* is the form of environments that are made on this machine: whatever an earlier run left is mended first
(`tools/recovering.py`). *Native* is production's: what would change is shown, somebody agrees, and just that is done
(`tools/native.py`). Which it is, `tools/ports.py` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from infra.outputs import EnvironmentOutputs
from tools.stages import Run

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
