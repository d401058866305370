"""The one place that runs the engine's own command, `pulumi`, for an environment's stacks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from infra import stacks
from infra.errors import ExpectedError
from infra.folder import EnvironmentFolder, cache
from infra.names import PROJECT, StackName
from infra.outputs import EnvironmentOutputs, merge
from infra.stacks import Setting

REPOSITORY = Path(__file__).resolve().parent.parent
PARALLEL = 16
PARALLEL_IN_PRODUCTION = 10
"""The real cloud throttles by minute."""
URN = re.compile(r"\[urn=(urn:pulumi:[^\]]+)\]")
SEED = f"{PROJECT}:seed"
NOT_LOGGED_IN = "PULUMI_ACCESS_TOKEN must be set"
"""What the engine says when it was told of no backend: it then wants to go to its maker's."""
NO_BACKEND = (
    "its state is out of reach: this user is logged in to no backend\n"
    "        pulumi login file:///srv/yiwang/state, on the deployment host (docs/production.md, State and secrets)"
)
CHANGE = re.compile(r"^\s+[+~\-±]+ ?(\d+) (?:to )?(create|update|delete|replace|import)d?", re.MULTILINE)


class EngineError(ExpectedError):
    """The engine refused or failed; the message holds what it printed last."""


@dataclass(frozen=True)
class Changes:
    """How many resources an update touched, by the engine's own words."""

    by_kind: Mapping[str, int] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        return bool(self.by_kind)

    def __str__(self) -> str:
        return ", ".join(f"{count} {kind}d" for kind, count in self.by_kind.items()) or "no changes"


