"""The provider's calls as the engine makes them, on classes that the cloud keeps; no engine, no hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2 as wire

from infra.local.cloud import Cloud, CloudSettings, Owner
from infra.local.cloud.kept import KeptSpec
from infra.local.plugin.binding import Identity
from infra.local.plugin.declared import DeclaredStore
from infra.local.plugin.inventory import Thing, things
from infra.local.plugin.logs import EngineLog
from infra.local.plugin.provider import LocalProvider
from infra.local.plugin.values import UNKNOWN, Secret, from_struct, to_struct

ENVIRONMENT = "test-provider"
STACK = f"{ENVIRONMENT}.one"
PROJECT = "alicloud:log/project:Project"
STORE = "alicloud:log/store:Store"
KEY = "alicloud:kms/key:Key"
SECRET = "alicloud:kms/secret:Secret"
GROUP = "alicloud:resourcemanager/resourceGroup:ResourceGroup"
USER = "alicloud:ram/user:User"


class Refusal(Exception):
    pass


class Context:
    """Stands in for gRPC's: an abort ends the call."""

    def abort(self, code: Any, message: str) -> None:
        raise Refusal(message)


class Caller:
    """Calls a provider as the engine does; a new one is a new process."""

    def __init__(self) -> None:
        self.provider = LocalProvider(EngineLog(None))

    def check(self, token: str, name: str, inputs: dict[str, Any], olds: dict[str, Any] | None = None) -> Any:
        request = wire.CheckRequest(urn=urn(token, name), news=to_struct(inputs), olds=to_struct(olds or {}))
        return self.provider.Check(request, Context())

    def create(
        self, token: str, name: str, inputs: dict[str, Any], preview: bool = False
    ) -> tuple[str, dict[str, Any]]:
        checked = self.check(token, name, inputs)
        assert not checked.failures, checked.failures
        request = wire.CreateRequest(urn=urn(token, name), properties=checked.inputs, preview=preview)
        made = self.provider.Create(request, Context())
        return made.id, from_struct(made.properties)

    def diff(self, token: str, name: str, id: str, old: dict[str, Any], new: dict[str, Any]) -> Any:
        request = wire.DiffRequest(urn=urn(token, name), id=id, old_inputs=to_struct(old), news=to_struct(new))
        return self.provider.Diff(request, Context())

    def read(self, token: str, name: str, id: str, inputs: dict[str, Any] | None = None) -> Any:
        state = to_struct(inputs or {})
        request = wire.ReadRequest(urn=urn(token, name), id=id, inputs=state, properties=state)
        return self.provider.Read(request, Context())

    def update(
        self, token: str, name: str, id: str, old: dict[str, Any], new: dict[str, Any], preview: bool = False
    ) -> Any:
        request = wire.UpdateRequest(
            urn=urn(token, name),
            id=id,
            olds=to_struct(old),
            old_inputs=to_struct(old),
            news=to_struct(new),
            preview=preview,
        )
        return from_struct(self.provider.Update(request, Context()).properties)

    def delete(self, token: str, name: str, id: str) -> None:
        self.provider.Delete(wire.DeleteRequest(urn=urn(token, name), id=id), Context())


def urn(token: str, name: str, stack: str = STACK) -> str:
    return f"urn:pulumi:{stack}::yiwang::yiwang:infra:Part${token}::{name}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YIWANG_HOME", str(tmp_path))
    return tmp_path / ENVIRONMENT / "cloud"


@pytest.fixture
def engine(folder: Path) -> Caller:
    return Caller()


def test_a_preview_knows_what_was_given_and_nothing_else(engine: Caller) -> None:
    id, outputs = engine.create(KEY, "key", {"description": "d"}, preview=True)
    assert id == "" and outputs["description"] == "d" and outputs["arn"] is UNKNOWN
    assert things(ENVIRONMENT, STACK) == set()


