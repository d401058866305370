"""A tenant's coming: all is checked before anything is written, and a run that fails leaves what it found."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from infra.engine import Changes, Engine, EngineError
from infra.folder import EnvironmentFolder
from infra.outputs import EnvironmentOutputs
from infra.registry import Registry, load_registry, set_status
from tests.support import provisioned
from tests.support.life import Life
from tests.support.registered import read_once
from tools import cli, invitations
from tools.deployment import Recap
from tools.environment import MachineChoice, choice_path
from tools.operator_client import OperatorError
from tools.recovering import Recovering
from tools.stages import StageError

CHUNAN, XIHU, HAISHU, NINGBO = "330127", "330106", "330203", "330200"
STACKS = ["foundation", "cell-core", "cell-a", "zhejiang", "hangzhou"]


class Identity:
    """Who was invited, who has come."""

    def __init__(self) -> None:
        self.administrators = self.given = 0
        self.open: list[dict[str, str]] = []
        self.fault: Exception | None = None

    def invitations(self, tenant: str) -> dict[str, Any]:
        if self.fault:
            raise self.fault
        return {"administrators": self.administrators, "open": list(self.open)}

    def invite(self, tenant: str, name: str, department: str) -> dict[str, str]:
        self.given += 1
        made = {
            "id": f"{tenant}-{self.given}",
            "name": name,
            "department": department,
            "role": "administrator",
            "expires_at": "2026-12-02T11:00:00Z",
        }
        made["link"] = f"https://id.zj.localhost:8443/invitation/{made['id']}"
        self.open.append(made)
        return made

    def revoke(self, invitation: str) -> bool:
        before, self.open = self.open, [invited for invited in self.open if invited["id"] != invitation]
        return self.open != before

    def close(self) -> None:
        pass


def as_the_registry_says(registry: Registry, left: tuple[str, ...] = (CHUNAN,)) -> EnvironmentOutputs:
    """Outputs of an environment that was brought up as the registry stands, and has something left of some."""
    outputs = provisioned.outputs(CHUNAN)
    pattern = outputs.tenants[-1]
    tenants = [
        pattern.model_copy(
            update={
                "code": division.code,
                "name": division.name,
                "label": division.label,
                "level": division.level,
                "residents": division.residents,
                "status": division.status,
                "settings": registry.settings_of(division.code),
                "url": next((old.url for old in outputs.tenants if old.code == division.code), pattern.url),
            }
        )
        for division in registry.divisions.values()
        if division.provisioned or division.code in left
    ]
    return outputs.model_copy(update={"tenants": tenants})


class World:
    """An environment whose engine, hosts and services do what a test wants."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.life = Life(EnvironmentFolder("test-onboard"))
        self.life.folder.root.mkdir(parents=True)
        choice = MachineChoice("10.77.0.0/16", 8443, "zj.localhost", "local.yiwang.internal")
        choice_path(self.life.folder).write_text(json.dumps(asdict(choice)))
        self.overlay.write_text(f'statuses: {{"{CHUNAN}": planned}}\n')
        self.done: list[str] = []
        self.faults: dict[str, BaseException] = {}
        self.identity = Identity()
        self.recover: Callable[..., object] = self._recover
        self.stacks, self.running, self.silent = list(STACKS), True, False
        self.outputs = as_the_registry_says(load_registry(overlay=self.overlay))
        self.printed = io.StringIO()
        patch = monkeypatch.setattr
        patch("infra.local.cloud.cloud.Cloud.is_up", lambda _: self.running)
        patch("tools.deployment.socket.create_connection", self._connect)
        for module in ("tools.verbs.onboard", "tools.seeding", "tools.commands.invitations"):
            patch(f"{module}.operator_of", lambda *_: self.identity)
        patch(Engine, "stacks", lambda _: self.stacks)
        patch(Engine, "merged_outputs", lambda _: self.outputs)
        patch(Engine, "preview", self._step("preview", Changes()))
        patch("tools.recovering.recover", lambda *given: self.recover(*given))
        patch(Recovering, "bursting", lambda _: nullcontext())
        patch("tools.recovering.play", self._step("deployment", Recap({})))
        patch("tools.seeding.seed", self._step("seed", ("people", True)))
        patch("tools.seeding.smoke", self._step("smoke", "it answers"))

    def _step(self, name: str, answer: object) -> Callable[..., Any]:
        def step(*_: object, **__: object) -> object:
            self.done.append(name)
            if name in self.faults:
                raise self.faults[name]
            return answer

        return step

    def _recover(self, *_: object) -> object:
        if self.done[-1:] == ["update"]:
            return self._step("taking back", Changes({"delete": 1}))()
        return self._step("update", Changes({"create": 1}))()

    def _connect(self, *_: object) -> Any:
        if self.silent:
            raise TimeoutError
        return io.BytesIO()

    def onboard(self, word: str = CHUNAN) -> dict[str, str] | None:
        return self.life.onboard(word, Console(file=self.printed, width=300))[1]

    @property
    def overlay(self) -> Path:
        return self.life.folder.registry_overlay

    def status(self, code: str = CHUNAN) -> str:
        return load_registry(overlay=self.overlay).divisions[code].status


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    read_once(monkeypatch)
    return World(monkeypatch)


