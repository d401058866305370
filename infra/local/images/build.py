"""Build the images with debootstrap and `podman build`, each only when its recipe changed."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from infra.errors import ExpectedError
from infra.local.images.sources import Source, debian_sources

DEBIAN_IMAGE = "localhost/yiwang-debian"
BASE_IMAGE = "localhost/yiwang-base"
CLOUD_IMAGE = "localhost/yiwang-cloud"

_HERE = Path(__file__).parent
_RECIPE_LABEL = "yiwang.recipe"
_INCLUDED = "ca-certificates,dbus,openssh-server,python3,systemd,systemd-sysv"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")

Log = Callable[[str], None]


class ImageError(ExpectedError):
    """An image could not be built; the message names the step, its last lines and the way out."""


def build_images(
    cache: Path,
    log: Log,
    doing: Callable[[str], AbstractContextManager[None]] = lambda title: nullcontext(),
    object_store: Callable[[], object] = lambda: None,
) -> None:
    """Build what is missing or has another recipe. Any interrupted build is finished by the next call.

    `doing` is entered with the title of each image that is built; `object_store` returns when the object store's
    binary is there, which only the last image needs.

    Raises:
        ImageError: a tool, the mirror or the object store's binary is missing, or a step failed.
    """
    if images_are_current(cache):
        return
    with _build_lock(cache):
        if not _is_current(DEBIAN_IMAGE, _recipe(DEBIAN_IMAGE, cache)):
            with doing("Debian image"):
                _build_debian(cache, _recipe(DEBIAN_IMAGE, cache), log)
        if not _is_current(BASE_IMAGE, _recipe(BASE_IMAGE, cache)):
            with doing("image of hosts"):
                _build_layered(cache, BASE_IMAGE, "base.Containerfile", _recipe(BASE_IMAGE, cache), log)
        object_store()
        if not _is_current(CLOUD_IMAGE, _recipe(CLOUD_IMAGE, cache)):
            with doing("image of the cloud's services"):
                _build_layered(cache, CLOUD_IMAGE, "cloud.Containerfile", _recipe(CLOUD_IMAGE, cache), log)


def missing_images(cache: Path) -> list[str]:
    """Those that are to be built; the last one also while there is no object store to put into it."""
    return [
        image
        for image in (DEBIAN_IMAGE, BASE_IMAGE, CLOUD_IMAGE)
        if (image == CLOUD_IMAGE and not _object_store_path(cache).is_file())
        or not _is_current(image, _recipe(image, cache))
    ]


def images_are_current(cache: Path) -> bool:
    return not missing_images(cache)


def _is_current(image: str, recipe: str) -> bool:
    label = subprocess.run(
        ["podman", "image", "inspect", "--format", f'{{{{index .Labels "{_RECIPE_LABEL}"}}}}', image],
        capture_output=True,
        text=True,
        check=False,
    )
    return label.returncode == 0 and label.stdout.strip() == recipe


def _recipe(image: str, cache: Path) -> str:
    """Hash of everything that an image is made from; the mirror's address is not part of it."""
    debian = _hash(_INCLUDED.encode())
    if image == DEBIAN_IMAGE:
        return debian
    if image == CLOUD_IMAGE:
        containerfile = (_HERE / "cloud.Containerfile").read_bytes()
        return _hash(debian.encode(), containerfile, _object_store(cache).read_bytes())
    files = sorted(path for path in (_HERE / "files").rglob("*") if path.is_file())
    containerfile = (_HERE / "base.Containerfile").read_bytes()
    return _hash(debian.encode(), containerfile, *(path.read_bytes() for path in files))


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _object_store_path(cache: Path) -> Path:
    return cache / "bin" / "versitygw"


def _object_store(cache: Path) -> Path:
    binary = _object_store_path(cache)
    if not binary.is_file():
        raise ImageError(f"{binary} is missing: the object store must be built or copied there before the images")
    return binary


@contextmanager
def _build_lock(cache: Path) -> Iterator[None]:
    folder = cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_debian(cache: Path, recipe: str, log: Log) -> None:
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    sources = debian_sources(codename)
    if not sources or codename not in sources[0].suites:
        raise ImageError(f"no apt source for Debian {codename} main under /etc/apt: images need the machine's mirror")
    with tempfile.TemporaryDirectory(dir=cache / "images", prefix="rootfs-") as folder:
        root = Path(folder)
        bootstrap = ["debootstrap", "--variant=minbase", f"--include={_INCLUDED}", codename, folder, sources[0].uri]
        _run("debootstrap", bootstrap, log)
        _write_sources(root, sources)
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        (root / "etc/machine-id").write_text("")
        tarball = cache / "images" / "debian.tar"
        _run("tar", ["tar", "-C", folder, "--one-file-system", "-cf", str(tarball), "."], log)
        label = ["--change", f"LABEL {_RECIPE_LABEL}={recipe}"]
        _run("podman import", ["podman", "import", *label, str(tarball), DEBIAN_IMAGE], log)
        tarball.unlink()


def _write_sources(root: Path, sources: list[Source]) -> None:
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    text = "\n".join(source.as_deb822() for source in sources)
    (root / "etc/apt/sources.list.d/debian.sources").write_text(text)


def _build_layered(cache: Path, image: str, containerfile: str, recipe: str, log: Log) -> None:
    with tempfile.TemporaryDirectory(dir=cache / "images", prefix="context-") as folder:
        context = Path(folder)
        shutil.copytree(_HERE / "files", context / "files")
        shutil.copy2(_object_store(cache), context / "versitygw")
        apt = context / "apt.conf"
        apt.write_text(_apt_settings())
        command = ["podman", "build", "--network", "host", "--pull-never", "--layers=false"]
        command += ["--volume", f"{apt}:/etc/apt/apt.conf.d/90machine:ro"]
        if _AUTHORITIES.exists():
            command += ["--volume", f"{_AUTHORITIES}:/run/machine-authorities.pem:ro"]
        command += ["--label", f"{_RECIPE_LABEL}={recipe}", "--tag", image, "--tag", f"{image}:{recipe}"]
        command += ["--file", str(_HERE / containerfile), folder]
        _run(f"podman build {image}", command, log)


def _apt_settings() -> str:
    """What the machine's apt needs to reach its mirror: proxies, clock checks, authorities of its own."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-", "Acquire::Retries")
    lines = [line for line in dump.splitlines() if line.startswith(wanted)]
    if _AUTHORITIES.exists():
        lines.append('Acquire::https::CAInfo "/run/machine-authorities.pem";')
    return "\n".join(lines) + "\n"


def _run(step: str, command: list[str], log: Log) -> None:
    """Run a step at low priority, its output to `log` line by line."""
    tail: list[str] = []
    try:
        process = subprocess.Popen(
            ["nice", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except FileNotFoundError as error:
        raise ImageError(f"{step}: {error.filename} is not installed") from error
    assert process.stdout is not None
    for line in process.stdout:
        log(line.rstrip())
        tail = [*tail[-9:], line.rstrip()]
    if process.wait() != 0:
        last = "\n".join(tail)
        raise ImageError(f"{step} failed ({process.returncode}); run again to finish. Its last lines:\n{last}")