def test_create_read_update_delete(engine: Caller) -> None:
    id, outputs = engine.create(PROJECT, "logs", {"projectName": "yw-logs", "tags": {"a": "1"}})
    assert id == "yw-logs" and outputs["tags"] == {"a": "1"}
    read = engine.read(PROJECT, "logs", id, {"projectName": "yw-logs", "tags": {"a": "1"}})
    assert from_struct(read.inputs) == {"projectName": "yw-logs", "tags": {"a": "1"}}
    changed = engine.update(PROJECT, "logs", id, {"projectName": "yw-logs"}, {"projectName": "yw-logs", "tags": {}})
    assert changed["tags"] == {}
    engine.delete(PROJECT, "logs", id)
    assert engine.read(PROJECT, "logs", id, {"projectName": "yw-logs"}).id == ""
    engine.delete(PROJECT, "logs", id)


def test_refused_inputs_name_property_reason_and_way_out(engine: Caller) -> None:
    failures = engine.check(PROJECT, "logs", {"projectName": "Not_A_Name"}).failures
    assert [failure.property for failure in failures] == ["projectName"]
    assert "3 to 63 lower-case letters" in failures[0].reason and "[P] log_project" in failures[0].reason
    unknown = engine.check("alicloud:ecs/instant:Instant", "x", {}).failures
    assert "no class" in unknown[0].reason
    retired = engine.check("alicloud:ecs/eip:Eip", "x", {}).failures
    assert any("use ecs.EipAddress" in failure.reason for failure in retired)


def test_errors_name_the_resource(engine: Caller) -> None:
    with pytest.raises(Refusal, match=r"Store 'store': EntityNotExist: .* 'nowhere'.* pass that resource's output"):
        engine.create(STORE, "store", {"projectName": "nowhere", "logstoreName": "flow"})


def test_secrets_stay_wrapped(engine: Caller, folder: Path) -> None:
    inputs = {"secretName": "s", "secretData": "very-hidden", "versionId": "v1"}
    checked = engine.check(SECRET, "s", inputs)
    assert from_struct(checked.inputs)["secretData"] == Secret("very-hidden"), "wrapped though the program forgot to"
    id, outputs = engine.create(SECRET, "s", inputs)
    assert outputs["secretData"] == Secret("very-hidden")
    for read in (engine.read(SECRET, "s", id), engine.read(SECRET, "s", id, outputs)):
        assert from_struct(read.inputs)["secretData"] == Secret("very-hidden")
        assert from_struct(read.properties)["secretData"] == Secret("very-hidden")
    for file in folder.rglob("*"):
        assert not file.is_file() or b"very-hidden" not in file.read_bytes(), file


def test_a_create_that_was_cut_off_is_adopted(engine: Caller) -> None:
    first, _ = engine.create(KEY, "key", {"description": "a"})
    again, outputs = Caller().create(KEY, "key", {"description": "b"})
    assert again == first and outputs["description"] == "b"


def test_a_cut_off_create_that_must_be_another_by_now_is_made_again(engine: Caller) -> None:
    first, _ = engine.create(PROJECT, "logs", {"projectName": "first"})
    second, _ = Caller().create(PROJECT, "logs", {"projectName": "second"})
    assert (first, second) == ("first", "second")
    assert {thing.id for thing in things(ENVIRONMENT, STACK)} == {"second"}


def test_a_replacement_stands_beside_what_it_replaces(engine: Caller) -> None:
    old = {"keyUsage": "ENCRYPT/DECRYPT"}
    new = {"keyUsage": "SIGN/VERIFY"}
    first, _ = engine.create(KEY, "key", old)
    later = Caller()
    diff = later.diff(KEY, "key", first, old, new)
    assert list(diff.replaces) == ["keyUsage"] and not diff.deleteBeforeReplace
    second, _ = later.create(KEY, "key", new)
    assert second != first
    killed = Caller()
    killed.diff(KEY, "key", first, old, new)
    assert killed.create(KEY, "key", new)[0] == second, "a replacement that was cut off is adopted, too"
    later.delete(KEY, "key", first)
    assert {thing.id for thing in things(ENVIRONMENT, STACK)} == {second}


