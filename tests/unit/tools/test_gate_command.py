"""`yiwang gate` and what it runs: no verdict without an environment, no load without sight, nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from infra.engine import Engine
from infra.folder import EnvironmentFolder
from loadtests.gate.evidence import Evidence
from loadtests.rehearsal import Kit
from loadtests.result import LoadResult
from loadtests.scenario import Scenario
from tests.unit.loadtests.gate_cases import APPLICATION, CPU, OUTPUTS, SCENARIO, healthy_evidence, healthy_load, spoiled
from tools import cli
from tools import gate as gates
from tools.gate import Judged, run_gate
from tools.stages import StageError

ENVIRONMENT = "test-gate"
DEAD = 2**22 + 1
"""No process has this number: Linux gives none above 2²²."""


class Stage:
    """Everything that a gate touches, and what it did with it."""

    def __init__(self, root: Path) -> None:
        self.done: list[str] = []
        self.said: list[str] = []
        self.evidence: Evidence = healthy_evidence()
        self.load: LoadResult = healthy_load()
        self.kit: object | None = None
        self.faults: list[str] = []
        self.warnings: list[str] = []
        self.removal: Callable[[], dict[str, int]] = lambda: {"affairs.cases": 12}
        self.published: list[dict[str, Any]] = []
        self.folder = root

    def run(self, scenario: Scenario = SCENARIO) -> Judged:
        return run_gate(Engine(EnvironmentFolder(ENVIRONMENT)), scenario, folder=self.folder, say=self.said.append)

    def note(self, what: str, answer: object = None) -> Callable[..., Any]:
        def call(*_: object, **__: object) -> object:
            self.done.append(what)
            return answer() if callable(answer) else answer

        return call


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stage:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path / "home"))
    stage = Stage(tmp_path / "reports")
    monkeypatch.setattr("tools.gate.outputs_of", lambda _: OUTPUTS)
    monkeypatch.setattr("tools.gate.registry_of", lambda _: None)
    monkeypatch.setattr("tools.gate.plans.load", lambda *_: (None, stage.warnings))
    monkeypatch.setattr("tools.gate.blindness", lambda _: stage.faults)
    monkeypatch.setattr("tools.gate.rehearsal_people.kit_of", lambda _: stage.kit)
    monkeypatch.setattr("tools.gate.rehearsal_people.prepare", stage.note("prepare"))
    monkeypatch.setattr("tools.gate.rehearsal_people.remove", stage.note("remove", lambda: stage.removal()))
    monkeypatch.setattr("tools.gate.load_run.run", stage.note("load", lambda: stage.load))
    monkeypatch.setattr("tools.gate.collect", stage.note("collect", lambda: stage.evidence))
    monkeypatch.setattr("tools.gate.time.sleep", lambda _: None)

    def publish(receiver: str | None, verdict: Any) -> str:
        stage.published.append({"receiver": receiver, "verdict": verdict.verdict})
        return ""

    monkeypatch.setattr("tools.gate.publish", publish)
    return stage


def test_a_gate_prepares_loads_asks_and_removes(stage: Stage) -> None:
    judged = stage.run()
    assert judged.verdict.verdict == "GO"
    assert stage.done == ["prepare", "load", "collect", "remove"]
    assert stage.published == [{"receiver": OUTPUTS.receiver, "verdict": "GO"}]
    assert judged.page.parent == stage.folder
    assert {path.name for path in stage.folder.iterdir()} >= {"verdict.json", "junit.xml", "report.html"}


def kit(kept: bool, owner: int) -> Kit:
    return Kit(
        environment="test-gate",
        run="abc",
        issuer="",
        query="",
        ca_file=None,
        tenants=[],
        citizens=[],
        clerks={},
        kept=kept,
        owner=owner,
    )


@pytest.mark.parametrize(("kept", "owner"), [(True, 0), (False, os.getpid())], ids=["kept", "used"])
def test_people_that_somebody_keeps_or_uses_stay(stage: Stage, kept: bool, owner: int) -> None:
    stage.kit = kit(kept, owner)
    stage.run()
    assert "remove" not in stage.done


def test_people_that_an_interrupted_run_has_left_go_with_the_next(stage: Stage) -> None:
    stage.kit = kit(kept=False, owner=DEAD)
    stage.run()
    assert stage.done[-1] == "remove"


def test_what_the_run_made_is_removed_also_when_it_fails(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> LoadResult:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.gate.load_run.run", fail)
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert stage.done == ["prepare", "remove"]
    assert stage.published == []


def test_what_cannot_be_removed_is_said_and_changes_no_verdict(stage: Stage) -> None:
    def stuck() -> dict[str, int]:
        raise StageError("not all could be removed", "run it again")

    stage.removal = stuck
    assert stage.run().verdict.verdict == "GO"
    assert any("yiwang rehearsal remove test-gate" in line for line in stage.said)


def test_without_sight_no_load_is_sent_and_it_is_a_no_go(stage: Stage) -> None:
    stage.faults = ["Prometheus at http://10.0.1.16:9090 does not answer"]
    judged = stage.run()
    assert stage.done == []
    assert judged.verdict.verdict == "NO-GO"
    assert "does not answer" in judged.verdict.reasons[0].sentence


def test_an_environment_without_a_monitoring_host_is_a_no_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    blind = OUTPUTS.model_copy(
        update={
            "cells": [
                cell.model_copy(update={"hosts": [host for host in cell.hosts if host.role != "monitoring"]})
                for cell in OUTPUTS.cells
            ]
        }
    )
    assert blind.prometheus is None
    monkeypatch.setattr("tools.gate.outputs_of", lambda _: blind)
    judged = stage.run()
    assert (judged.verdict.verdict, stage.done) == ("NO-GO", [])
    assert "no monitoring host" in judged.verdict.reasons[0].sentence


def test_an_old_measured_plan_is_a_no_go(stage: Stage) -> None:
    stage.warnings = ["plan.json: the plan was measured 120 days ago (model 20260701); measure again: make plan"]
    judged = stage.run()
    assert [reason.limit for reason in judged.verdict.reasons] == ["age of the plan"]


def test_a_verdict_that_cannot_be_published_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = SimpleNamespace(scenario="launch", verdict="GO", at=1.0, reasons=())
    assert gates.publish(None, cast(Any, verdict)) == "the environment has no receiver"
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(503 if len(sent) > 1 else 204)

    plain = httpx.Client
    monkeypatch.setattr("tools.gate.httpx.Client", lambda **_: plain(transport=httpx.MockTransport(answer)))
    assert gates.publish("http://10.0.1.16:9095", cast(Any, verdict)) == ""
    assert str(sent[0].url) == "http://10.0.1.16:9095/verdicts"
    assert b'"verdict":"GO"' in sent[0].content.replace(b" ", b"")
    assert "503" in gates.publish("http://10.0.1.16:9095", cast(Any, verdict))


# ---- the command ----


def yiwang(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["yiwang", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    return int(cast(int, ended.value.code)), told.out, told.err


UNKNOWN = """
schema_version: 1
name: odd
description: Somebody does what nobody can.
rate: {rate}
ramp_seconds: 0
hold_seconds: 10
people: 1
journeys:
  - {{journey: {journey}, share: 1.0}}
