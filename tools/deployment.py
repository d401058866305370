"""Running the playbooks natively: `ansible-playbook playbooks/site.yml` with the environment's variables."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from infra.engine import REPOSITORY, Engine
from infra.outputs import HostOutputs
from tools.counts import counted
from tools.stages import StageError

RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)\s+failed=(?P<failed>\d+)",
    re.MULTILINE,
)
UNREACHED = re.compile(r"^(\S+) \| (?:UNREACHABLE|FAILED)", re.MULTILINE)
SSH_PORT = 22
CONNECT_SECONDS = 5.0
FAILURE = re.compile(r"^(?:fatal|failed): \[[^\]]+\].*|^\[ERROR\]:.*", re.MULTILINE)


@dataclass(frozen=True)
class Recap:
    """Ansible's own account of a run: changed tasks by entry of the inventory, hosts and cells' databases."""

    changed: Mapping[str, int]

    @property
    def any(self) -> bool:
        return any(self.changed.values())

    def __str__(self) -> str:
        databases = sum(name.endswith("-database") for name in self.changed)
        hosts = counted(len(self.changed) - databases, "host")
        entries = f"{hosts} and {counted(databases, 'database')}" if databases else hosts
        return f"{entries}, {counted(sum(self.changed.values()), 'task')} changed"


def variables(engine: Engine) -> dict[str, str]:
    """What the native commands need in their environment: the engine's, Ansible's and Locust's."""
    folder = engine.folder
    needed = {
        **engine.variables(),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "YIWANG_REHEARSAL": str(folder.rehearsal),
    }
    if folder.made_here:
        needed |= {
            "ANSIBLE_PRIVATE_KEY_FILE": str(folder.ssh_key),
            "YIWANG_KNOWN_HOSTS": str(folder.root / "ssh" / "known_hosts"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder.root / "ssh" / "control"),
        }
    return needed


def silent(hosts: Iterable[HostOutputs]) -> list[str]:
    """Names of those that take no connection for SSH, asked straight: for hosts that this machine routes to."""

    def is_reached(host: HostOutputs) -> bool:
        try:
            socket.create_connection((host.address, SSH_PORT), CONNECT_SECONDS).close()
        except OSError:
            return False
        return True

    asked = list(hosts)
    with ThreadPoolExecutor(max_workers=16) as pool:
        return [host.name for host, reached in zip(asked, pool.map(is_reached, asked), strict=True) if not reached]


def unreached(engine: Engine, names: Sequence[str]) -> list[str]:
    """Those of the hosts on which Ansible itself can run nothing, by whatever way in the inventory has.

    Raises:
        StageError: Ansible cannot ask at all.
    """
    program = Path(sys.executable).parent / "ansible"
    command = [str(program), ",".join(names), "-m", "ansible.builtin.raw", "-a", "true", "--one-line"]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **variables(engine), "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    names_unreached = UNREACHED.findall(done.stdout)
    if done.returncode != 0 and not names_unreached:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise StageError(f"no host of {engine.environment} could be asked: {said[0]}", "see ansible all -m ping")
    return names_unreached


def play(engine: Engine, playbook: str, log: TextIO, *options: str, **extra: str) -> Recap:
    """Runs a playbook to its end, with ansible-playbook's own `options` and `extra` variables.

    Raises:
        StageError: a host failed or could not be reached; names it and what it said.
    """
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), f"playbooks/{playbook}", *options]
    for key, value in extra.items():
        command += ["-e", f"{key}={value}"]
    print(f"$ ansible-playbook {' '.join(command[1:])}", file=log, flush=True)
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **variables(engine), "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        log.write(line)
    process.wait()
    output = "".join(lines)
    if process.returncode != 0:
        failures = FAILURE.findall(output)
        cause = failures[0][:500] if failures else f"ansible-playbook ended with {process.returncode}"
        raise StageError(
            f"{playbook}: {cause}",
            "mend what the task says, then run the same command again: it goes on from what is there",
        )
    return Recap({match["host"]: int(match["changed"]) for match in RECAP.finditer(output)})
