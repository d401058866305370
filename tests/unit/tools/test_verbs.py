"""The verbs, on a made-up engine that records what it is asked: in production a preview is shown, agreed to, and just
that is done.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from infra.engine import REPOSITORY, Changes, Engine, EngineError
from infra.folder import EnvironmentFolder
from infra.outputs import EnvironmentOutputs
from infra.registry import load_registry
from tests.support.registered import read_once
from tests.unit.tools.test_onboarding import CHUNAN, XIHU, Identity, as_the_registry_says
from tools import cli
from tools.deployment import Recap
from tools.locks import holding
from tools.native import Native
from tools.port import Port
from tools.ports import own_port_of, port_of
from tools.recovering import Recovering
from tools.stages import Run, StageError
from tools.verbs.onboard import onboard
from tools.verbs.resize import resize
from tools.verbs.up import up

SCOPES = ["foundation", "cell-a", "cell-core", "zhejiang", "hangzhou"]
URN = "[urn=urn:pulumi:prod.{scope}::yiwang::alicloud:rds/database:Database::{name}]"


class Site(Identity):
    """Identity, and sites that offer what the province has sent them."""

    def __init__(self) -> None:
        super().__init__()
        self.replayed: list[str] = []
        self.asked: list[str] = []

    def items(self, url: str) -> list[dict[str, Any]]:
        return [] if CHUNAN in url and not self.replayed else [{"code": "marriage"}]

    def replay_catalogue(self, province_url: str, tenant: str) -> None:
        self.replayed.append(tenant)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"production is asked for {name}")


class Province:
    """A production environment whose engine, operator and hosts do what a test wants; `done` is what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = EnvironmentFolder("prod")
        self.done: list[str] = []
        self.answers: dict[str, bool] = {}
        self.faults: dict[str, BaseException] = {}
        self.changes: dict[str, tuple[str, ...]] = {"hangzhou": (f"t{CHUNAN}",), "cell-a": ("cell-a-application-3",)}
        self.stacks = list(SCOPES)
        self.unreached: list[str] = []
        self.site = Site()
        self.outputs: EnvironmentOutputs = as_the_registry_says(load_registry(), left=())
        self.printed = io.StringIO()
        patch = monkeypatch.setattr
        patch(Engine, "stacks", lambda _: self.stacks)
        patch(Engine, "merged_outputs", lambda _: self.outputs)
        patch(Engine, "preview", self._preview)
        patch(Engine, "up", self._up)
        patch("tools.native.unreached", lambda *_: self.unreached)
        patch("tools.native.play", self._play)
        for module in ("tools.verbs.onboard", "tools.seeding"):
            patch(f"{module}.operator_of", lambda *_: self.site)
        patch("tools.seeding.smoke", lambda *_: "it answers")
        for module in ("tools.verbs.up", "tools.verbs.resize"):
            patch(f"{module}.await_sight", lambda _: "all in sight")

    @property
    def port(self) -> Port:
        return port_of(self.folder, self._agree)

    def run(self, verb: str = "verb") -> Run:
        return Run(verb, self.folder.logs, Console(file=self.printed, width=300))

    def _note(self, what: str) -> None:
        self.done.append(what)
        if what in self.faults:
            raise self.faults[what]

    def _preview(self, scope: str, log: TextIO, option: str, plan: str) -> Changes:
        assert option == "--save-plan"
        self._note(f"preview {scope}")
        for name in self.changes.get(scope, ()):
            print("    + alicloud:rds/database:Database: (create)", file=log)
            print(f"        {URN.format(scope=scope, name=name)}", file=log)
        Path(plan).write_text(scope)
        count = len(self.changes.get(scope, ()))
        return Changes({"create": count} if count else {})

    def _up(self, scope: str, log: TextIO, option: str, plan: str) -> Changes:
        assert (option, Path(plan).read_text()) == ("--plan", scope), "it is held to what was shown"
        self._note(f"up {scope}")
        return Changes({"create": len(self.changes.pop(scope))})

    def _play(self, _: Engine, playbook: str, log: TextIO, *options: str, **extra: str) -> Recap:
        self._note(" ".join([playbook, *options, *extra.values()]))
        return Recap({})

    def _agree(self, question: str) -> bool:
        what = question.split()[0].lower()
        self._note(f"{what}?")
        return self.answers.get(what, True)


