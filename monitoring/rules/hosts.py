"""Hosts: how full each is. A host's own limits are what its /proc tells."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.objectives import Objectives
from monitoring.rules.model import Alert, Group, Recording

BY_HOST = "by (cell, role, host)"


def groups(objectives: Objectives) -> list[Group]:
    return [Group("hosts", [*use(), *alerts(objectives)])]


def use() -> Iterator[Recording]:
    idle = f'sum {BY_HOST} (rate(node_cpu_seconds_total{{mode=~"idle|iowait"}}[1m]))'
    yield Recording("host:cpu_use:ratio_rate1m", f"1 - {idle} / sum {BY_HOST} (rate(node_cpu_seconds_total[1m]))")
    memory = "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"
    yield Recording("host:memory_use:ratio", f"1 - max {BY_HOST} ({memory})")
    # as df counts: what the file system keeps for itself is neither used nor to be had
    used = "(node_filesystem_size_bytes - node_filesystem_free_bytes)"
    yield Recording("host:disk_use:ratio", f"max {BY_HOST} ({used} / ({used} + node_filesystem_avail_bytes))")


def alerts(objectives: Objectives) -> Iterator[Alert]:
    limits = objectives.saturation
    # a deployment keeps a small host busy for a minute or two, and that is nobody's business
    yield _full("HostCpuSaturated", "host:cpu_use:ratio_rate1m", limits.host_cpu, "processor", lasting="5m")
    yield _full("HostMemorySaturated", "host:memory_use:ratio", limits.host_memory, "memory", lasting="1m")
    yield _full("HostDiskFilling", "host:disk_use:ratio", limits.host_disk, "disk", lasting="1m")


def _full(name: str, recording: str, limit: float, what: str, lasting: str) -> Alert:
    return Alert(
        name,
        f"{recording} > {limit:g}",
        "ticket",
        "host",
        f"{{{{ $labels.host }}}} is short of {what}",
        f"In use: {{{{ $value | humanizePercentage }}}} of its {what} (limit {limit:.0%}).",
        lasting=lasting,
    )