def change(name: str, value: object) -> Callable[[World], None]:
    return lambda world: setattr(world, name, value)


def refuse_the_operator(world: World) -> None:
    world.identity.fault = OperatorError(httpx.ConnectError("connection refused"))


def run_an_older_release(world: World) -> None:
    """Its operator was let in, and knew nothing of invitations that are open."""
    request = httpx.Request("GET", "https://id.zj.localhost:8443/api/identity/invitations")
    answer = httpx.Response(405, request=request)
    world.identity.fault = OperatorError(httpx.HTTPStatusError("405", request=request, response=answer))


def suspend(world: World) -> None:
    world.overlay.write_text(f'statuses: {{"{CHUNAN}": suspended}}\n')


def change_another(world: World) -> None:
    """In its file, where nobody brought it up yet."""
    tenants = []
    for tenant in world.outputs.tenants:
        standing = tenant.settings.model_copy(update={"requests_per_second": tenant.settings.requests_per_second + 1})
        tenants.append(tenant.model_copy(update={"settings": standing}) if tenant.label == "xihu" else tenant)
    world.outputs = world.outputs.model_copy(update={"tenants": tenants})


def bring_another(world: World) -> None:
    """The registry has it live, the stack does not have it yet."""
    tenants = [tenant for tenant in world.outputs.tenants if tenant.label != "xihu"]
    world.outputs = world.outputs.model_copy(update={"tenants": tenants})


def out_of_reach(step: str) -> Callable[[World], None]:
    return lambda world: world.faults.update({step: EngineError("pulumi: the backend does not answer")})


