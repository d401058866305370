"""A host's /proc tells of the host, not of the machine beneath; and comes back when what serves it dies."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud.records import Record
from infra.local.images import BASE_IMAGE
from tests.integration.cloud.site import ENVIRONMENT, Site
from tests.support.waiting import wait_until

BLIND = "without-view"
ENOUGH_JIFFIES = 40


def jiffies(site: Site, host: str) -> tuple[int, int]:
    """Of all its processors since it began: at work, and in all."""
    user, nice, system, idle, waiting, *others = map(int, site.on(host, "head", "-1", "/proc/stat").stdout.split()[1:])
    at_work = user + nice + system + sum(others)
    return at_work, at_work + idle + waiting


def use(site: Site, host: str) -> float:
    """Share of its time at work, from now on until enough of it has passed to tell."""
    before = jiffies(site, host)

    def passed() -> tuple[int, int] | None:
        at_work, total = (now - then for now, then in zip(jiffies(site, host), before, strict=True))
        return (at_work, total) if total >= ENOUGH_JIFFIES else None

    at_work, total = wait_until(passed, 60, f"time passes on {host}", every=0.5) or (0, 1)
    return at_work / total


def memory_kib(text: str) -> int:
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("MemTotal:")))


@pytest.fixture
def busy(site: Site, application: Record[Any]) -> Iterator[Record[Any]]:
    site.on("application", "systemd-run", "--unit", "busy", "sh", "-c", "while :; do :; done")
    yield application
    site.on("application", "systemctl", "stop", "busy")


def test_a_busy_host_is_busy_by_its_own_account_and_an_idle_one_is_idle(
    site: Site, busy: Record[Any], gateway: Record[Any]
) -> None:
    wait_until(lambda: use(site, "application") > 0.9, 60, "the busy host says so")
    wait_until(lambda: use(site, "gateway") < 0.2, 60, "the idle host has booted and says so")
    assert site.on("gateway", "systemctl", "--failed", "--quiet", check=False).stdout == ""


def test_a_host_has_the_memory_of_its_type(site: Site, application: Record[Any]) -> None:
    assert memory_kib(site.on("application", "cat", "/proc/meminfo").stdout) == 1024 * 1024


def test_without_the_view_the_same_questions_are_answered_for_the_machine(site: Site, application: Record[Any]) -> None:
    """The twin: the image and limits of a host, its /proc as Podman leaves it."""
    name = f"yw-{ENVIRONMENT}-{BLIND}"
    limits = ["--cpus", "0.18", "--memory", "1024m", "--network", "none"]
    run = ["podman", "run", "--detach", "--rm", "--name", name, "--label", f"yiwang.environment={ENVIRONMENT}"]
    subprocess.run([*run, *limits, BASE_IMAGE, "sleep", "infinity"], check=True, capture_output=True)
    try:
        machine = Path("/proc/stat")
        before = sum(map(int, machine.read_text().splitlines()[0].split()[1:]))
        _, seen = jiffies(site, BLIND)
        _, own = jiffies(site, "application")
        after = sum(map(int, machine.read_text().splitlines()[0].split()[1:]))
        assert before <= seen <= after
        assert own < before
        assert memory_kib(site.on(BLIND, "cat", "/proc/meminfo").stdout) == memory_kib(
            Path("/proc/meminfo").read_text()
        )
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "0", name], check=True, capture_output=True)


def test_when_the_view_dies_the_hosts_are_run_again_with_their_disks(
    site: Site, application: Record[Any], gateway: Record[Any]
) -> None:
    site.on("application", "touch", "/root/before-the-view-died")
    (process,) = site.cloud.host_view.processes()
    process.kill()
    wait_until(lambda: not process.is_running() or not site.cloud.host_view.answers(), 10, "it is dead")
    blind = site.on("application", "cat", "/proc/uptime", check=False)
    assert "Transport endpoint is not connected" in blind.stderr
    assert not site.cloud.is_up()

    done = site.cloud.start()

    assert {"hosts' view of themselves", "Host application", "Host gateway"} <= set(done)
    assert site.on("application", "cat", "/proc/uptime").stdout
    assert site.on("application", "test", "-e", "/root/before-the-view-died").returncode == 0
    assert len(site.cloud.host_view.processes()) == 1
    assert site.cloud.is_up()
    assert site.cloud.start() == []
