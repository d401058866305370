"""Hosts' journals as one stream, each line after its host's name, until all have ended or somebody stops it."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

# Whatever runs ours on any host. A plain name beside the patterns: where no pattern fits, journalctl would refuse.
UNITS = ("yiwang-*", "haproxy.service", "pgbouncer.service", "prometheus*")

# The exporter's look at the pooler's console, every few seconds: PgBouncer has no switch for that line.
NOISE = re.compile(r"C-0x\w+: \(nodb\)/pgbouncer@unix\S* pgbouncer access from unix socket")

Say = Callable[[str, str], None]


def journal(lines: int, follow: bool) -> str:
    """The command that shows a host's last lines and, with `follow`, those to come."""
    units = " ".join(f"--unit '{unit}'" for unit in UNITS)
    return f"journalctl --quiet --no-pager --output cat --lines {lines} {'--follow ' if follow else ''}{units}"


def stream(commands: Mapping[str, Sequence[str]], say: Say) -> list[str]:
    """Runs a command for each host and says every line that one prints, with its host. The hosts that failed.

    What `say` raises ends all of them, and is raised here: whoever read it may have gone (`make logs | head`).
    """
    raised: list[Exception] = []
    with _running(commands) as processes:

        def read(host: str) -> None:
            try:
                _read(host, processes[host], say)
            except Exception as error:
                raised.append(error)
                for process in processes.values():
                    process.terminate()

        readers = [threading.Thread(target=read, args=(host,)) for host in processes]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        if raised:
            raise raised[0]
        return [host for host, process in processes.items() if process.wait() != 0]


@contextmanager
def _running(commands: Mapping[str, Sequence[str]]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The commands' processes, ended with whoever looks at them."""
    processes: dict[str, subprocess.Popen[str]] = {}
    try:
        for host, command in commands.items():
            processes[host] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()


def _read(host: str, process: subprocess.Popen[str], say: Say) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if not NOISE.search(line):
            say(host, line.rstrip("\n"))
