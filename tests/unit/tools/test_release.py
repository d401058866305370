"""The release: its version follows its inputs, its archive is the same everywhere, a host keeps what it needs."""

from __future__ import annotations

import ast
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.playbook_plugins import load
from tests.support.shipped import copy_sources
from tools import release
from tools.release import ReleaseError, build, version_of

tree = load("modules", "release_tree")
OURS = ("infra", "services", "monitoring", "loadtests", "tools", "playbooks", "tests")


def without_libraries(folder: Path) -> Path:
    """Services and exporters without any library, so that nothing is fetched."""
    copy_sources(folder)
    (folder / release.LOCK).write_text("")
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return without_libraries(tmp_path / "source")


@pytest.fixture
def services(source: Path) -> Path:
    return source / "services"


def test_the_version_follows_sources_and_lock(source: Path, services: Path) -> None:
    first = version_of(source)
    (services / "migrate.py").write_text("CHANGED = True\n")
    second = version_of(source)
    (services / "requirements.txt").write_text("# another lock\n")
    assert len({first, second, version_of(source)}) == 3


def test_the_version_does_not_follow_what_is_not_shipped(source: Path, services: Path) -> None:
    first = version_of(source)
    (services / "README.md").write_text("words")
    (services / "__pycache__").mkdir()
    (services / "__pycache__" / "migrate.cpython-311.pyc").write_bytes(b"\0")
    (source / "monitoring" / "render.py").write_text("what the controller alone runs")
    assert version_of(source) == first


def test_the_version_follows_exporters_and_receiver(source: Path) -> None:
    versions = {version_of(source)}
    for name in ("exporters/pgbouncer.py", "receiver.py", "pyproject.toml"):
        with (source / "monitoring" / name).open("a") as file:
            file.write("# changed\n")
        versions.add(version_of(source))
    assert len(versions) == 4


def test_a_moved_line_between_files_is_another_version(source: Path, services: Path) -> None:
    (services / "one.py").write_text("a = 1\n")
    (services / "two.py").write_text("b = 2\n")
    first = version_of(source)
    (services / "one.py").write_text("a = 1\nb = 2\n")
    (services / "two.py").write_text("")
    assert version_of(source) != first


def test_the_archive_holds_the_tree_with_nothing_of_this_machine(source: Path, tmp_path: Path) -> None:
    built = build(source, tmp_path / "one")
    again = build(source, tmp_path / "two")
    assert Path(built.archive).read_bytes() == Path(again.archive).read_bytes()
    with tarfile.open(built.archive) as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert "lib/services/affairs/__main__.py" in members
    assert "lib/services/__pycache__/migrate.cpython-311.pyc" in members
    assert {"lib/monitoring/exporters/tenants.py", "lib/monitoring/receiver.py"} <= set(members)
    assert "lib/monitoring/__pycache__/receiver.cpython-311.pyc" in members
    assert "lib/services/pyproject.toml" not in members and "lib/monitoring/pyproject.toml" not in members
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}
    assert (Path(built.tree) / "services" / "migrate.py").exists()


def test_a_build_is_found_again_and_old_ones_are_forgotten(
    source: Path, services: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "KEPT_ARCHIVES", 2)
    cache = tmp_path / "cache"
    versions = []
    for number in range(3):
        (services / "number.py").write_text(f"NUMBER = {number}\n")
        versions.append(build(source, cache).version)
    assert not (cache / versions[0]).exists() and (cache / versions[2] / "release.tar.gz").exists()
    made = (cache / versions[2] / "release.tar.gz").stat().st_mtime_ns
    build(source, cache)
    assert (cache / versions[2] / "release.tar.gz").stat().st_mtime_ns == made


def test_of_monitoring_hosts_get_what_the_version_follows(tmp_path: Path) -> None:
    """The real folders: the wheel's own list and the one that the hash goes by say the same."""
    wheel = release._wheel(release.SOURCE / "monitoring", tmp_path)
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("monitoring/")}
    hashed = {path.relative_to(release.SOURCE).as_posix() for path in release.sources(release.SOURCE)}
    assert packed == {name for name in hashed if name.startswith("monitoring/")} - {"monitoring/pyproject.toml"}
    assert {"monitoring/exporters/pgbouncer.py", "monitoring/exporters/tenants.py", "monitoring/receiver.py"} <= packed
    assert "monitoring/render.py" not in packed


def missing_modules(folder: Path) -> set[str]:
    """Modules of ours that something in the folder imports and hosts do not get."""
    shipped = {path.relative_to(folder).with_suffix("").as_posix() for path in release.sources(folder)}
    shipped |= {name.removesuffix("/__init__") for name in shipped}
    imported = set()
    for path in release.sources(folder):
        for node in ast.walk(ast.parse(path.read_text())) if path.suffix == ".py" else ():
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
            elif isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
    ours = {name.replace(".", "/") for name in imported if name.partition(".")[0] in OURS}
    modules = {name for name in ours if (folder / f"{name}.py").exists() or (folder / name).is_dir()}
    return modules - shipped


def test_what_hosts_get_imports_nothing_that_they_do_not_get(source: Path) -> None:
    assert missing_modules(release.SOURCE) == set()
    (source / "monitoring" / "objectives.py").write_text("")
    with (source / "monitoring" / "receiver.py").open("a") as file:
        file.write("from monitoring import objectives\n")
    assert missing_modules(source) == {"monitoring/objectives"}


def test_a_library_without_its_hash_is_refused(source: Path, services: Path, tmp_path: Path) -> None:
    (services / "requirements.txt").write_text("six==1.17.0\n")
    with pytest.raises(ReleaseError, match="install the libraries failed"):
        build(source, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/release.tar.gz"))


# --- on a host


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    return Path(build(without_libraries(folder / "source"), folder / "cache").archive)


@pytest.fixture
def root(tmp_path: Path, archive: Path) -> Path:
    """A host with releases 1 to 4 laid down, the first three switched to in turn."""
    root = tmp_path / "host"
    for version in "1234":
        tree.unpack(root, version, archive)
        if version != "4":
            tree.switch(root, version)
    return root


def test_switching_moves_the_link_and_remembers_what_ran_before(root: Path) -> None:
    assert (root / "current").readlink() == Path("releases/3")
    assert (root / "current" / "lib" / "services" / "migrate.py").exists()
    assert (tree.current_of(root), tree.previous_of(root)) == ("3", "2")


def test_what_runs_and_what_a_rollback_takes_are_kept(root: Path) -> None:
    assert tree.forget(root, keep=3) == ["1"]
    assert sorted(tree.kept(root)) == ["2", "3", "4"]
    tree.forget(root, keep=1)
    assert sorted(tree.kept(root)) == ["2", "3"]


def test_an_interrupted_unpacking_is_no_release(root: Path) -> None:
    (root / "releases" / ".5").mkdir()
    assert "5" not in tree.kept(root) and ".5" not in tree.kept(root)
