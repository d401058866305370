"""`tools/bootstrap` on machines that are not fit: one clear message, the way out, and nothing half done."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass
class Clone:
    """A clone with just what bootstrap reads, and programs that stand before the machine's own on PATH."""

    root: Path
    programs: Path

    def program(self, name: str, script: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def bootstrap(self, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{self.programs}:{os.environ['PATH']}", **variables}
        return subprocess.run(
            ["/bin/sh", str(self.root / "tools" / "bootstrap")],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    root, programs = tmp_path / "clone", tmp_path / "programs"
    (root / "tools").mkdir(parents=True)
    programs.mkdir()
    shutil.copy(REPOSITORY / "tools" / "bootstrap", root / "tools" / "bootstrap")
    (root / "tools" / "packages.txt").write_text("# packages\nno-such-package-of-debian\n")
    (root / "tools" / "uv.txt").write_text("uv==0.0.0 --hash=sha256:" + "0" * 64 + "\n")
    (root / "requirements.txt").write_text("six==1.16.0 --hash=sha256:" + "0" * 64 + "\n")
    return Clone(root, programs)


def test_without_root_nothing_is_begun(clone: Clone) -> None:
    clone.program("id", "echo 1000")
    ran = clone.bootstrap()
    assert ran.returncode == 1
    assert "root is needed" in ran.stderr
    assert "sudo" in ran.stderr
    assert not (clone.root / ".venv").exists()


def test_too_little_disk_names_both_figures(clone: Clone) -> None:
    clone.program("df", "echo Avail; echo 3G")
    ran = clone.bootstrap()
    assert ran.returncode == 1
    assert "3 GiB free" in ran.stderr
    assert "15 GiB" in ran.stderr
    assert not (clone.root / ".venv").exists()


def test_a_mirror_that_fails_names_the_packages_and_leaves_no_policy_behind(clone: Clone, tmp_path: Path) -> None:
    policy = Path("/usr/sbin/policy-rc.d")
    before = policy.exists()
    clone.program("apt-get", 'case "$1" in update) exit 0;; esac; echo "E: Failed to fetch some.deb"; exit 100')
    ran = clone.bootstrap(TMPDIR=str(tmp_path))
    assert ran.returncode == 1
    assert "Failed to fetch some.deb" in ran.stderr
    assert "the Debian mirror failed while installing: no-such-package-of-debian" in ran.stderr
    assert "run the same command again" in ran.stderr
    assert policy.exists() == before
    assert not (clone.root / ".venv").exists()


def test_a_package_index_that_fails_can_be_tried_again(clone: Clone, tmp_path: Path) -> None:
    (clone.root / "tools" / "packages.txt").write_text("# none\n")
    closed_port = "http://127.0.0.1:9/simple"
    ran = clone.bootstrap(PIP_INDEX_URL=closed_port, PIP_RETRIES="0", PIP_TIMEOUT="2", TMPDIR=str(tmp_path))
    assert ran.returncode == 1
    assert "the Python package index failed" in ran.stderr
    assert not list((clone.root / ".venv").glob(".lock-*")), "a failed installation must not count as done"