"""


@pytest.mark.parametrize(
    ("journey", "rate", "words"),
    [("mayor", 1, "'mayor' is no journey"), ("citizen", 0, "greater than 0"), ("citizen", 1e9, "100000")],
)
def test_a_scenario_that_does_not_hold_is_refused_without_a_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    journey: str,
    rate: float,
    words: str,
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(UNKNOWN.format(journey=journey, rate=rate))
    code, out, said = yiwang(monkeypatch, capsys, "gate", "test-none", "--scenario", str(file))
    assert code == 3
    assert words in said
    assert "no verdict" in said
    assert "GO" not in out + said


def test_without_an_environment_there_is_one_message_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    code, out, said = yiwang(monkeypatch, capsys, "gate", "test-none")
    assert (code, out) == (3, "")
    assert "test-none does not exist" in said
    assert "make up ENVIRONMENT=test-none" in said
    assert list(tmp_path.iterdir()) == [], "a question makes no environment"


@pytest.mark.parametrize("wrong", [["--nonsense"], ["--workers", "many"], ["local", "and more"]])
def test_wrong_usage_is_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    code, out, said = yiwang(monkeypatch, capsys, "gate", *wrong)
    assert (code, out) == (3, "")
    assert "yiwang gate --help" in said


@pytest.mark.parametrize(("spoil", "code"), [(None, 0), (0.99, 1), (0.85, 2)])
def test_the_exit_code_is_the_verdict(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spoil: float | None, code: int
) -> None:
    if spoil is not None:
        halves = (0.7, 1.0)
        stage.evidence = spoiled(
            healthy_evidence(), CPU, APPLICATION, value=spoil, halves=halves if code == 2 else (None, None)
        )
    changes = ["--rate", "8", "--hold", "60", "--folder", str(stage.folder)]
    ended, out, _ = yiwang(monkeypatch, capsys, "gate", ENVIRONMENT, *changes)
    assert ended == code
    assert out.strip().endswith("report.html")
    assert ("UNSURE" in out, "NO-GO" in out) == (code == 2, code == 1)
