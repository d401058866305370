"""The verbs of an environment that is made here as tests call them: on its port, without a command line."""

from __future__ import annotations

from rich.console import Console

from tools.recovering import Recovering
from tools.stages import Run
from tools.verbs.down import down
from tools.verbs.onboard import onboard
from tools.verbs.resize import resize
from tools.verbs.up import provision, up


class Life(Recovering):
    """A port with its verbs; what each raises stands at the verb."""

    def up(self, console: Console | None = None) -> Run:
        run = self._run("up", console)
        up(self, run)
        return run

    def provision(self, console: Console | None = None) -> Run:
        run = self._run("provision", console)
        provision(self, run)
        return run

    def resize(self, cell: str, console: Console | None = None) -> Run:
        run = self._run("resize", console)
        resize(self, cell, run)
        return run

    def onboard(self, word: str, console: Console | None = None) -> tuple[Run, dict[str, str] | None]:
        run = self._run("onboard", console)
        return run, onboard(self, word, run)[1]

    def down(self, purge: bool = False, console: Console | None = None) -> Run:
        run = self._run("down", console)
        down(self, run, purge)
        return run

    def _run(self, verb: str, console: Console | None) -> Run:
        return Run(verb, self.folder.logs, console or Console(highlight=False))
