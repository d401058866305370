"""The real engine against the local edition of the provider, on classes that need no hosts."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import psutil
import pytest

from infra.engine import EngineError
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.records import Owner
from infra.local.cloud.specs.buckets import UserSpec
from infra.local.plugin.inventory import things
from infra.local.recovery import cancel_stale_lock, compare, read_state, recover, take_down
from tests.integration.small_project import SmallProject
from tests.support.waiting import wait_until
from tools.native import OUTPUTS_CHANGE

PROJECT = "alicloud:log/project:Project"
TWO = """
group = alicloud.resourcemanager.ResourceGroup("g", display_name="g", resource_group_name="yw-g", opts=options())
project = alicloud.log.Project("logs", project_name="{name}", description="{description}",
    resource_group_id=group.id, opts=options(delete_before_replace=True))
store = alicloud.log.Store("flow", project_name=project.project_name, logstore_name="flow", opts=options())
secret = alicloud.kms.Secret("s", secret_name="s", secret_data="very-hidden-value", version_id="v1", opts=options())
pulumi.export("group", group.id)
"""
MANY = """
group = alicloud.resourcemanager.ResourceGroup("g", display_name="g", resource_group_name="yw-g", opts=options())
for n in range(8):
    user = alicloud.ram.User(f"u{n}", name=f"yw-u{n}", opts=options())
    key = alicloud.kms.Key(f"k{n}", description="{description}", opts=options(depends_on=[user]))
    alicloud.kms.Alias(f"a{n}", alias_name=f"alias/yw-{n}", key_id=key.id, opts=options())