def test_a_replacement_under_the_same_physical_name_collides(engine: Caller) -> None:
    inputs = {"secretName": "s", "secretData": "x", "versionId": "v1", "secretType": "Generic"}
    id, _ = engine.create(SECRET, "s", inputs)
    later = Caller()
    later.diff(SECRET, "s", id, inputs, {**inputs, "secretType": "Rds"})
    with pytest.raises(Refusal, match="exist"):
        later.create(SECRET, "s", {**inputs, "secretType": "Rds"})
    later.delete(SECRET, "s", id)
    assert later.create(SECRET, "s", {**inputs, "secretType": "Rds"})[0] == id


def test_a_name_belongs_to_one_resource(engine: Caller) -> None:
    engine.create(PROJECT, "one", {"projectName": "yw-logs"})
    with pytest.raises(Refusal, match=r"Project 'two': EntityAlreadyExists: .*choose another name"):
        engine.create(PROJECT, "two", {"projectName": "yw-logs"})


def test_what_is_used_cannot_go(engine: Caller) -> None:
    group, _ = engine.create(GROUP, "g", {"displayName": "g", "resourceGroupName": "ggg"})
    project, _ = engine.create(PROJECT, "logs", {"projectName": "yw-logs", "resourceGroupId": group})
    engine.create(STORE, "flow", {"projectName": project, "logstoreName": "flow"})
    for token, name, id in ((GROUP, "g", group), (PROJECT, "logs", project)):
        with pytest.raises(Refusal, match=r"DependencyViolation: .* uses it; delete that first"):
            engine.delete(token, name, id)
    engine.delete(STORE, "flow", f"{project}:flow")
    engine.delete(PROJECT, "logs", project)
    engine.delete(GROUP, "g", group)


def test_what_is_protected_cannot_go(engine: Caller) -> None:
    id, _ = engine.create(KEY, "key", {"deletionProtection": "Enabled"})
    with pytest.raises(Refusal, match="set it to Disabled, update, then delete"):
        engine.delete(KEY, "key", id)


def test_a_quota_that_is_full(engine: Caller) -> None:
    for number in range(5):
        engine.create("alicloud:actiontrail/trail:Trail", f"t{number}", trail(number))
    with pytest.raises(Refusal, match="QuotaExceeded"):
        engine.create("alicloud:actiontrail/trail:Trail", "t5", trail(5))


def trail(number: int) -> dict[str, Any]:
    return {"trailName": f"trail-{number}", "slsProjectArn": "acs:log:a:1:project/p"}


def test_drift_is_seen(engine: Caller, folder: Path) -> None:
    declared = {"projectName": "yw-logs", "description": "as declared"}
    id, _ = engine.create(PROJECT, "logs", declared)
    cloud = Cloud(folder, ENVIRONMENT)
    (record,) = cloud.kept.list()
    by_hand = KeptSpec(PROJECT, {**declared, "description": "by hand"}, {}, id)
    cloud.kept.update(record.id, by_hand)
    assert from_struct(engine.read(PROJECT, "logs", id, declared).inputs)["description"] == "by hand"
    cloud.kept.delete(record.id)
    assert engine.read(PROJECT, "logs", id, declared).id == ""
    assert engine.create(PROJECT, "logs", declared)[0] == id, "made again after a refresh in the same run"


def test_import_builds_the_inputs(engine: Caller) -> None:
    id, _ = engine.create(PROJECT, "logs", {"projectName": "yw-logs", "tags": {"a": "1"}})
    read = engine.read(PROJECT, "other-name", id)
    assert read.id == id and from_struct(read.inputs) == {"projectName": "yw-logs", "tags": {"a": "1"}}