@dataclass(frozen=True)
class Engine:
    """Native commands on the stacks of one environment. Output goes to `log` as it comes.

    Raises (every method that runs a command):
        EngineError: the command failed.
    """

    folder: EnvironmentFolder

    @property
    def environment(self) -> str:
        return self.folder.environment

    def stack(self, scope: str) -> str:
        return str(StackName(self.environment, scope))

    def variables(self) -> dict[str, str]:
        """What the native command needs in its environment; `yiwang env` prints the same."""
        interpreter = Path(sys.executable).parent
        variables = {
            "YIWANG_ENVIRONMENT": self.environment,
            "YIWANG_HOME": str(self.folder.root.parent),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PATH": os.pathsep.join([str(cache() / "bin"), str(interpreter), os.environ.get("PATH", os.defpath)]),
        }
        if self.folder.made_here:
            variables |= {
                "PULUMI_HOME": str(self.folder.pulumi_home),
                # Without side files of metadata, which are not written atomically: a killed engine leaves them torn.
                "PULUMI_BACKEND_URL": f"file://{self.folder.pulumi_backend}?metadata=skip",
                "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.folder.passphrase),
            }
        return variables

    @property
    def program(self) -> str:
        """The engine's command: our own; in production, where there is none, the one that its operators use."""
        own = str(cache() / "bin" / "pulumi")
        return own if self.folder.made_here else shutil.which("pulumi", path=self.variables()["PATH"]) or own

    def stacks(self) -> list[str]:
        """Scopes of the environment's stacks that exist in the backend."""
        listed = json.loads(self.run(["stack", "ls", "--json", "--all"]).stdout)
        prefix = f"{self.environment}."
        names = [stack["name"].rsplit("/", 1)[-1] for stack in listed]
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def ensure_stack(self, scope: str, settings: Mapping[str, Setting]) -> bool:
        """Makes the stack and sets what its settings lack. Returns whether it did anything.

        A secret is set when it is missing, or together with a plain value that differs (a key follows its certificate);
        the seed, once made, stays.
        """
        self.link_settings(scope)
        made = scope not in self.stacks()
        if made:
            self.run(["stack", "init", self.stack(scope), "--non-interactive"])
        present = stacks.read(self._settings_file(scope))
        plain = {key: setting.value for key, setting in settings.items() if not setting.secret}
        differing = {key: value for key, value in plain.items() if _present(present, key) != value}
        if differing:
            pairs = [word for key, value in differing.items() for word in ("--plaintext", f"{key}={value}")]
            self.run(["config", "set-all", "--stack", self.stack(scope), *pairs])
        secret = {key: setting.value for key, setting in settings.items() if setting.secret}
        for key, value in secret.items():
            if _present(present, key) is None or (differing and key != SEED):
                # The value goes in by standard input: a process list must not show it.
                self.run(["config", "set", key, "--secret", "--stack", self.stack(scope)], given=value)
                made = True
        return made or bool(differing)

    def _settings_file(self, scope: str) -> Path:
        return stacks.path_of(StackName(self.environment, scope))

    def link_settings(self, scope: str) -> None:
        """Links the stack's settings, which lie in the environment's folder, to where the engine looks for them."""
        if not self.folder.made_here:
            return
        name = f"Pulumi.{self.stack(scope)}.yaml"
        target, link = self.folder.stacks / name, stacks.FOLDER / name
        if link.is_symlink() and link.readlink() == target:
            target.touch()
            return
        source = link.resolve()
        # The engine's own `stack init` writes a file here; its `stack rename` renames our link to the old settings.
        native = link.is_file() and (not link.is_symlink() or source.parent == self.folder.stacks.resolve())
        if native and not (target.exists() and target.stat().st_size):
            shutil.move(source, target)
        target.touch()
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def unlink_settings(self) -> None:
        """Removes the clone's links to settings of this environment."""
        for link in stacks.FOLDER.glob(f"Pulumi.{self.environment}.*.yaml"):
            if link.is_symlink():
                link.unlink()

    def up(self, scope: str, log: TextIO, *more: str) -> Changes:
        """`pulumi up` without questions."""
        return self._changes(["up", "--yes", "--skip-preview", *more], scope, log)

    def preview(self, scope: str, log: TextIO, *more: str) -> Changes:
        """`pulumi preview --diff`: what an update would change."""
        return self._changes(["preview", "--diff", *more], scope, log)

    def refresh(self, scope: str, log: TextIO, *more: str) -> Changes:
        """`pulumi refresh` without questions: takes what the cloud says into the state."""
        return self._changes(["refresh", "--yes", "--skip-preview", *more], scope, log)

    def destroy(self, scope: str, log: TextIO, *more: str) -> Changes:
        """`pulumi destroy` without questions."""
        return self._changes(["destroy", "--yes", "--skip-preview", *more], scope, log)

    def outputs(self, scope: str, secrets: bool = False) -> dict[str, Any]:
        """The stack's outputs; secret ones are shown only when asked for."""
        shown = ["--show-secrets"] if secrets else []
        ran = self.run(["stack", "output", "--json", *shown, "--stack", self.stack(scope)])
        outputs: dict[str, Any] = json.loads(ran.stdout)
        return outputs

    def merged_outputs(self) -> EnvironmentOutputs:
        """What all the environment's stacks export, merged; no secret is among it.

        Raises:
            EngineError: nothing has been provisioned yet, or a stack exports what is not of the known version.
        """
        with ThreadPoolExecutor(max_workers=4) as pool:
            exported = list(pool.map(self.outputs, self.stacks()))
        try:
            return merge(self.environment, [outputs["contract"] for outputs in exported if "contract" in outputs])
        except ValueError as error:
            raise EngineError(str(error)) from error

    def _changes(self, command: list[str], scope: str, log: TextIO) -> Changes:
        self.link_settings(scope)
        parallel = PARALLEL if self.folder.made_here else PARALLEL_IN_PRODUCTION
        limits = ["--parallel", str(parallel)] if command[0] != "preview" else []
        ran = self.run([*command, *limits, "--non-interactive", "--stack", self.stack(scope)], log)
        counted: dict[str, int] = {}
        for count, kind in CHANGE.findall(ran.stdout):
            counted[kind] = counted.get(kind, 0) + int(count)
        return Changes(counted)

    def run(
        self, command: list[str], log: TextIO | None = None, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs `pulumi COMMAND` in the repository; its output is returned, and written to `log` line by line."""
        if log is not None:
            print(f"$ pulumi {' '.join(command)}", file=log, flush=True)
        program = self.program
        try:
            process = subprocess.Popen(
                [program, *command, "--color", "never"],
                cwd=REPOSITORY,
                env={**os.environ, **self.variables()},
                stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if log is not None else subprocess.PIPE,
                text=True,
            )
        except OSError as error:
            raise EngineError(f"{program}: {error.strerror}; yiwang prepare builds the engine's command") from None
        if log is None:
            output, errors = process.communicate(given)
        else:
            assert process.stdout is not None
            lines = []
            try:
                for line in process.stdout:
                    lines.append(line)
                    log.write(line)
            finally:
                # Whoever interrupts us at a terminal interrupts the engine, too: it ends in order, and frees its stack.
                process.communicate()
            output, errors = "".join(lines), ""
        if process.returncode != 0:
            said = [line for line in (errors or output).splitlines() if line.strip()]
            if any(NOT_LOGGED_IN in line for line in said):
                raise EngineError(f"{self.environment}: {NO_BACKEND}")
            raise EngineError(f"pulumi {command[0]} ({self.environment}): {_cause(said)}")
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


def changed_resources(diff: str) -> list[str]:
    """Type and name of each resource that a `--diff` shows, as `alicloud:rds/database:Database t330106`.

    The stack itself, providers and references to other stacks are the engine's own and are left out.
    """
    resources = []
    for urn in URN.findall(diff):
        path, _, name = urn.rpartition("::")
        token = path.rpartition("::")[2].rpartition("$")[2]
        if not token.startswith("pulumi:"):
            resources.append(f"{token} {name}")
    return resources


def _present(settings: Mapping[str, Any], key: str) -> str | None:
    value = settings.get(key.removeprefix(f"{PROJECT}:"))
    return None if value is None else stacks.as_text(value)


def _cause(said: list[str]) -> str:
    errors = [line.strip() for line in said if "error:" in line]
    return "\n".join(errors[-5:] or said[-5:])
