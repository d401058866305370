"""Containers by the podman command: wanted ones are made to run, dead ones are found out even where podman is not.

Containers here are disposable: what must last (a host's disk, a database) is mounted from the environment's folder.
So a container that is dead or shaped otherwise is removed and run again, never repaired.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.cloud.errors import CloudError

_PODMAN_RUN = Path("/run/libpod")
_ADDRESS_BOOK = Path("/run/containers/networks/ipam.db")
_NAMESPACE = re.compile(r"(/run/netns/netns-[\w-]+)")
_LEAKED = re.compile(r"already allocated to container ID ([0-9a-f]{64})")
_LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000")


@dataclass(frozen=True)
class Container:
    """A container as it should run. `shape` (everything but the limits) decides whether a running one is as wanted."""

    name: str
    image: tuple[str, ...]  # an image's name, or ("--rootfs", folder)
    options: tuple[str, ...]
    command: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    cores: float
    memory_mib: int

    @property
    def shape(self) -> str:
        return hashlib.sha256(repr((self.image, self.options, self.command)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Seen:
    """A container as podman and the kernel show it."""

    name: str
    id: str
    alive: bool
    labels: dict[str, str] = field(default_factory=dict)
    believed_alive: bool = False  # by podman, which does not know of a death that nobody reported
    process: int = 0  # its first one, as the machine numbers it


def run_podman(*arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    # A container's monitor stays where podman was called, and leaves a file `oom` there when memory ran out.
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, input=stdin, check=False, cwd="/run")
    if check and done.returncode != 0:
        raise CloudError("InternalError", f"podman {arguments[0]}: {done.stderr.strip()[-600:]}")
    return done


class Containers:
    """The environment's containers, told from all others by the label `yiwang.environment`."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    def name(self, physical: str) -> str:
        return f"yw-{self._environment}-{physical}"

    def seen(self) -> dict[str, Seen]:
        """Every container of the environment by name."""
        listing = ("ps", "--all", "--no-trunc", "--format", "json")
        mine = ("--filter", f"label=yiwang.environment={self._environment}")
        rows = json.loads(_mended(*listing, *mine).stdout or "[]")
        containers = {}
        for row in rows:
            alive = row["State"] == "running" and _process_is_of(row["Pid"], row["Id"])
            name, believed = row["Names"][0], row["State"] in ("running", "stopping")
            containers[name] = Seen(name, row["Id"], alive, row["Labels"] or {}, believed, row["Pid"])
        return containers

    def look(self, name: str) -> Seen | None:
        return self.seen().get(name)

    def ensure(self, wanted: Container, seen: Seen | None = None, fresh: bool = False) -> bool:
        """Make it run as wanted; True where something had to be done.

        `seen` spares a look; `fresh` runs it anew though nothing seems to differ (its files changed).
        """
        present = seen or self.look(wanted.name)
        if present and present.alive and not fresh and present.labels.get("yiwang.shape") == wanted.shape:
            return False
        if present:
            self.remove(present.name, present)
        self._run(wanted)
        return True

    def _run(self, wanted: Container) -> None:
        labels = [*wanted.labels, ("yiwang.environment", self._environment), ("yiwang.shape", wanted.shape)]
        arguments = ["run", "--detach", "--name", wanted.name, *_LIMITS, "--log-opt", "max-size=10mb"]
        for key, value in labels:
            arguments += ["--label", f"{key}={value}"]
        arguments += ["--cpus", f"{wanted.cores:g}", "--memory", f"{wanted.memory_mib}m"]
        arguments += ["--memory-swap", f"{wanted.memory_mib}m", *wanted.options, *wanted.image, *wanted.command]
        done = run_podman(*arguments, check=False)
        if done.returncode == 0:
            return
        if _freed_leaked_address(done.stderr):
            run_podman("rm", "--force", "--time", "0", wanted.name, check=False)
            run_podman(*arguments)
            return
        run_podman("rm", "--force", "--time", "0", wanted.name, check=False)
        raise CloudError("InternalError", f"container {wanted.name} does not start: {done.stderr.strip()[-600:]}")

    def remove(self, name: str, seen: Seen | None = None, grace: int = 0) -> None:
        present = seen or self.look(name)
        if present is None:
            return
        if present.believed_alive and not present.alive:
            _tell_podman_it_died(present.id)
        done = run_podman("rm", "--force", "--time", str(grace), name, check=False)
        if done.returncode != 0 and "no such container" not in done.stderr:
            _mended("rm", "--force", "--time", "0", name)

    def set_limits(self, name: str, cores: float, memory_mib: int) -> None:
        arguments = ("--cpus", f"{cores:g}", "--memory", f"{memory_mib}m", "--memory-swap", f"{memory_mib}m")
        done = run_podman("update", *arguments, name, check=False)
        if done.returncode != 0:  # memory below the swap limit of before: raise in the other order
            run_podman("update", "--memory-swap", f"{memory_mib}m", "--memory", f"{memory_mib}m", name, check=False)
            run_podman("update", *arguments, name)

    def limits(self, seen: Seen) -> tuple[float, int] | None:
        """Cores and MiB that the kernel enforces now."""
        return _kernel_limits(seen.id) if seen.alive else None

    def signal(self, name: str, signal: str) -> bool:
        """False where it does not run."""
        return run_podman("kill", "--signal", signal, name, check=False).returncode == 0

    def execute(self, name: str, *command: str, user: str = "root", stdin: str | None = None) -> str:
        """Run a command in a container; its output."""
        interactive = ("--interactive",) if stdin is not None else ()
        return run_podman("exec", *interactive, "--user", user, name, *command, stdin=stdin).stdout

    def logs(self, name: str, lines: int = 20) -> str:
        done = run_podman("logs", "--tail", str(lines), name, check=False)
        return (done.stdout + done.stderr).strip()

    def unanswered(self, name: str, what: str, error: Exception) -> CloudError:
        """The error of one that runs and does not answer, with the last that it said."""
        return CloudError("InternalError", f"{what} does not answer: {error}\n{self.logs(name)}")


