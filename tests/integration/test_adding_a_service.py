"""A service is added to a copy of the repository, as `docs/adding-a-service.md` says, and every stage knows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.engine import REPOSITORY

LISTING = REPOSITORY / "docs" / "examples" / "bulletin.md"
FILE = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSERTION = re.compile(r"^`([\w./-]+)`, [^\n]+\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BEFORE = {"infra/services.py": "\nSERVICES = (\n", "monitoring/slo.yaml": "\nservices:\n"}
MOST_PLACES = 4

pytestmark = pytest.mark.timeout(300, func_only=True)


@dataclass(frozen=True)
class Copy:
    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=280
        )

    def tests(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        quiet = ("-q", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning")
        return self.run(sys.executable, "-m", "pytest", *quiet, *arguments)

    def add(self) -> None:
        """Lays down the files of the listing, and its insertions."""
        listing = LISTING.read_text()
        for name, text in FILE.findall(listing):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, text in INSERTION.findall(listing):
            path = self.folder / name
            assert path.read_text().count(BEFORE[name]) == 1
            path.write_text(path.read_text().replace(BEFORE[name], BEFORE[name] + text))

    def changed(self) -> set[str]:
        """What `git status` shows, a new folder as one."""
        lines = self.run("git", "status", "--short").stdout.splitlines()
        return {line[3:] for line in lines}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """The repository as it is now, with everything committed."""
    folder = tmp_path_factory.mktemp("added") / "copy"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, folder / name)
    made = Copy(folder)
    author = ("-c", "user.name=copy", "-c", "user.email=copy@localhost", "-c", "commit.gpgsign=false")
    for command in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "copy")):
        done = made.run("git", *command)
        assert done.returncode == 0, done.stderr
    made.add()
    yield made
    shutil.rmtree(folder)


def test_a_service_is_its_folder_and_at_most_four_places(copy: Copy) -> None:
    changed = copy.changed()
    assert "services/bulletin/" in changed
    assert len(changed - {"services/bulletin/"}) <= MOST_PLACES, changed


def test_every_stage_knows_it(copy: Copy) -> None:
    done = copy.tests("tests/integration/added_service/checks.py")
    assert done.returncode == 0, done.stdout[-6000:]


def test_what_holds_of_every_service_holds_of_it(copy: Copy) -> None:
    held = (
        "tests/unit/infra/test_services_table.py",
        *("tests/unit/monitoring/test_rules.py", "tests/unit/monitoring/test_objectives.py"),
        *("tests/unit/monitoring/test_monitoring_render.py", "tests/unit/playbooks/test_playbook_filters.py"),
        *(f"tests/contract/test_{name}.py" for name in ("outputs", "module_shape", "imports", "lists")),
        "tests/contract/test_monitoring_metrics.py",
        "tests/contract/test_monitoring_rules.py::test_the_configuration_and_its_rules_hold",
        *(
            f"tests/contract/test_monitoring_rules.py::test_alerts_are_silent_before_their_fault_and_told_after_it[{name}]"
            for name in ("bulletin.yml", "quiet.yml")
        ),
        "tests/contract/test_monitoring_rules.py::test_every_alert_is_tested_for_silence_and_for_being_told",
        "tests/contract/test_fresh_series.py::test_a_fresh_process_tells_as_many_series_as_are_worked_out[bulletin]",
        "tests/integration/test_migrations.py::test_revisions_are_one_line_and_only_expand[bulletin]",
    )
    done = copy.tests(*held)
    assert done.returncode == 0, done.stdout[-6000:]


def test_a_service_that_lacks_a_part_is_seen(copy: Copy) -> None:
    """The twin: without its rights nothing is granted, and without its alert's page it is not whole."""
    rights, page = (
        copy.folder / "services/bulletin" / name for name in ("migrations/rights.py", "watch/NoticesForged.md")
    )
    kept = rights.read_text(), page.read_text()
    rights.write_text("RIGHTS = ()\n")
    page.unlink()
    try:
        granted = copy.tests("tests/integration/added_service/checks.py", "-k", "granted")
        paged = copy.tests("tests/contract/test_monitoring_metrics.py", "-k", "page")
        assert granted.returncode == paged.returncode == 1
    finally:
        rights.write_text(kept[0])
        page.write_text(kept[1])
