"""What dies comes back by itself; what was removed or changed by hand does not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.cloud import keeper, keeping
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.keeping import Patience, keep, keep_once
from infra.local.cloud.records import Record
from tests.integration.cloud.site import ENVIRONMENT, Site
from tests.support.waiting import wait_until

SECONDS = 30
"""Within which the cloud has a managed instance, a balancer or a host back."""


@pytest.fixture(scope="module")
def kept(
    site: Site, application: Record[Any], database: Record[Any], redis_cache: Record[Any], balancer: Record[Any]
) -> Iterator[Site]:
    """Every kind of thing that runs, and a keeper."""
    site.bucket()
    site.cloud.start()
    yield site


def dead(site: Site) -> list[str]:
    return [name for name, seen in site.cloud.seen().items() if not seen.alive]


def told(site: Site) -> list[str]:
    return [entry["thing"] for entry in site.cloud.keeper.history() if entry["result"] == "run again"]


def kill(*names: str) -> None:
    subprocess.run(["podman", "kill", "--signal", "KILL", *names], check=True, capture_output=True)


def test_every_kind_of_thing_that_is_killed_comes_back(kept: Site) -> None:
    before = {name: seen.id for name, seen in kept.cloud.seen().items()}
    kinds = {thing.label.split()[0] for thing in kept.cloud.running()}
    assert kinds == {"name", "Host", "DatabaseInstance", "Cache", "Balancer", "object", "front"}
    line = "options timeout:1 attempts:2"
    kept.on("application", "sh", "-c", f"echo '{line}' >> /etc/resolv.conf")
    kill(*before)
    wait_until(lambda: before.keys() == kept.cloud.seen().keys() and not dead(kept), SECONDS, "all run again")
    assert not before.items() & {name: seen.id for name, seen in kept.cloud.seen().items()}.items()
    labels = {thing.label for thing in kept.cloud.running()}
    wait_until(lambda: labels <= set(told(kept)), 10, "what was done is written")
    resolver = kept.on("application", "cat", "/etc/resolv.conf").stdout.splitlines()
    assert resolver == [f"nameserver {kept.cloud.name_servers[0]}", line], "a host's resolver is of its own disk"


def test_what_a_service_consists_of_may_die_alone(kept: Site) -> None:
    """The object store's program dies beneath its HAProxy, which then ends, too."""
    name = f"yw-{ENVIRONMENT}-object-store"
    before = kept.cloud.seen()[name].id
    subprocess.run(["podman", "exec", name, "pkill", "-KILL", "versitygw"], check=True, capture_output=True)

    def is_back() -> bool:
        seen = kept.cloud.seen().get(name)
        return seen is not None and seen.alive and seen.id != before

    wait_until(is_back, SECONDS, "it is back")


def test_while_it_is_held_the_dead_stay_dead(kept: Site) -> None:
    """The twin, too: nothing else would bring them back."""
    name = f"yw-{ENVIRONMENT}-name-server"
    with kept.cloud.keeper.held():
        kill(name)
        wait_until(lambda: dead(kept) == [name], 10, "it is dead")
        waiting, _ = keep_once(kept.cloud, Patience())
        assert waiting
        assert dead(kept) == [name]
    wait_until(lambda: not dead(kept), SECONDS, "it is back")


def test_what_was_removed_or_changed_by_hand_stays_so(kept: Site) -> None:
    host, cache = f"yw-{ENVIRONMENT}-application", f"yw-{ENVIRONMENT}-gateway"
    with kept.cloud.keeper.held():
        subprocess.run(["podman", "rm", "-f", "-t", "0", host], check=True, capture_output=True)
        subprocess.run(["podman", "update", "--cpus", "0.1", cache], check=True, capture_output=True)
        kill(f"yw-{ENVIRONMENT}-front-door")
    wait_until(lambda: not dead(kept), SECONDS, "what died beside them is back")
    assert host not in kept.cloud.seen()
    assert kept.cloud.hosts.context.containers.limits(kept.cloud.seen()[cache])[0] == 0.1  # type: ignore[index]
    assert set(kept.cloud.start()) == {"Host application", "Host gateway"}


def test_there_is_one_and_a_killed_or_outdated_one_is_replaced_by_start(
    kept: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (process,) = kept.cloud.keeper.processes()
    assert not kept.cloud.keeper.ensure()
    process.kill()
    process.wait(10)
    assert kept.cloud.start() == ["keeper"]
    (process,) = kept.cloud.keeper.processes()
    monkeypatch.setattr(keeper, "code_version", lambda: "of another code")
    assert kept.cloud.start() == ["keeper"]
    assert process.pid not in [successor.pid for successor in kept.cloud.keeper.processes()]
    monkeypatch.undo()
    assert kept.cloud.start() == ["keeper"]


def test_one_of_a_folder_that_was_made_anew_is_replaced(tmp_path: Path) -> None:
    """It would go by the records of the folder that was removed beneath it."""
    folder = tmp_path / "cloud"
    assert Cloud(folder, "test-anew").keeper.ensure()
    wait_until((folder / "locks" / "keeper.lock").exists, 30, "it is at work")
    (stale,) = Cloud(folder, "test-anew").keeper.processes()
    shutil.rmtree(folder)
    anew = Cloud(folder, "test-anew").keeper
    try:
        assert anew.ensure() and not anew.ensure()
        assert stale.pid not in [process.pid for process in anew.processes()]
    finally:
        anew.end()


def test_it_goes_on_after_what_nobody_foresaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, looks = Cloud(tmp_path, "test-odd"), 0

    def odd(cloud: Cloud, patience: Patience) -> tuple[bool, list[int]]:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise KeyError("Names")
        shutil.rmtree(tmp_path)
        return False, []

    monkeypatch.setattr(keeping, "keep_once", odd)
    monkeypatch.setattr(keeping, "LOOK_SECONDS", 0.01)
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr(keeping, "_write", lambda log, *entry: told.append(entry))
    keep(cloud)
    assert looks == 3 and told == [("keeper", "failed", "'Names'")] * 2