@contextlib.contextmanager
def _machine_lock() -> Iterator[None]:
    """Podman's own files are the machine's: environments take turns at mending them."""
    with Path("/run/yiwang-podman.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def forget_before_boot() -> bool:
    """Where /run outlives a reboot, podman takes the dead for living: drop what it wrote before this boot."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    with _machine_lock():
        stale = [path for path in (_PODMAN_RUN / "alive", _ADDRESS_BOOK) if path.exists()]
        stale = [path for path in stale if path.stat().st_mtime < booted - 1]
        for path in stale:
            path.unlink()
    return bool(stale)


def _mended(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run podman; where network namespaces are gone under its containers, put empty ones there and try again."""
    for _ in range(4):
        done = run_podman(*arguments, check=False)
        missing = {Path(path) for path in _NAMESPACE.findall(done.stderr)}
        if not missing:
            break
        with _machine_lock():
            for path in missing:
                if not _is_namespace(path):
                    path.unlink(missing_ok=True)
                    subprocess.run(["ip", "netns", "add", path.name], capture_output=True, check=False)
    if done.returncode != 0:
        raise CloudError("InternalError", f"podman {arguments[0]}: {done.stderr.strip()[-600:]}")
    return done


def _is_namespace(path: Path) -> bool:
    return any(line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _process_is_of(process: int, container: str) -> bool:
    try:
        return container in Path(f"/proc/{process}/cgroup").read_text()
    except OSError:
        return False


def _tell_podman_it_died(container: str) -> None:
    """With its monitor killed too, podman waits for ever for an exit code: write it where the monitor would have."""
    code = _PODMAN_RUN / "exits" / container
    with contextlib.suppress(OSError):
        if not code.exists():
            code.write_text("137")


def _freed_leaked_address(error: str) -> bool:
    """An address held by a container that is no more: drop podman's address book, which it makes anew."""
    leaked = _LEAKED.search(error)
    if not leaked or run_podman("container", "exists", leaked[1], check=False).returncode == 0:
        return False
    with _machine_lock():
        _ADDRESS_BOOK.unlink(missing_ok=True)
    return True


def _kernel_limits(container: str) -> tuple[float, int] | None:
    folder = f"libpod_parent/libpod-{container}"
    root = Path("/sys/fs/cgroup")
    unified = root / folder
    try:
        if (unified / "cpu.max").exists():
            quota, period = (unified / "cpu.max").read_text().split()
            memory = (unified / "memory.max").read_text().strip()
        else:
            quota = (root / "cpu" / folder / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / folder / "cpu.cfs_period_us").read_text().strip()
            memory = (root / "memory" / folder / "memory.limit_in_bytes").read_text().strip()
    except OSError:
        return None
    cores = 0.0 if quota in ("max", "-1") else int(quota) / int(period)
    return cores, 0 if memory == "max" else int(memory) // 2**20


def mount_overlay(lower: Sequence[str], disk: Path) -> Path:
    """A host's disk: its image below, what it wrote in `disk/upper`. Idempotent."""
    merged = disk / "merged"
    for name in ("upper", "work", "merged"):
        (disk / name).mkdir(parents=True, exist_ok=True)
    if not os.path.ismount(merged):
        options = f"lowerdir={':'.join(lower)},upperdir={disk / 'upper'},workdir={disk / 'work'}"
        _run("mount", "-t", "overlay", "overlay", "-o", options, str(merged))
    return merged


def unmount(folder: Path) -> None:
    if os.path.ismount(folder):
        done = subprocess.run(["umount", str(folder)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CloudError("InternalError", f"{command[0]}: {done.stderr.strip()}")
