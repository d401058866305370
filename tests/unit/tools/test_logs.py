"""Many hosts' logs as one stream."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tools.logs import UNITS, journal, stream


def shell(command: str) -> list[str]:
    return ["sh", "-c", command]


def test_lines_of_every_host_come_with_its_name_and_who_failed_is_told() -> None:
    said: list[tuple[str, str]] = []
    commands = {
        "gateway": shell("echo one; echo two"),
        "application": shell("echo out of reach >&2; exit 255"),
        "silent": shell("echo 'C-0x55ab063fbc70: (nodb)/pgbouncer@unix(1370):6432 pgbouncer access from unix socket'"),
    }
    assert stream(commands, lambda host, line: said.append((host, line))) == ["application"]
    assert sorted(said) == [("application", "out of reach"), ("gateway", "one"), ("gateway", "two")]


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Where a shell runs the tests in the background, Python was told to ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.timeout(30)
def test_whoever_stops_looking_ends_every_command(interrupts: None) -> None:
    """They follow for ever; an interrupt of ours comes with the first line, and nothing stays behind."""
    seen: list[str] = []

    def say(host: str, line: str) -> None:
        seen.append(line)
        if len(seen) == 2:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stream({name: shell("echo $$; exec sleep 3600") for name in ("one", "other")}, say)
    assert len(seen) == 2
    for process in seen:
        assert not alive(int(process))


def alive(process: int) -> bool:
    try:
        return b"sleep" in Path(f"/proc/{process}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def test_a_journal_is_asked_for_with_a_plain_name_beside_the_patterns() -> None:
    """Where nothing fits a pattern journalctl refuses, unless something is named plainly."""
    words = shlex.split(journal(20, follow=True))
    asked = [word for before, word in pairwise(words) if before == "--unit"]
    assert asked == list(UNITS)
    assert any("*" not in unit for unit in asked)
    assert "--follow" in words and "--follow" not in shlex.split(journal(20, follow=False))


@pytest.mark.timeout(30)
def test_a_reader_that_goes_ends_every_command() -> None:
    """`make logs | head` has what it wants: nobody follows for it, and no reader dies alone."""
    seen: list[str] = []

    def say(host: str, line: str) -> None:
        seen.append(line)
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        stream({name: shell("echo $$; exec sleep 20") for name in ("one", "other")}, say)
    assert seen and not any(alive(int(process)) for process in seen)
