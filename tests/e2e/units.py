"""What runs on the hosts of a living environment: each unit's process, and the release that it runs from."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.support.living import Living

TELL = """
for unit in $(systemctl list-units --type service --state running --plain --no-legend \\
        'yiwang-*' pgbouncer.service haproxy.service 'prometheus*' | cut -d ' ' -f 1); do
    pid=$(systemctl show -P MainPID $unit)
    echo $unit $pid $(readlink /proc/$pid/cwd || echo ended)
done
"""
RELEASES = "/opt/yiwang/releases/"

Unit = tuple[str, str]
"""A host and the name of a unit on it."""


def main_pids(living: Living) -> dict[Unit, str]:
    """The main process of every unit of ours that runs, on every host: another process is a restart."""
    return {unit: pid for unit, (pid, _) in _running(living).items()}


def releases(living: Living) -> dict[Unit, str]:
    """The release of every unit that runs from one. A unit enters it once, at its start."""
    folders = {unit: folder for unit, (_, folder) in _running(living).items()}
    return {
        unit: folder.removeprefix(RELEASES).partition("/")[0]
        for unit, folder in folders.items()
        if folder.startswith(RELEASES)
    }


def _running(living: Living) -> dict[Unit, tuple[str, str]]:
    """Main process and working directory of units, asked of all hosts at once."""
    hosts = [host.name for cell in living.outputs.cells for host in cell.hosts]
    with ThreadPoolExecutor(len(hosts)) as pool:
        told = pool.map(lambda host: living.on_host(host, TELL), hosts)
    running = {}
    for host, answer in zip(hosts, told, strict=True):
        assert answer.returncode == 0, f"{host}: {answer.stderr}"
        for line in answer.stdout.splitlines():
            unit, pid, folder = line.split(" ", 2)
            running[host, unit.removesuffix(".service")] = (pid, folder)
    return running
