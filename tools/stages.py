"""Running long work as named stages: progress all the time, a log, and a table at the end."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from infra.errors import ExpectedError

HEARTBEAT_SECONDS = 20.0
TAIL_LINES = 40


class StageError(ExpectedError):
    """A stage cannot go on: says what is wrong, and always the way out."""

    def __init__(self, cause: str, way_out: str) -> None:
        super().__init__(cause, way_out)


@contextmanager
def with_way_out(way_out: str) -> Iterator[None]:
    """Gives an expected error of the body that knows no way out this one.

    Raises:
        StageError: with the cause of what the body raised.
    """
    try:
        yield
    except ExpectedError as error:
        if error.way_out:
            raise
        raise StageError(error.cause or str(error), way_out) from None


@dataclass
class Stage:
    """One running stage. `log` takes the output of what it runs; `say` sets what the table tells of it."""

    title: str
    log: TextIO
    log_path: Path
    result: str = "done"
    changed: bool = True
    parts_left: int = 0
    """Of those that were announced."""
    seconds_by_part: dict[str, float] = field(default_factory=dict)
    _doing: list[str] = field(default_factory=list)

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Does one of the parts that `parts_left` has announced; several may be done side by side."""
        self._doing.append(title)
        started = time.monotonic()
        try:
            yield
        finally:
            self._doing.remove(title)
            self.parts_left -= 1
            self.seconds_by_part[title] = time.monotonic() - started

    @property
    def progress(self) -> str:
        """What it is at, and how much of it is left; empty where it told of no parts."""
        if not self._doing:
            return ""
        waiting = self.parts_left - len(self._doing)
        return ", ".join(self._doing) + (f"; then {waiting} more" if waiting > 0 else "")

    def say(self, result: str, changed: bool = True) -> None:
        self.result = result
        self.changed = changed


@dataclass
class Run:
    """The stages of one command, in order."""

    command: str
    logs: Path
    console: Console = field(default_factory=lambda: Console(highlight=False))
    rows: list[tuple[str, str, float, bool]] = field(default_factory=list)
    _moving: threading.Lock = field(default_factory=threading.Lock, repr=False)
    """Held by the stage whose line moves on a terminal: there is place for one, and stages may run side by side."""

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """Runs the body as a stage.

        Raises:
            StageError: the body failed; the cause and the log's tail have been printed.
        """
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.logs / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{self.command}-{title.replace(' ', '-')}.log"
        started = time.monotonic()
        with path.open("w", buffering=1) as log:
            stage = Stage(title, log, path)
            with self._heartbeat(stage, started):
                try:
                    yield stage
                except Exception as error:
                    self._explain(stage, error, time.monotonic() - started)
                    if isinstance(error, StageError):
                        raise
                    raise StageError(f"{title}: {error}", f"see {path}, then run the same command again") from error
        seconds = time.monotonic() - started
        self.rows.append((title, stage.result, seconds, stage.changed))
        self.console.print(f"[green]✔[/green] {title:<16} {stage.result} [dim]({seconds:.1f} s)[/dim]")

    @contextmanager
    def _heartbeat(self, stage: Stage, started: float) -> Iterator[None]:
        """A line that moves on a terminal; elsewhere, and for the second of two stages that run side by side, a line
        now and then, so that nobody thinks it hangs."""

        def line() -> str:
            return f"… {stage.title:<16} {time.monotonic() - started:.0f} s {stage.progress}"

        if self.console.is_terminal and self._moving.acquire(blocking=False):
            try:
                log = f" [dim]{stage.log_path}[/dim]"
                with self.console.status(line() + log) as status, _ticking(1.0, lambda: status.update(line() + log)):
                    yield
            finally:
                self._moving.release()
            return
        self.console.print(f"… {stage.title:<16} [dim]log: {stage.log_path}[/dim]", soft_wrap=True)
        with _ticking(HEARTBEAT_SECONDS, lambda: self.console.print(line(), soft_wrap=True)):
            yield

    def _explain(self, stage: Stage, error: Exception, seconds: float) -> None:
        stage.log.flush()
        tail = deque(stage.log_path.read_text(errors="replace").splitlines(), maxlen=TAIL_LINES)
        self.console.print(f"[red]✘[/red] {stage.title} failed after {seconds:.1f} s", style="bold")
        for line in tail:
            self.console.print(f"  {line}", style="dim", markup=False, soft_wrap=True)
        self.console.print(f"  log: {stage.log_path}", soft_wrap=True)
        if isinstance(error, StageError):
            self.console.print(f"[red]cause:[/red]   {error.cause}", soft_wrap=True)
            self.console.print(f"[yellow]way out:[/yellow] {error.way_out}", soft_wrap=True)
        else:
            self.console.print(f"[red]cause:[/red]   {error}", soft_wrap=True)

    def table(self) -> Table:
        """The stages done so far: title, what it did, seconds."""
        table = Table("stage", "what it did", title=f"{self.command}")
        table.add_column("seconds", justify="right")
        for title, result, seconds, _ in self.rows:
            table.add_row(title, result, f"{seconds:.1f}")
        table.add_section()
        table.add_row("all", "changed nothing" if not self.changed else "", f"{sum(row[2] for row in self.rows):.1f}")
        return table

    @property
    def changed(self) -> bool:
        return any(changed for *_, changed in self.rows)


@contextmanager
def _ticking(every: float, tick: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def loop() -> None:
        while not over.wait(every):
            tick()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
