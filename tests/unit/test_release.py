"""The release: its version follows its inputs, its archive is the same everywhere, a host keeps what it needs."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from tests.integration.roles.bed import STAND_IN
from tests.playbook_plugins import load
from tools import release
from tools.release import ReleaseError, build, version_of

tree = load("modules", "release_tree")


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """Services without any library, so that nothing is fetched."""
    folder = tmp_path / "services"
    shutil.copytree(STAND_IN, folder)
    (folder / "requirements.txt").write_text("")
    return folder


def test_the_version_follows_sources_and_lock(services: Path) -> None:
    first = version_of(services)
    (services / "answer.py").write_text("CHANGED = True\n")
    second = version_of(services)
    (services / "requirements.txt").write_text("# another lock\n")
    assert len({first, second, version_of(services)}) == 3


def test_the_version_does_not_follow_what_is_not_shipped(services: Path) -> None:
    first = version_of(services)
    (services / "README.md").write_text("words")
    (services / "__pycache__").mkdir()
    (services / "__pycache__" / "answer.cpython-311.pyc").write_bytes(b"\0")
    assert version_of(services) == first


def test_a_moved_line_between_files_is_another_version(services: Path) -> None:
    (services / "one.py").write_text("a = 1\n")
    (services / "two.py").write_text("b = 2\n")
    first = version_of(services)
    (services / "one.py").write_text("a = 1\nb = 2\n")
    (services / "two.py").write_text("")
    assert version_of(services) != first


def test_the_archive_holds_the_tree_with_nothing_of_this_machine(services: Path, tmp_path: Path) -> None:
    built = build(services, tmp_path / "one")
    again = build(services, tmp_path / "two")
    assert Path(built.archive).read_bytes() == Path(again.archive).read_bytes()
    with tarfile.open(built.archive) as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert "lib/services/affairs/__main__.py" in members
    assert "lib/services/__pycache__/answer.cpython-311.pyc" in members
    assert "lib/services/pyproject.toml" not in members
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}
    assert (Path(built.tree) / "services" / "migrate.py").exists()


def test_a_build_is_found_again_and_old_ones_are_forgotten(
    services: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "KEPT_ARCHIVES", 2)
    cache = tmp_path / "cache"
    versions = []
    for number in range(3):
        (services / "number.py").write_text(f"NUMBER = {number}\n")
        versions.append(build(services, cache).version)
    assert not (cache / versions[0]).exists() and (cache / versions[2] / "release.tar.gz").exists()
    made = (cache / versions[2] / "release.tar.gz").stat().st_mtime_ns
    build(services, cache)
    assert (cache / versions[2] / "release.tar.gz").stat().st_mtime_ns == made


def test_a_library_without_its_hash_is_refused(services: Path, tmp_path: Path) -> None:
    (services / "requirements.txt").write_text("six==1.17.0\n")
    with pytest.raises(ReleaseError, match="install the libraries failed"):
        build(services, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/release.tar.gz"))


# --- on a host


@pytest.fixture
def root(tmp_path: Path, services: Path) -> Path:
    """A host with releases 1 to 4 laid down, the first three switched to in turn."""
    archive = Path(build(services, tmp_path / "cache").archive)
    root = tmp_path / "host"
    for version in "1234":
        tree.unpack(root, version, archive)
        if version != "4":
            tree.switch(root, version)
    return root


def test_switching_moves_the_link_and_remembers_what_ran_before(root: Path) -> None:
    assert (root / "current").readlink() == Path("releases/3")
    assert (root / "current" / "lib" / "services" / "answer.py").exists()
    assert (tree.current_of(root), tree.previous_of(root)) == ("3", "2")


def test_what_runs_and_what_a_rollback_takes_are_kept(root: Path) -> None:
    assert tree.forget(root, keep=3) == ["1"]
    assert sorted(tree.kept(root)) == ["2", "3", "4"]
    tree.forget(root, keep=1)
    assert sorted(tree.kept(root)) == ["2", "3"]


def test_an_interrupted_unpacking_is_no_release(root: Path) -> None:
    (root / "releases" / ".5").mkdir()
    assert "5" not in tree.kept(root) and ".5" not in tree.kept(root)
