"""Every command of `yiwang`, whichever there are: wrong words, malformed files, an engine, hosts and services
out of reach end in a message that names the thing, never in a traceback. A new command is among them by itself.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, get_args

import pytest
import tenacity
import typer.main

from infra import stacks as stack_settings
from infra.engine import Engine, EngineError
from infra.folder import EnvironmentFolder
from infra.local.cloud.errors import CloudError
from tests.support import provisioned
from tests.support.registered import read_once
from tools import cli
from tools.environment import MachineChoice, choice_path
from tools.refusals import OWN_FAULT

ENVIRONMENT = provisioned.ENVIRONMENT
WORDS = {
    "tenant": "330106",
    "cell": "cell-a",
    "host": "cell-a-application-1",
    "invitation": "0" * 16,
    "city": "hangzhou",
}
"""A value for each argument that is no environment."""
MALFORMED = {"half of it": b'{"a": ', "another kind": b"[1, 2]\n", "no text": b"\xff\xfe\x00"}
NO_ANSWER = "#!/bin/sh\necho 'error: the backend does not answer' >&2\nexit 255\n"
NOT_LOGGED_IN = "#!/bin/sh\necho 'error: PULUMI_ACCESS_TOKEN must be set for login' >&2\nexit 255\n"


@dataclass(frozen=True)
class Command:
    words: tuple[str, ...]
    parameters: tuple[Any, ...]
    callback: Any

    def __str__(self) -> str:
        return " ".join(self.words)

    @property
    def names_environment(self) -> bool:
        return any(parameter.name == "environment" for parameter in self.parameters)

    @property
    def files(self) -> list[str]:
        """Options that take a path, or a name or a path."""
        hints = inspect.get_annotations(inspect.unwrap(self.callback), eval_str=True)
        paths = [p.name for p in self.parameters if Path in _types(hints.get(p.name)) or p.name == "scenario"]
        return [option for p in self.parameters if p.name in paths for option in p.opts[:1]]

    def line(self, environment: str, *more: str) -> list[str]:
        """What a person types: the arguments that it must have, then `more`."""
        arguments = [p for p in self.parameters if p.param_type_name == "argument" and p.required]
        line = [environment if p.name == "environment" else WORDS[p.name] for p in arguments]
        if self.names_environment and not any(p.name == "environment" for p in arguments):
            named = next(p for p in self.parameters if p.name == "environment")
            line += [environment] if named.param_type_name == "argument" else ["--environment", environment]
        return [*self.words, *line, *more]


def _types(hint: Any) -> tuple[Any, ...]:
    return (hint, *(inner for argument in get_args(hint) for inner in _types(argument)))


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[Command]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield Command((*words, name), tuple(command.params), command.callback)


COMMANDS = list(commands(typer.main.get_command(cli.app)))
ON_AN_ENVIRONMENT = [command for command in COMMANDS if command.names_environment]
each = pytest.mark.parametrize("command", COMMANDS, ids=str)
each_on_an_environment = pytest.mark.parametrize("command", ON_AN_ENVIRONMENT, ids=str)


@dataclass
class Machine:
    """A machine with an environment of which only the folder and what the engine tells is there."""

    folder: EnvironmentFolder
    cache: Path
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def real_engine(self, script: str | None) -> None:
        """Pulumi itself is asked; it is not there, or a script."""
        self.monkeypatch.setattr(Engine, "run", ASKING_PULUMI)
        if script is not None:
            program = self.cache / "bin" / "pulumi"
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(script)
            program.chmod(0o755)

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and all that was said. A traceback anywhere, or an error that nobody foresaw, fails the test."""
        self.monkeypatch.setattr("sys.argv", ["yiwang", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        told = self.capsys.readouterr()
        said = told.out + told.err
        assert "Traceback" not in said, said
        assert OWN_FAULT not in said, said
        return code, said


def telling_outputs() -> Callable[..., subprocess.CompletedProcess[str]]:
    """An engine that tells outputs, of hosts and services at addresses where nobody listens, and does nothing else."""
    text = provisioned.outputs().model_dump_json()
    outputs = json.loads(text.replace("10.91.", "127.91.").replace(provisioned.SUFFIX, "nowhere.localhost"))
    foundation = outputs["foundation"] | {"site_port": 9, "authority_certificate": ""}
    tenants = {tenant["code"]: tenant for tenant in outputs["tenants"]}
    cells = {cell["cell"]: cell for cell in outputs["cells"]}
    own = {"kind": "tenants", "environment": ENVIRONMENT, "scope": "zhejiang", "bucket": "b", "tenants": tenants}
    stacks, secrets = {"foundation": foundation, **cells, "zhejiang": own}, provisioned.secrets()["cells"]

    def run(_: Engine, command: list[str], *more: object, **named: object) -> subprocess.CompletedProcess[str]:
        if command[:2] == ["stack", "ls"]:
            answer: object = [{"name": f"{ENVIRONMENT}.{scope}"} for scope in stacks]
        elif command[:2] == ["stack", "output"]:
            scope = command[-1].partition(".")[2]
            answer = {"contract": stacks[scope], "secrets": secrets.get(scope, {})}
        else:
            raise EngineError(f"pulumi {command[0]}: the backend does not answer")
        return subprocess.CompletedProcess(command, 0, json.dumps(answer), "")

    return run


TELLING_OUTPUTS, ASKING_PULUMI = telling_outputs(), Engine.run


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("YIWANG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "500")
    for variable in ("YIWANG_NETWORK", "YIWANG_PORT", "WORKERS"):
        monkeypatch.delenv(variable, raising=False)
    folder = EnvironmentFolder(ENVIRONMENT)
    folder.stacks.mkdir(parents=True)
    choice = MachineChoice("10.91.0.0/16", 9, "nowhere.localhost", "nowhere.yiwang.internal")
    choice_path(folder).write_text(json.dumps(asdict(choice)))
    _keep_off(tmp_path / "stacks", monkeypatch)
    monkeypatch.setattr(Engine, "run", TELLING_OUTPUTS)
    read_once(monkeypatch)
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(os, "execvp", _instead_of_this_process)
    return Machine(folder, tmp_path / "cache", capsys, monkeypatch)


def _keep_off(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From this machine's own cloud, tools and links to settings."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise CloudError("ServiceUnavailable", "podman does not answer")

    for name in ("start", "stop", "destroy"):
        monkeypatch.setattr(f"infra.local.cloud.cloud.Cloud.{name}", refuse)
    monkeypatch.setattr("infra.local.cloud.cloud.Cloud.is_up", lambda _: True)
    monkeypatch.setattr("tools.machine.settle", list)
    monkeypatch.setattr("tools.machine.lacks_engine", lambda: False)
    monkeypatch.setattr("tools.machine.lacks_object_store", lambda: False)
    monkeypatch.setattr("tools.images.missing_images", lambda cache: [])
    monkeypatch.setattr("tools.images.build_images", lambda *_: None)
    monkeypatch.setattr("tools.recovering.install_plugin", lambda *_: False)
    shutil.copytree(stack_settings.FOLDER, settings, ignore=lambda folder, names: [n for n in names if n[:4] == "Pulu"])
    monkeypatch.setattr(stack_settings, "FOLDER", settings)


def _instead_of_this_process(program: str, words: list[str]) -> NoReturn:
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    print(done.stderr, file=sys.stderr)
    raise SystemExit(done.returncode)


@each_on_an_environment
def test_what_can_be_no_environment_is_refused_by_name(machine: Machine, command: Command) -> None:
    code, said = machine.run(*command.line("nope"))
    assert code != 0
    assert "environment 'nope': expected local, prod or test-" in said


@each_on_an_environment
def test_an_environment_that_is_not_there_is_refused_with_those_that_are(machine: Machine, command: Command) -> None:
    if command.words == ("up",):  # which makes it
        return
    code, said = machine.run(*command.line("test-nowhere"))
    assert code != 0
    assert "test-nowhere does not exist on this machine" in said
    assert ENVIRONMENT in said


@each_on_an_environment
@pytest.mark.parametrize("given", ["no engine", "an engine without a backend", "silent hosts and services"])
def test_what_is_out_of_reach_is_told(machine: Machine, command: Command, given: str) -> None:
    if given != "silent hosts and services":
        machine.real_engine(None if given == "no engine" else NO_ANSWER)
    code, said = machine.run(*command.line(ENVIRONMENT))
    if command.words[0] == "tenants" or command.words == ("rehearsal", "remove"):
        return  # which read files alone; nobody was made
    answers = given == "silent hosts and services" and command.words[0] in ("status", "env", "outputs")
    assert (code == 0) == answers, said
    if given != "silent hosts and services" and command.words[0] not in ("down", "onboard"):
        assert "pulumi" in said, said


ASKING_HOSTS = ("logs", "ssh", "invitation", "gate", "plan", "demo-loop", "onboard")


@each_on_an_environment
def test_what_asks_hosts_says_that_they_do_not_run(machine: Machine, command: Command) -> None:
    if command.words[0] not in ASKING_HOSTS and command.words != ("rehearsal", "prepare"):
        return
    machine.monkeypatch.setattr("infra.local.cloud.cloud.Cloud.is_up", lambda _: False)
    code, said = machine.run(*command.line(ENVIRONMENT))
    assert code != 0
    assert f"environment {ENVIRONMENT} does not run" in said and f"make up ENVIRONMENT={ENVIRONMENT}" in said, said


@each_on_an_environment
def test_production_without_its_state_says_so(machine: Machine, command: Command) -> None:
    machine.real_engine(NOT_LOGGED_IN)
    code, said = machine.run(*command.line("prod"))
    if command.words[0] in ("tenants", "env") or command.words == ("rehearsal", "remove"):  # which need no state of it
        assert code == 0, said
        return
    assert code != 0
    assert "ACCESS_TOKEN" not in said
    assert "not on prod" in said or "this user is logged in to no backend" in said


@each_on_an_environment
def test_a_malformed_file_of_the_environment_is_named(machine: Machine, command: Command) -> None:
    folder = machine.folder
    for path in (choice_path(folder), folder.registry_overlay, folder.plan, folder.demo, folder.rehearsal):
        before = path.read_bytes() if path.exists() else None
        for content in MALFORMED.values():
            path.write_bytes(content)
            code, said = machine.run(*command.line(ENVIRONMENT))
            assert code == 0 or said.strip()
            if path == choice_path(folder) and command.words[0] != "down":
                assert code != 0 and str(path) in said, said
        path.unlink() if before is None else path.write_bytes(before)


@each
def test_a_missing_or_malformed_file_in_a_word_is_named(machine: Machine, command: Command, tmp_path: Path) -> None:
    for option in command.files:
        for number, content in enumerate([None, *MALFORMED.values()]):
            given = tmp_path / f"given{option}{number}.yaml"
            if content is not None:
                given.write_bytes(content)
            assert machine.run(*command.line(ENVIRONMENT, option, str(given)))[0] != 0


@each
def test_words_that_nobody_knows_are_refused(machine: Machine, command: Command) -> None:
    assert machine.run(*command.line(ENVIRONMENT, "--nonsense"))[0] != 0
    assert machine.run(*command.line(ENVIRONMENT, "and", "many", "more", "words"))[0] != 0


def test_an_error_that_nobody_foresaw_leaves_its_traceback_in_a_file(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("odd")

    monkeypatch.setattr("tools.commands.environments.describe", fail)
    monkeypatch.setattr("sys.argv", ["yiwang", "status", ENVIRONMENT, "--json"])
    with pytest.raises(SystemExit):
        cli.main()
    said = machine.capsys.readouterr().err
    assert "Traceback" not in said
    assert OWN_FAULT in said
    left = Path(said.split()[-1])
    assert "RuntimeError: odd" in left.read_text()
    left.unlink()