@pytest.fixture
def province(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Province:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    monkeypatch.delenv("YIWANG_BY_MAKE", raising=False)
    read_once(monkeypatch)
    return Province(monkeypatch)


ONBOARDED = ["preview hangzhou", "update?", "up hangzhou", "play?", f"site.yml --tags tenants {CHUNAN}"]
RESIZED = ["preview cell-a", "update?", "up cell-a", "play?", "site.yml"]


def test_the_form_of_the_port_follows_from_the_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    assert isinstance(port_of(EnvironmentFolder("prod")), Native)
    assert isinstance(port_of(EnvironmentFolder("local")), Recovering)
    assert isinstance(port_of(EnvironmentFolder("test-a")), Recovering)


def onboard_chunan(province: Province) -> dict[str, str] | None:
    return onboard(province.port, CHUNAN, province.run("onboard"))[1]


def test_onboarding_in_production_shows_asks_and_does_just_that(province: Province) -> None:
    assert onboard_chunan(province) is not None
    assert province.done == ONBOARDED
    assert province.site.replayed == [CHUNAN]
    assert f"alicloud:rds/database:Database::t{CHUNAN}" in province.printed.getvalue(), "the preview is shown"
    assert not province.folder.registry_overlay.exists(), "production is what its registry says"
    assert not province.folder.demo.exists(), "nobody is made up"
    assert list(province.folder.previews.iterdir()) == []


def test_resizing_in_production_shows_asks_and_does_just_that(province: Province) -> None:
    resize(province.port, "cell-a", province.run())
    assert province.done == RESIZED


VERBS: dict[str, tuple[Callable[[Province], object], list[str]]] = {
    "onboard": (onboard_chunan, ONBOARDED),
    "resize": (lambda province: resize(province.port, "cell-a", province.run()), RESIZED),
}
each_verb = pytest.mark.parametrize("verb", VERBS)


@each_verb
def test_no_changes_nothing(province: Province, verb: str) -> None:
    do, order = VERBS[verb]
    province.answers["update"] = False
    with pytest.raises(StageError, match="was not changed: the preview was not agreed to"):
        do(province)
    assert province.done == order[:2]


@each_verb
def test_a_preview_that_fails_stops_before_the_question(province: Province, verb: str) -> None:
    do, order = VERBS[verb]
    province.faults[order[0]] = EngineError("the cloud does not answer")
    with pytest.raises(StageError, match="the cloud does not answer"):
        do(province)
    assert province.done == order[:1]


@each_verb
@pytest.mark.parametrize("place", [2, 3, 4], ids=["update", "question", "playbook"])
@pytest.mark.parametrize("fault", [EngineError("cut short"), KeyboardInterrupt()], ids=["fails", "ctrl-c"])
def test_a_run_cut_short_is_gone_on_with(province: Province, verb: str, place: int, fault: BaseException) -> None:
    do, order = VERBS[verb]
    province.faults[order[place]] = fault
    with pytest.raises((StageError, EngineError, KeyboardInterrupt)):
        do(province)
    assert province.done == order[: place + 1], "nothing is mended or taken back"
    province.faults.clear()
    province.done.clear()
    do(province)
    # A stack that stands has nothing to be asked about; what was not reached is done.
    assert province.done == (order if place == 2 else [order[0], *order[3:]])


def test_what_a_failed_update_has_made_stays_in_production_and_is_told(province: Province) -> None:
    province.outputs = province.outputs.model_copy(
        update={"tenants": [tenant for tenant in province.outputs.tenants if tenant.code != CHUNAN]}
    )
    province.faults["up hangzhou"] = EngineError("cut short")
    with pytest.raises(StageError, match="cut short"):
        onboard_chunan(province)
    assert (
        "what prod.hangzhou has of 淳安县 by now stays: pulumi preview -s prod.hangzhou" in province.printed.getvalue()
    )


def test_a_preview_that_touches_another_tenant_is_refused(province: Province) -> None:
    province.changes["hangzhou"] = (f"t{CHUNAN}", f"t{XIHU}")
    with pytest.raises(StageError, match=f"touches more than {CHUNAN}: .*t{XIHU}; nothing was changed"):
        onboard_chunan(province)
    assert province.done == ["preview hangzhou"]


def test_a_tenant_that_the_registry_plans_is_made_live_there_first(province: Province) -> None:
    planned = next(division for division in load_registry().divisions.values() if division.label == "yuhang")
    overlaid = f'statuses: {{"{planned.code}": planned}}\n'
    province.folder.root.mkdir()
    province.folder.registry_overlay.write_text(overlaid)
    with pytest.raises(StageError) as refused:
        onboard(province.port, planned.code, province.run())
    assert "planned by the registry, which is production's" in refused.value.cause
    assert str(planned.file) in refused.value.way_out
    assert (province.done, province.folder.registry_overlay.read_text()) == ([], overlaid)


def test_hosts_out_of_reach_are_told_before_anything(province: Province) -> None:
    province.unreached = ["cell-a-application-2"]
    with pytest.raises(StageError, match="cell-a-application-2 cannot be reached over SSH"):
        onboard_chunan(province)
    assert province.done == []


def test_a_cell_without_a_stack_or_a_plan_is_named(province: Province) -> None:
    with pytest.raises(StageError, match="has no cell 'cell-z'"):
        resize(province.port, "cell-z", province.run())
    with pytest.raises(StageError, match="has no cell 'hangzhou'"):
        resize(province.port, "hangzhou", province.run())
    province.stacks.remove("cell-a")
    with pytest.raises(StageError, match=r"stack prod\.cell-a is not there yet"):
        resize(province.port, "cell-a", province.run())
    assert province.done == []


def test_up_in_production_is_a_chain_of_previews_each_with_its_question(province: Province) -> None:
    up(province.port, province.run())
    asked = [["preview foundation"], ["preview cell-a", "update?", "up cell-a"], ["preview cell-core"],
             ["preview zhejiang"], ["preview hangzhou", "update?", "up hangzhou"], ["play?", "site.yml"]]  # fmt: skip
    assert province.done == [step for steps in asked for step in steps]


def test_up_in_production_has_no_stacks_side_by_side(province: Province) -> None:
    refused = CliRunner().invoke(cli.app, ["up", "prod", "--yes", "--at-once", "2"]).exception
    assert isinstance(refused, StageError)
    assert "one after the other" in refused.cause
    assert province.done == []


def test_up_in_production_makes_no_stack_by_itself(province: Province) -> None:
    province.stacks.remove("zhejiang")
    with pytest.raises(StageError, match=r"prod\.zhejiang: no such stack") as refused:
        up(province.port, province.run())
    assert "pulumi stack init prod.zhejiang" in refused.value.way_out
    assert province.done == []


@pytest.mark.parametrize("cells", [["cell-a"], ["cell-core"]])
def test_verbs_hold_the_cells_that_they_touch_and_no_others(province: Province, cells: list[str]) -> None:
    for do, _ in VERBS.values():
        with holding(province.folder, "resize", cells):
            if cells == ["cell-a"]:
                with pytest.raises(StageError, match="is changing cell-a of prod"):
                    do(province)
                assert province.done == []
            else:
                do(province)
    with holding(province.folder, "resize", cells), pytest.raises(StageError, match="is changing"):
        up(province.port, province.run())


@pytest.mark.parametrize("words", [["onboard", "prod", CHUNAN], ["resize", "prod", "cell-a"], ["up", "prod"]])
def test_where_nobody_sits_nothing_is_changed_without_a_word_given_beforehand(
    province: Province, words: list[str]
) -> None:
    refused = CliRunner().invoke(cli.app, words)
    assert isinstance(refused.exception, StageError)
    assert "nobody is there to agree: Update prod." in refused.exception.cause
    assert "--yes" in refused.exception.way_out
    assert not any(step.startswith("up ") or step.startswith("site.yml") for step in province.done)


def test_a_word_given_beforehand_agrees_to_all(province: Province) -> None:
    done = CliRunner().invoke(cli.app, ["onboard", "prod", CHUNAN, "--yes"], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    assert province.done == [step for step in ONBOARDED if not step.endswith("?")]
    assert "淳安县 answers at https://" in done.output and "First administrator's link" in done.output


@pytest.mark.parametrize(("answers", "exit_code"), [("y\ny\n", 0), ("n\n", 1)], ids=["agreed", "not agreed"])
def test_whoever_sits_there_is_asked(
    province: Province, monkeypatch: pytest.MonkeyPatch, answers: str, exit_code: int
) -> None:
    monkeypatch.setattr("tools.commands.arguments.is_attended", lambda: True)
    done = CliRunner().invoke(cli.app, ["onboard", "prod", CHUNAN], input=answers)
    assert "Update prod.hangzhou just so (1 created)?" in done.output
    assert done.exit_code == exit_code, done.output
    assert ("up hangzhou" in province.done) == (exit_code == 0)


@pytest.mark.parametrize("words", [["down", "prod"], ["down", "prod", "--purge"], ["demo-loop", "prod"]])
def test_what_is_for_environments_of_this_machine_refuses_production(province: Province, words: list[str]) -> None:
    refused = CliRunner().invoke(cli.app, words).exception
    assert isinstance(refused, StageError)
    assert refused.cause == f"{words[0]} works on local and test environments only, not on prod"
    assert "docs/production.md" in refused.way_out
    assert province.done == []


@pytest.mark.parametrize("what", ["bursting", "seeding"])
def test_no_port_of_production_knows_what_is_for_this_machine(province: Province, what: str) -> None:
    assert not hasattr(province.port, what)
    with pytest.raises(StageError, match=f"{what} works on local and test environments only"):
        own_port_of(province.folder, what)


@pytest.mark.parametrize(
    "words", [["up"], ["onboard", CHUNAN], ["resize", "cell-a"], ["down"], ["demo-loop"]], ids=lambda words: words[0]
)
def test_make_refuses_production_with_its_own_words(
    province: Province, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("YIWANG_BY_MAKE", "1")
    refused = CliRunner().invoke(cli.app, [words[0], "prod", *words[1:]]).exception
    assert isinstance(refused, StageError)
    assert refused.cause == "make works on local and test environments only, not on prod"
    assert province.done == []


@pytest.mark.parametrize(
    ("target", "says"), [("up", True), ("onboard", True), ("demo-loop", True), ("down", True), ("gate", False)]
)
def test_the_makefile_says_that_make_calls_where_something_is_changed(target: str, says: bool) -> None:
    program = "env | grep -c ^YIWANG_BY_MAKE=1; :"
    shown = subprocess.run(
        ["make", "--silent", f"YIWANG={program}", target], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{says:d}\n"
