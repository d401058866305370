"""Production's form of the port: the native commands, each update shown, agreed to, and held to what was shown.

Nothing is mended, taken back or guessed: where a run was cut short, the next one's preview says what is left to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from infra.engine import Engine, changed_resources
from infra.folder import EnvironmentFolder
from infra.outputs import EnvironmentOutputs
from tools.deployment import play, unreached
from tools.locks import turn
from tools.port import Agree, Agreed
from tools.scopes import scopes_of
from tools.stages import Run, StageError

OUTPUTS_CHANGE = re.compile(r"^\s*(Outputs:|--outputs:--)", re.MULTILINE)


@dataclass
class Native:
    """The engine and the playbooks of a production environment, as docs/production.md has them run by hand."""

    folder: EnvironmentFolder
    agree: Agree

    @property
    def engine(self) -> Engine:
        return Engine(self.folder)

    def must_run(self) -> None:
        """Nobody here started it, and whoever asks its hosts hears whether they answer."""

    def unreached(self, outputs: EnvironmentOutputs) -> list[str]:
        return unreached(self.engine, [host.name for cell in outputs.cells for host in cell.hosts])

    def agreed(self, run: Run, scope: str, alone: str = "") -> Agreed:
        stack, preview = self.engine.stack(scope), self.folder.previews / f"{scope}.json"
        preview.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        preview.unlink(missing_ok=True)
        with run.stage(f"preview {scope}") as stage:
            changes = self.engine.preview(scope, stage.log, "--save-plan", str(preview))
            stage.say(str(changes), changed=False)
        diff = stage.log_path.read_text()
        run.console.print(diff, style="dim", markup=False, soft_wrap=True)
        if not changes.any and not OUTPUTS_CHANGE.search(diff):
            return Agreed(scope, preview, changes_nothing=True)
        if strangers := [resource for resource in changed_resources(diff) if alone not in resource]:
            raise StageError(
                f"the preview of {stack} touches more than {alone}: {', '.join(strangers)}; nothing was changed",
                f"bring that about by itself first: pulumi up -s {stack} (docs/production.md)",
            )
        if not self.agree(f"Update {stack} just so ({changes})?"):
            raise StageError(f"{stack} was not changed: the preview was not agreed to", "run the same command again")
        return Agreed(scope, preview)

    def update(self, run: Run, agreed: Agreed) -> None:
        with run.stage(agreed.scope) as stage:
            if agreed.changes_nothing:
                stage.say("no changes", changed=False)
            else:
                # What the preview did not have the engine refuses, should code, registry or state have changed since.
                changes = self.engine.up(agreed.scope, stage.log, "--plan", str(agreed.preview))
                stage.say(str(changes), changed=changes.any)
        if agreed.preview is not None:
            agreed.preview.unlink(missing_ok=True)

    def stand(self, run: Run) -> None:
        """One stack after the other, each with its own question: a later one's preview reads what an earlier one made.

        Raises:
            StageError: a stack is not there yet; nothing was changed.
        """
        with run.stage("stacks") as stage:
            wanted = scopes_of(self.folder)
            standing = self.engine.stacks()
            if missing := [self.engine.stack(scope) for scope in wanted if scope not in standing]:
                raise StageError(
                    f"{', '.join(missing)}: no such stack in the state that this user is logged in to",
                    f"make it, with its settings: pulumi stack init {missing[0]} (docs/production.md)",
                )
            stage.say(", ".join(wanted), changed=False)
        for scope in wanted:
            self.update(run, self.agreed(run, scope))

    def take_back(self, run: Run, scope: str, whose: str) -> None:
        stack = self.engine.stack(scope)
        run.console.print(
            f"what {stack} has of {whose} by now stays: pulumi preview -s {stack} shows what is left to do, and the "
            f"same command does it",
            soft_wrap=True,
        )

    def play(self, run: Run, *options: str, **extra: str) -> None:
        words = " ".join(["site.yml", *options, *(f"-e {name}={value}" for name, value in extra.items())])
        if not self.agree(f"Play {words} on {self.folder.environment}?"):
            raise StageError(f"{words} was not played: it was not agreed to", "run the same command again: it goes on")
        with (
            turn(self.folder, "playbook", run.command, run.console.print),
            run.stage("deployment") as stage,
        ):
            recap = play(self.engine, "site.yml", stage.log, *options, **extra)
            stage.say(str(recap), changed=recap.any)

    def steady(self, say: Callable[[str], None]) -> None:
        """Its hosts are the cloud's, each with what was bought."""