REFUSED: dict[str, tuple[str, Callable[[World], None], str, str]] = {
    "its city is not up": (
        HAISHU,
        lambda _: None,
        "belongs to 宁波市 (330200), which is not on",
        '"330200": live under',
    ),
    "its own stack is not there": (NINGBO, lambda _: None, "stack test-onboard.ningbo", '"330200": live under'),
    "no such tenant": ("330199", lambda _: None, "no tenant '330199'", "yiwang tenants list"),
    "it is suspended": (CHUNAN, suspend, "淳安县 (330127) is suspended", "make up"),
    "its stack is gone": (CHUNAN, change("stacks", STACKS[:-1]), "stack test-onboard.hangzhou", "make up"),
    "nothing runs": (CHUNAN, change("running", False), "does not run", "make up ENVIRONMENT=test-onboard"),
    "another one's settings wait": (CHUNAN, change_another, "anew of 西湖区 (330106)", "make up"),
    "another one waits": (CHUNAN, bring_another, "anew of 西湖区 (330106)", "make up"),
    "hosts are silent": (CHUNAN, change("silent", True), "cell-a-application-1", "make up"),
    "identity is silent": (CHUNAN, refuse_the_operator, "connection refused", "make up"),
    "identity is of an older release": (CHUNAN, run_an_older_release, "405", "make up"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_come_is_refused_before_anything_is_changed(world: World, case: str) -> None:
    word, prepare, cause, way_out = REFUSED[case]
    prepare(world)
    before = world.overlay.read_bytes()
    with pytest.raises(StageError) as refused:
        world.onboard(word)
    assert cause in refused.value.cause
    assert way_out in refused.value.way_out
    assert world.overlay.read_bytes() == before
    assert world.done == []


def test_an_overlay_that_does_not_hold_is_refused(world: World) -> None:
    world.overlay.write_text("statuses: []\n")
    with pytest.raises(StageError, match="statuses"):
        world.onboard()
    assert (world.overlay.read_text(), world.done) == ("statuses: []\n", [])


@pytest.mark.parametrize(
    ("step", "done"),
    [("preview", ["preview"]), ("update", ["preview", "update", "taking back"])],
)
@pytest.mark.parametrize("fault", [EngineError("out of reach"), KeyboardInterrupt()], ids=["out of reach", "ctrl-c"])
def test_a_county_whose_stack_is_out_of_reach_leaves_what_it_found(
    world: World, step: str, done: list[str], fault: BaseException
) -> None:
    world.overlay.write_text(f'# kept\nstatuses: {{"{CHUNAN}": planned}}\n')
    before = world.overlay.read_bytes()
    world.faults[step] = fault
    with pytest.raises((StageError, KeyboardInterrupt)):
        world.onboard()
    assert world.overlay.read_bytes() == before
    assert world.done == done, "what the update had begun is taken back, and nothing where it had not"
    world.faults.clear()
    assert world.onboard() is not None, "the next run brings it"
    assert world.status() == "live"


def test_what_another_command_wrote_meanwhile_stays(world: World) -> None:
    """On another cell a tenant may come at the same time; the overlay is one file for both."""

    def write_and_fail(*_: object) -> Changes:
        if world.status(XIHU) == "live":
            set_status(world.overlay, XIHU, "suspended")
            raise EngineError("out of reach")
        return Changes()

    world.recover = write_and_fail
    with pytest.raises(StageError, match="out of reach"):
        world.onboard()
    assert (world.status(CHUNAN), world.status(XIHU)) == ("planned", "suspended")


def test_what_cannot_be_taken_back_is_said(world: World) -> None:
    out_of_reach("update")(world)
    out_of_reach("taking back")(world)
    with pytest.raises(StageError, match="does not answer"):
        world.onboard()
    assert world.status() == "planned"
    assert "stack test-onboard.hangzhou is out of reach" in world.printed.getvalue()


@pytest.mark.parametrize("step", ["deployment", "seed", "smoke"])
def test_a_run_cut_short_gives_its_invitation_at_the_next(world: World, step: str) -> None:
    out_of_reach(step)(world)
    with pytest.raises(StageError):
        world.onboard()
    assert world.status() == "live", "its database and its site are there: nothing of it is taken away"
    world.faults.clear()
    assert world.onboard() is not None


def test_who_was_invited_or_has_come_is_not_invited_again(world: World) -> None:
    assert world.onboard() is not None
    assert world.onboard() is None
    assert "yiwang invitation give test-onboard 330127" in world.printed.getvalue()
    world.identity.open.clear()
    assert world.onboard() is not None, "the invitation has expired and nobody has come"
    world.identity.open.clear()
    world.identity.administrators = 1
    assert world.onboard() is None
    assert "has 1 administrator;" in world.printed.getvalue()


def test_an_invitation_given_again_takes_the_place_of_the_former_alone(world: World) -> None:
    tenant = next(tenant for tenant in provisioned.outputs(CHUNAN).tenants if tenant.code == CHUNAN)
    clerk = {"id": "clerk", "name": "王芳", "role": "clerk", "expires_at": "2026-12-02T11:00:00Z"}
    world.identity.open = [clerk]
    for _ in range(3):
        given = invitations.give(world.identity, tenant)  # type: ignore[arg-type]
        assert world.identity.open == [clerk, given]


def test_onboarding_the_living_writes_nothing_that_would_mask_a_later_suspension(world: World) -> None:
    before = world.overlay.read_bytes()
    world.outputs = as_the_registry_says(load_registry(overlay=world.overlay), left=())
    world.onboard("西湖区")
    assert world.overlay.read_bytes() == before
    assert XIHU not in world.overlay.read_text()


def test_a_county_that_comes_has_no_entry_where_the_registry_says_live_by_itself(world: World) -> None:
    world.onboard("chunan")
    assert world.status() == "live"
    assert CHUNAN not in world.overlay.read_text()


@pytest.fixture
def in_shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_shanghai")
def test_whoever_onboards_reads_the_address_and_until_when_the_link_is_good(world: World) -> None:
    shown = CliRunner().invoke(cli.app, ["onboard", world.life.environment, "淳安县"], env={"COLUMNS": "60"})
    assert shown.exit_code == 0, shown.output
    url = next(tenant.url for tenant in provisioned.outputs(CHUNAN).tenants if tenant.code == CHUNAN)
    assert f"淳安县 answers at {url}\n" in shown.output
    assert "until 2026-12-02 19:00 CST:\n" in shown.output
    again = CliRunner().invoke(cli.app, ["onboard", world.life.environment, "淳安县"], env={"COLUMNS": "300"})
    assert f"淳安县 answers at {url}\n" in again.output and "until 2026-12-02 19:00 CST" in again.output


def test_the_commands_give_list_and_revoke(world: World) -> None:
    def yiwang(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli.app, ["invitation", *words], env={"COLUMNS": "200"})
        return done.exit_code, done.output

    assert world.onboard() is not None
    (former,) = world.identity.open
    code, said = yiwang("give", "test-onboard", CHUNAN)
    (given,) = world.identity.open
    assert code == 0 and given["link"] in said and given != former
    assert "First administrator's link" in said
    world.identity.administrators = 1
    said = yiwang("give", "test-onboard", CHUNAN)[1]
    assert "Another administrator's link" in said and "First" not in said
    (given,) = world.identity.open
    assert given["id"] in yiwang("list", "test-onboard", CHUNAN)[1]
    assert yiwang("revoke", "test-onboard", CHUNAN, "0" * 16)[0] != 0, "none is open by that id"
    assert yiwang("revoke", "test-onboard", CHUNAN)[0] == 0
    assert world.identity.open == []
    none = CliRunner().invoke(cli.app, ["invitation", "revoke", "test-onboard", CHUNAN]).exception
    assert isinstance(none, StageError), "none is open"
    assert none.way_out == f"give one: yiwang invitation give test-onboard {CHUNAN}", "as it can be typed"
    assert yiwang("give", "test-onboard", "330199")[0] != 0, "no such tenant there"