def test_ids_of_another_form_than_the_record_s(engine: Caller, folder: Path) -> None:
    id, _ = engine.create(USER, "user", {"name": "yw-user", "comments": "c"})
    assert id.isdigit() and len(id) == 18
    cloud = Cloud(folder, ENVIRONMENT)
    (record,) = cloud.users.list()
    assert record.id != id and record.owner == Owner(STACK, "user")
    engine.update(USER, "user", id, {"name": "yw-user"}, {"name": "yw-user", "comments": "changed"})
    assert cloud.users.list()[0].spec.comments == "changed"
    engine.delete(USER, "user", id)
    assert cloud.users.list() == []


def test_a_renamed_resource_keeps_what_it_has(engine: Caller) -> None:
    """An alias: the engine diffs the old id under a new URN; the old name is then free for another resource."""
    id, _ = engine.create(USER, "old", {"name": "yw-user"})
    later = Caller()
    later.diff(USER, "new", id, {"name": "yw-user"}, {"name": "yw-user"})
    other, _ = later.create(USER, "old", {"name": "yw-other"})
    assert other != id and len(things(ENVIRONMENT, STACK)) == 2


def test_the_inventory_holds_what_no_state_knows(engine: Caller, folder: Path) -> None:
    engine.create(PROJECT, "logs", {"projectName": "yw-logs"})
    cloud = Cloud(folder, ENVIRONMENT)
    cloud.kept.create(Owner(STACK, "stray"), KeptSpec(PROJECT, {"projectName": "stray"}, {}, "stray"))
    assert things(ENVIRONMENT, STACK) == {Thing(PROJECT, "yw-logs", "logs"), Thing(PROJECT, "stray", "stray")}
    assert things(ENVIRONMENT, f"{ENVIRONMENT}.other") == set()


def test_two_environments_do_not_see_each_other(engine: Caller) -> None:
    engine.create(PROJECT, "logs", {"projectName": "yw-logs"})
    assert things("test-other", "test-other.one") == set()


def test_a_broken_cloud_is_told_with_its_words(engine: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(DeclaredStore, "put", fail)
    with pytest.raises(Refusal, match=r"Project 'logs': the local cloud failed: OSError: disk full"):
        engine.create(PROJECT, "logs", {"projectName": "yw-logs"})


def test_the_provider_s_own_settings_are_checked(engine: Caller) -> None:
    good = wire.CheckRequest(news=to_struct({"region": "cn-hangzhou", "skipRegionValidation": "true"}))
    assert not engine.provider.CheckConfig(good, Context()).failures
    bad = wire.CheckRequest(news=to_struct({"regoin": "cn-hangzhou"}))
    assert "did you mean `region`?" in engine.provider.CheckConfig(bad, Context()).failures[0].reason


def test_data_sources(engine: Caller) -> None:
    engine.provider.Configure(wire.ConfigureRequest(args=to_struct({"region": "cn-hangzhou"})), Context())
    zones = engine.provider.Invoke(wire.InvokeRequest(tok="alicloud:index/getZones:getZones"), Context())
    assert from_struct(getattr(zones, "return"))["ids"][0] == "cn-hangzhou-h"
    with pytest.raises(Refusal, match="pass the value as a setting instead"):
        engine.provider.Invoke(wire.InvokeRequest(tok="alicloud:ecs/getImages:getImages"), Context())


def test_identity_of_a_urn() -> None:
    identity = Identity(urn(PROJECT, "a::b"))
    assert (identity.environment, identity.stack, identity.name) == (ENVIRONMENT, STACK, "a::b")


def test_settings_of_the_cloud_are_kept(folder: Path) -> None:
    Cloud(folder, ENVIRONMENT).configure(CloudSettings(site_port=9443))
    assert Cloud(folder, ENVIRONMENT).settings.site_port == 9443
