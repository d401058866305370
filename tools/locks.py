"""Who changes what of an environment: a lock a cell, so that what touches different cells shuts nobody out.

Whoever changes some cells shares the environment's own lock and takes those of the cells, by name; whoever changes all
takes the environment's own whole, and with it every cell, those that come meanwhile, too. Nobody waits for a cell: who
cannot have it is refused and told by whom. They are locks of the system on open files (`flock`), so a
process that dies frees its own, however it died.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import psutil

from infra.folder import EnvironmentFolder
from tools.stages import StageError

WHOLE = "environment"
WAY_OUT = "wait for it to end, then try again"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: the command's words, its process, since when."""

    verb: str
    pid: int
    since: datetime

    def __str__(self) -> str:
        return f"{self.verb}, process {self.pid}, since {self.since.astimezone():%H:%M}"


@contextmanager
def holding(folder: EnvironmentFolder, verb: str, cells: Collection[str] | None = None) -> Iterator[None]:
    """Nobody else changes these cells of the environment meanwhile; without any named, nothing of it.

    Raises:
        StageError: another command is changing them; says which, and since when.
    """
    with ExitStack() as held:
        if cells is None:
            held.enter_context(_taken(folder, WHOLE, verb))
        else:
            held.enter_context(_shared(folder))
            for cell in sorted(set(cells)):  # in one order for all, so that of two that meet one goes on
                held.enter_context(_taken(folder, cell, verb))
        yield


@contextmanager
def turn(folder: EnvironmentFolder, what: str, verb: str, say: Callable[[str], None]) -> Iterator[None]:
    """One after the other, for what touches more than the cells that its command holds: a playbook goes to hosts of
    all, a registry's overlay is one file. Waits, and says for whom.
    """
    with _opened(folder, what) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waits for {_read(_path(folder, what)) or 'another command'} ({what} of {folder.environment})")
            fcntl.flock(file, fcntl.LOCK_EX)
        with _signed(file, verb):
            yield


@contextmanager
def _taken(folder: EnvironmentFolder, name: str, verb: str) -> Iterator[None]:
    with _opened(folder, name) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refusal(folder, name) from None
        with _signed(file, verb):
            yield


@contextmanager
def _shared(folder: EnvironmentFolder) -> Iterator[None]:
    with _opened(folder, WHOLE) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refusal(folder, WHOLE) from None
        file.truncate(0)  # whoever took it whole before and was killed has left its name
        yield


@contextmanager
def _signed(file: TextIO, verb: str) -> Iterator[None]:
    """The holder's name is in the file for as long as the lock is held."""
    file.truncate(0)
    since = datetime.now(UTC).isoformat(timespec="seconds")
    file.write(json.dumps({"verb": verb, "pid": os.getpid(), "since": since}))
    file.flush()
    try:
        yield
    finally:
        file.truncate(0)


@contextmanager
def _opened(folder: EnvironmentFolder, name: str) -> Iterator[TextIO]:
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = _path(folder, name)
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        yield file


def _path(folder: EnvironmentFolder, name: str) -> Path:
    return folder.locks / name


def _read(path: Path) -> Holder | None:
    """Who signed, unless it is dead; None in the moment between a lock and its signature, too."""
    try:
        signed = json.loads(path.read_text("utf-8"))
        holder = Holder(signed["verb"], signed["pid"], datetime.fromisoformat(signed["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return holder if psutil.pid_exists(holder.pid) else None


def _refusal(folder: EnvironmentFolder, name: str) -> StageError:
    what = folder.environment if name == WHOLE else f"{name} of {folder.environment}"
    holder = _read(_path(folder, name))
    if holder is None and name == WHOLE:
        for path in sorted(folder.locks.glob("cell-*")):
            if holder := _read(path):
                what = f"{path.name} of {folder.environment}"
                break
    named = f" ({holder})" if holder else ""
    return StageError(f"another command{named} is changing {what}", WAY_OUT)
