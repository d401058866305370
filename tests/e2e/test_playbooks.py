"""The playbooks natively: a second run changes nothing, check mode names what a hand has changed, a run mends it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from infra.engine import REPOSITORY
from tests.e2e.conftest import Living
from tools.deployment import RECAP, play, variables

HOST = "cell-a-application-1"
DRIFTED = "/etc/yiwang/affairs.env"


def check_mode(living: Living) -> dict[str, int]:
    """Tasks that would change something, by host."""
    program = Path(sys.executable).parent / "ansible-playbook"
    ran = subprocess.run(
        [program, "playbooks/site.yml", "--check"],
        cwd=REPOSITORY,
        env={**variables(living.engine), "ANSIBLE_NOCOLOR": "1", "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-1000:]
    return {match["host"]: int(match["changed"]) for match in RECAP.finditer(ran.stdout)}


@pytest.mark.timeout(300)
def test_a_second_run_changes_nothing_on_any_host(living: Living) -> None:
    play(living.engine, "site.yml", io.StringIO())
    recap = play(living.engine, "site.yml", io.StringIO())
    hosts = {host.name for cell in living.outputs.cells for host in cell.hosts}
    assert hosts <= set(recap.changed)
    assert not any(recap.changed.values()), recap.changed


@pytest.mark.timeout(300)
def test_check_mode_names_the_drifted_host_and_a_run_mends_it(living: Living) -> None:
    before = living.on_host(HOST, f"cat {DRIFTED}").stdout
    living.on_host(HOST, f"echo YIWANG_PORT=1 >> {DRIFTED}")
    would_change = check_mode(living)
    assert would_change.pop(HOST) >= 1
    assert not any(would_change.values()), would_change
    assert living.on_host(HOST, f"cat {DRIFTED}").stdout != before, "check mode must not touch it"
    assert play(living.engine, "site.yml", io.StringIO()).changed[HOST] >= 1
    assert living.on_host(HOST, f"cat {DRIFTED}").stdout == before


def test_the_inventory_shows_environment_cells_and_roles(living: Living) -> None:
    program = Path(sys.executable).parent / "ansible-inventory"
    ran = subprocess.run(
        [program, "--graph"],
        cwd=REPOSITORY,
        env={**variables(living.engine), "HOME": str(Path.home())},
        capture_output=True,
        text=True,
        check=True,
    )
    for group in (living.name.replace("-", "_"), "cell_core", "cell_a", "gateway", "application"):
        assert f"@{group}:" in ran.stdout
