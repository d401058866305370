"""Start heals, stop removes, data stays."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from typing import Any

import pytest

from infra.local.cloud.cloud import Cloud
from infra.local.cloud.containers import mount_overlay, unmount
from infra.local.cloud.errors import CloudError
from infra.local.cloud.records import Record
from infra.local.cloud.specs.buckets import UserSpec
from tests.integration.cloud.site import ENVIRONMENT, Site, containers, owner
from tests.support.waiting import wait_until


def processes(site: Site) -> list[int]:
    """Keeper, what serves the hosts' view of themselves, every container's first process and its monitor."""
    template = "{{.State.ConmonPid}} {{.State.Pid}}"
    inspect = subprocess.run(
        ["podman", "inspect", "-f", template, *containers()], capture_output=True, text=True, check=True
    )
    beside = [*site.cloud.keeper.processes(), *site.cloud.host_view.processes()]
    # the keeper first, or it would begin to heal
    return [process.pid for process in beside] + [int(pid) for pid in inspect.stdout.split() if int(pid) > 1]


def left_on_the_machine(site: Site) -> list[str]:
    """Whatever of the environment runs or is set up on the machine."""
    networks = subprocess.run(["podman", "network", "ls", "-q"], capture_output=True, text=True, check=True).stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout
    with open("/proc/mounts") as mounts:  # noqa: PTH123 - not a file to be read by path
        mounted = [line for line in mounts if f"yiwang-{ENVIRONMENT}/" in line]
    set_up = [line for line in networks.split() if line == f"yw-{ENVIRONMENT}"]
    set_up += [line for line in tables.splitlines() if line.endswith("yw_test_cloud")]
    processes = [*site.cloud.host_view.processes(), *site.cloud.keeper.processes()]
    return containers() + set_up + mounted + [str(process) for process in processes]


@pytest.fixture(scope="module")
def marked(site: Site, database: Record[Any], application: Record[Any], redis_cache: Record[Any]) -> Record[Any]:
    """A row in a database, a file on a host and a line of its journal, which must outlive everything."""
    site.account(database.id, "keeper")
    connection = site.connect(database, "keeper", "postgres")
    connection.run("CREATE TABLE IF NOT EXISTS kept (id int)")
    connection.run("INSERT INTO kept VALUES (1)")
    connection.close()
    site.on("application", "touch", "/root/kept")
    site.cloud.start()  # and with it the keeper
    site.on("application", "logger", "--tag", "keeper", "kept")
    wait_until(lambda: journal(site), 10, "the journal has the line")
    return database


def journal(site: Site) -> bool:
    command = ("journalctl", "--quiet", "--identifier", "keeper", "--output", "cat", "--no-pager")
    return "kept" in site.on("application", *command, check=False).stdout.split()


def all_is_there(site: Site, database: Record[Any]) -> bool:
    connection = site.connect(database, "keeper", "postgres")
    rows = connection.run("SELECT count(*) FROM kept")
    connection.close()
    running = [status for status in site.cloud.status() if status.state in ("Missing", "Stopped")]
    kept = site.on("application", "test", "-e", "/root/kept").returncode == 0 and journal(site)
    return rows == [[1]] and kept and not running


def test_start_changes_nothing_when_all_runs(site: Site, marked: Record[Any]) -> None:
    assert site.cloud.is_up()
    assert site.cloud.start() == []
    differing = [record for record in site.cloud.inventory() if site.cloud.kind(record.kind).read(record.id) != record]
    assert differing == []


def test_start_heals_after_every_process_was_killed(site: Site, marked: Record[Any]) -> None:
    for process in processes(site):
        os.kill(process, signal.SIGKILL)
    wait_until(
        lambda: not [status for status in site.cloud.status() if status.state == "Running"], 10, "everything is dead"
    )
    assert not site.cloud.is_up()
    assert site.cloud.start() != []
    assert all_is_there(site, marked)
    assert site.cloud.start() == []


def test_stop_leaves_nothing_and_start_brings_it_back(site: Site, marked: Record[Any]) -> None:
    assert [line for line in left_on_the_machine(site) if "fuse.lxcfs" in line or "psutil.Process" in line]
    site.cloud.stop()
    assert left_on_the_machine(site) == []
    assert not site.cloud.is_up()
    assert {status.state for status in site.cloud.status() if status.kind == "Host"} == {"Stopped"}
    with pytest.raises(CloudError) as refusal:
        site.cloud.users.create(owner("while stopped"), UserSpec("nobody"))
    assert refusal.value.code == "Environment.Stopped"
    # What is stopped is not gone: a refresh must not take it for deleted.
    assert all(site.cloud.kind(record.kind).read(record.id) is not None for record in site.cloud.inventory())
    Cloud(site.folder / "cloud", ENVIRONMENT).start()
    assert all_is_there(site, marked)


def test_a_single_host_that_was_removed_is_gone_and_healed_by_start(site: Site, marked: Record[Any]) -> None:
    name = f"yw-{ENVIRONMENT}-application"
    host = site.known("Host", "application")
    subprocess.run(["podman", "rm", "-f", "-t", "0", name], check=True, capture_output=True)
    assert site.cloud.is_up()  # drift, not down
    assert site.cloud.hosts.read(host.id) is None
    assert [status.state for status in site.cloud.status() if status.id == host.id] == ["Missing"]
    assert site.cloud.start() == ["Host application"]
    assert site.cloud.hosts.read(host.id) is not None


def test_start_makes_a_host_of_a_former_shape_anew_with_what_its_disk_lacks(site: Site, marked: Record[Any]) -> None:
    """It runs, its resolver beside its disk and its journal in memory, as hosts did before both lay on the disk."""
    hosts, name = site.cloud.hosts, f"yw-{ENVIRONMENT}-application"
    record = next(record for record in hosts.list() if record.spec.name == "application")
    disk = hosts.folder(record) / "disk"
    with site.cloud.keeper.held():
        hosts.context.containers.remove(name)
        unmount(disk / "merged")
        (disk / "upper/etc/resolv.conf").unlink()
        mount_overlay(hosts._lower(record), disk)
        wanted = hosts._container(record)
        options = [*wanted.options]
        options[options.index("--dns") + 1] = "10.213.9.9"
        journal_at = next(at for at, option in enumerate(options) if option.endswith(":/var/log/journal"))
        former = (*options[: journal_at - 1], *options[journal_at + 1 :])
        assert hosts.context.containers.ensure(dataclasses.replace(wanted, options=former))
    assert site.cloud.start() == ["Host application"]
    resolver = site.on("application", "cat", "/etc/resolv.conf").stdout.splitlines()
    assert resolver == [f"nameserver {site.cloud.name_servers[0]}"]
    assert all_is_there(site, marked)
