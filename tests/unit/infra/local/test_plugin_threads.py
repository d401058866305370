"""The plugin's calls come from as many threads as the engine likes: what they share is hammered here from 32."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from infra.local.plugin import classes, lookup
from infra.local.plugin.classes import resource_class, tokens
from infra.local.plugin.inventory import things
from infra.local.plugin.logs import EngineLog

THREADS = 32


class Finalised:
    """Garbage that runs code when it is collected, as gRPC's calls do: then another thread runs in mid-parse."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        sum(range(50))


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads give way to each other as often as Python lets them."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(200, 2, 2)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*thresholds)


def hammer(work: Callable[[int], Any]) -> list[Any]:
    """What `work` answers to each of the threads, which begin together."""
    together = Barrier(THREADS)

    def run(number: int) -> Any:
        together.wait(60)
        return work(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def forget() -> None:
    for remembered in (classes._parsed, classes._arguments, classes.resource_class):
        remembered.cache_clear()


def test_all_classes_are_read_from_many_threads(impatient: None) -> None:
    """Small modules, and each thread begins elsewhere: they meet in the parser, not in a cache."""
    forget()
    wanted = sorted(rules.token for rules in lookup.every_rule() if not rules.refused)
    wanted += tokens()[:: len(tokens()) // 60]

    def read(number: int) -> set[str]:
        turned = wanted[number * 3 :] + wanted[: number * 3]
        definitions = [resource_class(token) for token in turned if Finalised()]
        return {definition.token for definition in definitions if definition.inputs or definition.state}

    assert hammer(read) == [set(wanted)] * THREADS


def test_tracebacks_are_written_while_classes_are_read(impatient: None) -> None:
    """Python marks the place in a line of a traceback by parsing it, which is making a syntax tree, too."""
    forget()
    log, said = EngineLog(None), []
    log._say = lambda severity, message, urn: said.append(message)  # type: ignore[method-assign]
    wanted = tokens()[:: len(tokens()) // 60]

    def work(number: int) -> None:
        for token in wanted if number % 2 else []:
            assert Finalised() and resource_class(token)
        for _ in range(0 if number % 2 else 40):
            try:
                (Finalised(), len(wanted) // 0, [(1 + 2) * 3, {4: [5, (6, 7)]}, (8 + 9) * (10 + 11)])
            except ZeroDivisionError as error:
                log.debug_traceback(error, "")

    hammer(work)
    assert len(said) == 40 * THREADS / 2 and all("len(wanted) // 0" in message for message in said)


def test_two_fresh_plugins_serve_many_threads_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules are loaded, the stores opened and keys made by whoever comes first, in any thread of any process."""
    command = [sys.executable, "-m", "tests.unit.infra.local.hammered_plugin"]
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    running = [
        subprocess.Popen([*command, f"test-hammer.{stack}"], stdout=subprocess.PIPE, text=True)
        for stack in ("one", "two")
    ]
    made = [process.communicate(timeout=120)[0].split() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert len({*made[0], *made[1]}) == 2 * THREADS
    assert {thing.id for thing in things("test-hammer", "test-hammer.one")} == set(made[0])
