"""The release: what hosts run, as one archive whose version is the hash of what it is made from.

    python -m tools.release        builds it (or finds it) and prints {"version", "archive", "tree"}

`tree` is `<cache>/releases/<version>/lib`: the wheels of `services` and of `monitoring`'s exporters and receiver beside
their locked libraries, compiled. The controller runs migrations from it. `archive` is the same tree as a tar with fixed
order, owners and times. Libraries are laid down once for each lock, so that another version of our own code alone is
built in a second.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.errors import ExpectedError
from infra.folder import cache

SOURCE = Path(__file__).resolve().parent.parent
# Folders that a wheel is built of, and what of each shapes it, as the folder's pyproject.toml says.
SHIPPED = {
    "services": ("",),
    "monitoring": ("pyproject.toml", "__init__.py", "exporters", "operators", "prometheus.py", "receiver.py"),
}
LOCK = "services/requirements.txt"
# Debian 12's interpreter and C library. Raised together with the image of the hosts.
PYTHON = (3, 11)
PLATFORM = "x86_64-manylinux_2_36"
# Change it when the steps below give another tree for the same inputs.
RECIPE = 1
# Descriptions of services of another cloud are two thirds of the S3 client; these are the ones that it reads.
BOTOCORE_KEPT = {"s3", "sts", "sso", "sso-oidc", "signin"}
KEPT_ARCHIVES = 5


class ReleaseError(ExpectedError):
    """The release could not be built; the message names the step and its last lines."""


@dataclass(frozen=True)
class Release:
    version: str
    archive: str
    tree: str


def build(source: Path = SOURCE, folder: Path | None = None) -> Release:
    """The release of `services` and `monitoring` as they are in `source`; built unless it is in `folder` already.

    Raises:
        ReleaseError: a library could not be fetched, its hash differs, or the wheel does not build.
    """
    root = folder or cache() / "releases"
    root.mkdir(parents=True, exist_ok=True)
    version = version_of(source)
    release = Release(version, str(root / version / "release.tar.gz"), str(root / version / "lib"))
    with _lock(root):
        # the archive is written last, so its presence says that everything before it is whole
        if not Path(release.archive).exists():
            _build(source, root, release)
            _forget_old(root)
        (root / version).touch()
    return release


def version_of(source: Path) -> str:
    """Twelve hex digits: the same sources, lock and recipe give the same version on every machine."""
    digest = hashlib.sha256(f"{RECIPE} {PYTHON} {PLATFORM} {sorted(BOTOCORE_KEPT)}".encode())
    for path in sources(source):
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(source).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def sources(source: Path) -> list[Path]:
    """Every file that the release is made from."""
    shipped = [source / package / part for package, parts in SHIPPED.items() for part in parts]
    files = {path for part in shipped for path in (part.rglob("*") if part.is_dir() else [part]) if path.is_file()}
    return sorted(path for path in files if "__pycache__" not in path.parts and path.suffix != ".md")


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(source: Path, root: Path, release: Release) -> None:
    libraries = _libraries(source / LOCK, root)
    tree = Path(release.tree)
    shutil.rmtree(tree.parent, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".building-") as name:
        lib = Path(name) / "lib"
        shutil.copytree(libraries, lib, copy_function=_link)
        wheels = [_wheel(source / package, Path(name) / f"wheel-{package}") for package in SHIPPED]
        _uv("install the wheels", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(lib), *wheels)
        for package in SHIPPED:
            _compile(lib / package, lib.parent)
        _forget_origins(lib)
        tree.parent.mkdir()
        lib.rename(tree)
    _pack(tree, Path(release.archive))


def _libraries(lock: Path, root: Path) -> Path:
    """The folder of the locked libraries, laid down unless it is there."""
    digest = hashlib.sha256(f"{RECIPE} {PYTHON} {PLATFORM} {sorted(BOTOCORE_KEPT)}\0".encode() + lock.read_bytes())
    libraries = root / f"libraries-{digest.hexdigest()[:12]}"
    if libraries.exists():
        return libraries
    with tempfile.TemporaryDirectory(dir=root, prefix=".building-") as name:
        lib = Path(name) / "lib"
        target = ["--target", str(lib), "--python-version", ".".join(map(str, PYTHON)), "--python-platform", PLATFORM]
        strict = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--link-mode", "copy"]
        _uv("install the libraries", "pip", "install", "--quiet", *target, *strict, "--requirement", str(lock))
        _trim(lib)
        _compile(lib, lib.parent)
        lib.rename(libraries)
    return libraries


def _trim(lib: Path) -> None:
    for service in (lib / "botocore" / "data").glob("*/"):
        if service.name not in BOTOCORE_KEPT:
            shutil.rmtree(service)
    shutil.rmtree(lib / "bin", ignore_errors=True)
    (lib / ".lock").unlink(missing_ok=True)


def _forget_origins(lib: Path) -> None:
    """Installers note where and when a wheel came from: of no use on a host, and other on each machine."""
    for noted in lib.glob("*.dist-info/*"):
        if noted.name in ("RECORD", "direct_url.json", "uv_cache.json"):
            noted.unlink()


def _wheel(package: Path, folder: Path) -> str:
    step = f"build the wheel of {package.name}"
    _uv(step, "build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", str(folder), str(package))
    return str(next(folder.glob("*.whl")))


def _compile(folder: Path, root: Path) -> None:
    """Bytecode goes along: services may not write it, and compiling costs a small host half a minute a start.

    It is bound to the source's hash, not its time, and not looked up again. Another interpreter ignores it.
    """
    if sys.version_info[:2] != PYTHON:
        return
    command = [sys.executable, "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    # a library may ship sources of another Python version: whatever does not compile is left to whoever imports it
    subprocess.run([*command, "-s", str(root), str(folder)], check=False, capture_output=True)


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _uv(step: str, *arguments: str) -> None:
    command = [str(Path(sys.executable).parent / "uv"), *arguments, "--python", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-10:])
        raise ReleaseError(f"{step} failed ({done.returncode}); run again to finish. Its last lines:\n{tail}")


def _pack(tree: Path, archive: Path) -> None:
    unfinished = archive.with_suffix(".unfinished")
    with (
        unfinished.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for path in [tree, *sorted(tree.rglob("*"))]:
            tar.add(path, path.relative_to(tree.parent).as_posix(), recursive=False, filter=_plain)
    unfinished.rename(archive)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without anything of this machine. A hard link in the tree becomes a file of its own."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def _forget_old(root: Path) -> None:
    """Keep the releases used last; a build that was killed leaves a folder, removed here too."""
    releases = sorted(root.glob("*/release.tar.gz"), key=lambda path: path.parent.stat().st_mtime, reverse=True)
    for archive in releases[KEPT_ARCHIVES:]:
        shutil.rmtree(archive.parent)
    for unfinished in root.glob(".building-*"):
        shutil.rmtree(unfinished)


if __name__ == "__main__":
    try:
        print(json.dumps(asdict(build())))
    except ReleaseError as error:
        sys.exit(str(error))
