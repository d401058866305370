"""What a host sees of itself in /proc: its own processors, memory and use, by lxcfs, one process an environment.

A virtual machine's /proc tells of the machine that was bought; a container's tells of everything beneath it. So lxcfs's
files are mounted over those of each host's /proc, and whatever measures a host there tells the truth.
Where lxcfs dies, the files that it served cannot be read any more, nor replaced in a host that runs. So each process of
it serves a folder with a name of its own, which is part of a host's container: a host with another's is run anew.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
from pathlib import Path

import psutil
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from infra.local.cloud.context import Context
from infra.local.cloud.errors import CloudError

FILES = ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime")
_FACT = "host-view"


class HostView:
    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def folder(self) -> Path:
        return self._context.root / "view"

    def options(self) -> tuple[str, ...]:
        """Mounts of a host; lxcfs runs once they are asked for."""
        self.ensure()
        served = self.folder / str(self._context.store.fact(_FACT)) / "proc"
        return tuple(option for name in FILES for option in ("--volume", f"{served / name}:/proc/{name}:ro"))

    def answers(self) -> bool:
        served = self._context.store.fact(_FACT)
        if not served or self.folder / served not in _mounts(self.folder):
            return False
        with contextlib.suppress(OSError):
            return bool((self.folder / served / "proc" / "uptime").read_text())
        return False

    def ensure(self) -> bool:
        """Make lxcfs run; True where it did not. Hosts that run look into the void of the one before."""
        with self._context.store.lock("host-view"):
            if self.answers():
                return False
            self._end()
            self._begin()
            return True

    def end(self) -> None:
        with self._context.store.lock("host-view"):
            self._end()

    def processes(self) -> list[psutil.Process]:
        """Those of this environment, told by the folder that they serve."""
        ours = f"{self.folder}/"
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if (command := process.info["cmdline"]) and "lxcfs" in command[0] and command[-1].startswith(ours)
        ]

    def _begin(self) -> None:
        if shutil.which("lxcfs") is None:
            raise CloudError(
                "Machine.PackageMissing", "lxcfs is not installed: make up installs it (tools/packages.txt)"
            )
        name = secrets.token_hex(4)
        served, log = self._context.folder("view", name), self.folder / "lxcfs.log"
        command = [
            "lxcfs",
            "--foreground",
            "--enable-cfs",
            "--enable-loadavg",
            "--pidfile",
            f"{served}.pid",
            str(served),
        ]
        with log.open("w") as output:
            # In a session of its own: it outlives the command that happened to need it first.
            subprocess.run(
                ["setsid", "--fork", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True
            )
        self._context.store.set_fact(_FACT, name)
        again = retry(
            stop=stop_after_delay(10),
            wait=wait_fixed(0.05),
            retry=retry_if_result(lambda answers: not answers),
            retry_error_callback=lambda _: False,
        )
        if not again(self.answers)():
            said = "\n".join(log.read_text().splitlines()[-5:])
            raise CloudError("InternalError", f"lxcfs does not serve {served} (is there /dev/fuse?)\n{said}")

    def _end(self) -> None:
        running = self.processes()
        for process in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()  # it holds nothing, and asked kindly it first finishes its round of load averages
        psutil.wait_procs(running, timeout=10)
        for mount in _mounts(self.folder):
            subprocess.run(["umount", "--lazy", str(mount)], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._context.store.set_fact(_FACT, "")


def _mounts(folder: Path) -> list[Path]:
    """Mount points below a folder, by the kernel's list: one whose server died cannot be looked at."""
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.is_relative_to(folder)]
