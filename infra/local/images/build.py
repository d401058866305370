"""Build the images with debootstrap and `podman build`, each only when its recipe changed."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def build_images(cache: Path, log: Log) -> None:
    """Build what is missing or has another recipe. Any interrupted build is finished by the next call.

    Raises:
        ImageError: a tool, the mirror or the object store's binary is missing, or a step failed.
    """
    recipes = _recipes(cache)
    if _current(recipes):
        return
    with _build_lock(cache):
        if not _is_current(DEBIAN_IMAGE, recipes[DEBIAN_IMAGE]):
            _build_debian(cache, recipes[DEBIAN_IMAGE], log)
        if not _is_current(BASE_IMAGE, recipes[BASE_IMAGE]):
            _build_layered(cache, BASE_IMAGE, "base.Containerfile", recipes[BASE_IMAGE], log)
        if not _is_current(CLOUD_IMAGE, recipes[CLOUD_IMAGE]):
            _build_layered(cache, CLOUD_IMAGE, "cloud.Containerfile", recipes[CLOUD_IMAGE], log)


def images_are_current(cache: Path) -> bool:
    return _current(_recipes(cache))


def _current(recipes: dict[str, str]) -> bool:
    return all(_is_current(image, recipe) for image, recipe in recipes.items())


def _is_current(image: str, recipe: str) -> bool:
    label = subprocess.run(
        ["podman", "image", "inspect", "--format", f'{{{{index .Labels "{_RECIPE_LABEL}"}}}}', image],
        capture_output=True,
        text=True,
        check=False,
    )
    return label.returncode == 0 and label.stdout.strip() == recipe


def _recipes(cache: Path) -> dict[str, str]:
    """Hash of everything that an image is made from; the mirror's address is not part of it."""
    files = sorted(path for path in (_HERE / "files").rglob("*") if path.is_file())
    debian = _hash(_INCLUDED.encode())
    base = _hash(debian.encode(), (_HERE / "base.Containerfile").read_bytes(), *(path.read_bytes() for path in files))
    cloud = _hash(debian.encode(), (_HERE / "cloud.Containerfile").read_bytes(), _object_store(cache).read_bytes())
    return {DEBIAN_IMAGE: debian, BASE_IMAGE: base, CLOUD_IMAGE: cloud}


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _object_store(cache: Path) -> Path:
    binary = cache / "bin" / "versitygw"
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