"""
GROUP = """
group = alicloud.resourcemanager.ResourceGroup("g", display_name="g", resource_group_name="yw-g", opts=options())
pulumi.export("id", group.id)
"""
EMPTY = ""


def many(description: str = "first") -> str:
    return MANY.replace("{description}", description)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallProject:
    return SmallProject.make(tmp_path, monkeypatch)


def test_the_life_of_a_stack(project: SmallProject) -> None:
    project.program(TWO.format(name="yw-logs", description="one"))
    assert project.up().by_kind == {"create": 6}
    assert not project.up("--expect-no-changes").any
    assert not project.refresh("--expect-no-changes").any

    project.program(TWO.format(name="yw-logs", description="two"))
    assert project.up().by_kind == {"update": 1}

    project.program(TWO.format(name="yw-other", description="two"))
    log = StringIO()
    project.engine.preview(project.scope, log)
    assert "[replace]" in log.getvalue() or "(replace)" in log.getvalue() or "delete-replaced" in log.getvalue()
    project.up()
    assert {thing.id for thing in things(project.environment, project.name) if thing.token == PROJECT} == {"yw-other"}
    assert not project.up("--expect-no-changes").any

    hidden = b"very-hidden-value"
    for folder in (project.folder.pulumi_backend, project.folder.cloud):
        assert not [file for file in folder.rglob("*") if file.is_file() and hidden in file.read_bytes()]

    project.destroy()
    assert things(project.environment, project.name) == set()
    assert Cloud(project.folder.cloud, project.environment).inventory() == []


def test_refusals_reach_the_user(project: SmallProject) -> None:
    project.program('alicloud.log.Project("logs", project_name="Not_A_Name", opts=options())')
    with pytest.raises(EngineError, match=r"projectName.* is ill-formed; allowed: 3 to 63 lower-case"):
        project.preview()
    project.program('alicloud.ecs.Eip("ip", opts=options())')
    with pytest.raises(EngineError, match=r"use ecs\.EipAddress"):
        project.preview()
    project.program('alicloud.log.Store("flow", project_name="nowhere", logstore_name="flow", opts=options())')
    with pytest.raises(EngineError, match=r"Store 'flow': EntityNotExist: projectName names the Project 'nowhere'"):
        project.up()
    assert things(project.environment, project.name) == set()


def test_a_stack_that_asks_for_the_real_provider_never_reaches_this_one(project: SmallProject) -> None:
    project.program('alicloud.log.Project("logs", project_name="yw-logs")')
    with pytest.raises(EngineError, match=r"alicloud"):
        project.up()
    assert things(project.environment, project.name) == set()


def test_a_killed_update_is_finished(project: SmallProject) -> None:
    """At one step; `tests/stacks` has ten of them."""
    project.program(many())
    assert project.kill_after(9)
    recover(project.engine, project.scope, StringIO())
    assert_whole(project)


def test_a_killed_second_update_and_destroy_are_finished(project: SmallProject) -> None:
    project.program(many())
    project.up()
    project.program(many("second"))
    project.kill_after(5)
    recover(project.engine, project.scope, StringIO())
    assert_whole(project)
    project.program(EMPTY)
    project.kill_after(8)
    recover(project.engine, project.scope, StringIO())
    assert things(project.environment, project.name) == set()


def assert_whole(project: SmallProject) -> None:
    difference = compare(project.engine, project.scope)
    assert not difference.missing and not difference.unknown, difference
    state = read_state(project.engine, project.scope)
    assert not state.pending and len(state.resources) == 25
    assert not project.up("--expect-no-changes").any


def test_plugins_end_with_their_engine(project: SmallProject) -> None:
    project.program(many())
    assert project.kill_after(6)
    mine = str(project.folder.pulumi_home)
    wait_until(lambda: not plugins_of(mine), 10, "the killed engine's plugins to end")


def plugins_of(home: str) -> list[str]:
    commands = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if home in command and "pulumi-resource-alicloud" in command:
            commands.append(command)
    return commands


def test_a_lock_is_kept_for_a_living_engine_and_taken_from_a_dead_one(project: SmallProject) -> None:
    project.program("import threading\nthreading.Event().wait()")
    with project.engine_at_work() as engine:
        locks = project.folder.pulumi_backend / ".pulumi" / "locks"
        wait_until(lambda: list(locks.rglob("*.json")), 60, "the engine's lock")
        with pytest.raises(EngineError, match=f"being updated by process {engine.pid}: wait for it, or end it"):
            recover(project.engine, project.scope, StringIO())
    assert cancel_stale_lock(project.engine, project.scope, StringIO())
    assert not cancel_stale_lock(project.engine, project.scope, StringIO())


def test_a_torn_side_file_of_the_state_is_taken_away(project: SmallProject) -> None:
    project.program(GROUP)
    project.up()
    states = project.folder.pulumi_backend / ".pulumi" / "stacks" / "yiwang"
    torn = states / f"{project.name}.json.attrs"
    assert not torn.exists(), "our own variables keep the engine from writing any"
    torn.touch()
    with pytest.raises(EngineError, match="EOF"):
        project.exported()
    assert not recover(project.engine, project.scope, StringIO()).any


def test_what_is_left_over_is_taken_away(project: SmallProject) -> None:
    """Made by a run that was killed, and declared by no program any more."""
    project.program(TWO.format(name="yw-logs", description="one"))
    project.up()
    cloud = Cloud(project.folder.cloud, project.environment)
    cloud.users.create(Owner(project.name, "stray"), UserSpec(name="stray"))
    assert [thing.name for thing in compare(project.engine, project.scope).unknown] == ["stray"]
    recover(project.engine, project.scope, StringIO())
    difference = compare(project.engine, project.scope)
    assert not difference.missing and not difference.unknown and cloud.users.list() == []


def test_what_a_state_let_go_goes_with_its_stack(project: SmallProject) -> None:
    """A store that the state let go names its project, which could not go before it."""
    project.program(TWO.format(name="yw-logs", description="one"))
    project.up()
    resources = project.exported()["deployment"]["resources"]
    (urn,) = [resource["urn"] for resource in resources if resource["type"].endswith("log/store:Store")]
    project.engine.run(["state", "delete", urn, "--force", "--yes", "--stack", project.name])
    with pytest.raises(EngineError, match="Store"):
        project.destroy()
    take_down(project.engine, project.scope, StringIO())
    assert things(project.environment, project.name) == set()
    assert read_state(project.engine, project.scope).resources == set()


def test_import_and_dependants_of_another_stack(project: SmallProject) -> None:
    project.program(GROUP)
    project.up()
    group = project.engine.outputs(project.scope)["id"]
    other = SmallProject(project.root, scope="two")
    other.folder, other.engine = project.folder, project.engine
    other.stack("two")
    other.program(f'alicloud.log.Project("logs", project_name="yw-logs", resource_group_id="{group}", opts=options())')
    other.up()
    with pytest.raises(EngineError, match=r"DependencyViolation: .*test-engine\.two.*delete that first"):
        project.destroy()
    # Out of the state and in again, by the id alone: nothing of the thing changes.
    urn = next(
        resource["urn"] for resource in other.exported()["deployment"]["resources"] if resource["type"] == PROJECT
    )
    provider = read_state(other.engine, "two").provider
    other.engine.run(["state", "delete", "--yes", "--stack", other.name, urn])
    words = ["import", PROJECT, "logs", "yw-logs", "--provider", f"cloud={provider}"]
    other.engine.run(
        [*words, "--generate-code=false", "--protect=false", "--yes", "--skip-preview", "--stack", other.name]
    )
    assert not other.up("--expect-no-changes").any
    other.destroy()
    project.destroy()
    assert Cloud(project.folder.cloud, project.environment).inventory() == []


def test_an_update_is_held_to_the_preview_that_was_shown(project: SmallProject, tmp_path: Path) -> None:
    """As production's form of the port does it. What program or state have become meanwhile is not done unseen."""
    shown, log = tmp_path / "shown.json", StringIO()
    project.program(GROUP)
    assert project.preview("--save-plan", str(shown)).by_kind["create"] == 3
    project.program(TWO.format(name="yw-logs", description="one"))
    with pytest.raises(EngineError, match="create is not allowed by the plan"):
        project.up("--plan", str(shown))
    assert PROJECT not in {thing.token for thing in things(project.environment, project.name)}

    project.preview("--save-plan", str(shown))
    assert b"very-hidden-value" not in shown.read_bytes()
    project.up("--plan", str(shown))
    assert not project.up("--expect-no-changes").any

    project.engine.preview(project.scope, log)
    assert not OUTPUTS_CHANGE.search(log.getvalue())
    project.program(TWO.format(name="yw-logs", description="one") + 'pulumi.export("more", "told")\n')
    assert not project.engine.preview(project.scope, log, "--save-plan", str(shown)).any
    assert OUTPUTS_CHANGE.search(log.getvalue()), "what only changes outputs is a change, too"
    project.up("--plan", str(shown))
    assert project.engine.outputs(project.scope)["more"] == "told"
