"""The provider's calls as the engine makes them, on classes that the cloud keeps; no engine, no hosts."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2 as wire

from infra.engine import REPOSITORY
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.databases.grants import Grants
from infra.local.cloud.firewall import SecurityRules
from infra.local.cloud.records import Owner, Record
from infra.local.cloud.settings import CloudSettings
from infra.local.cloud.specs.databases import DatabaseInstanceSpec
from infra.local.cloud.specs.firewall import SecurityGroupSpec
from infra.local.cloud.specs.kept import KeptSpec
from infra.local.cloud.specs.networks import NetworkSpec
from infra.local.plugin.binding import environment_of, name_of, stack_of
from infra.local.plugin.declared import Declared, DeclaredStore
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
ACCESS_KEY = "alicloud:ram/accessKey:AccessKey"
NAT = "alicloud:vpc/natGateway:NatGateway"
BASTION = "alicloud:bastionhost/instance:Instance"
SNAPSHOTS = "alicloud:ecs/autoSnapshotPolicy:AutoSnapshotPolicy"
NETWORK = "alicloud:vpc/network:Network"
CEN = "alicloud:cen/instance:Instance"
SECURITY_GROUP = "alicloud:ecs/securityGroup:SecurityGroup"
SECURITY_RULE = "alicloud:ecs/securityGroupRule:SecurityGroupRule"
GRANT = "alicloud:rds/accountPrivilege:AccountPrivilege"


class Refusal(Exception):
    pass


class Context:
    """Stands in for gRPC's: an abort ends the call."""

    def abort(self, code: Any, message: str) -> None:
        raise Refusal(message)

    def is_active(self) -> bool:
        return True


class Caller:
    """Calls a provider as the engine does; a new one is a new process, the one before it was killed unless it ended."""

    def __init__(self) -> None:
        self.provider = LocalProvider(EngineLog(None))

    def end(self) -> Caller:
        """The update comes to its end; the next one."""
        self.provider.end_in_order()
        return Caller()

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


def test_what_the_cloud_holds_it_refuses_with_the_way_out(engine: Caller, folder: Path) -> None:
    """Between things that are really made, missing ones and dependants are the cloud's own to refuse."""
    missing = r"SecurityGroup 'g': InvalidVpcId.NotFound: .*vpc-none does not exist; pass that resource's output"
    with pytest.raises(Refusal, match=missing):
        engine.create(SECURITY_GROUP, "g", {"vpcId": "vpc-none", "securityGroupName": "group"})
    with pytest.raises(Refusal, match=r"AccessKey 'k': EntityNotExist.User: .*does not exist; pass that resource's"):
        engine.create(ACCESS_KEY, "k", {"userName": "nobody"})
    store = Cloud(folder, ENVIRONMENT).kept.store
    store.put(Record("vpc-1", "Network", Owner(STACK, "n"), NetworkSpec("10.0.0.0/16"), {}), None, [])
    store.put(Record("sg-1", "SecurityGroup", Owner(STACK, "g"), SecurityGroupSpec("vpc-1"), {}), None, ["vpc-1"])
    with pytest.raises(Refusal, match=r"DependencyViolation: vpc-1 is in use by SecurityGroup g .*; delete that first"):
        engine.delete(NETWORK, "n", "vpc-1")


def test_a_preview_never_loads_the_cloud() -> None:
    """Its libraries are most of the plugin's weight; rules and specifications need none of them."""
    program = "import infra.local.plugin.provider, infra.local.plugin.lookup as lookup, sys; lookup.every_rule();"
    program += (
        "print([name for name in sys.modules if name.partition('.')[0] in ('boto3', 'pg8000', 'redis', 'pydantic')"
    )
    program += " or name in ('infra.local.cloud.store', 'infra.local.cloud.kind')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"


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


def test_a_renamed_resource_leaves_its_name_to_another_of_any_class(engine: Caller) -> None:
    for token, inputs, other_inputs in (
        (KEY, {"description": "one"}, {"description": "two"}),
        (SNAPSHOTS, {"autoSnapshotPolicyName": "one"}, {"autoSnapshotPolicyName": "two"}),
        (BASTION, {}, {}),
    ):
        made = engine.provider._create(urn(token, "old"), token, inputs)[0].id
        engine = engine.end()
        engine.diff(token, "new", made, inputs, inputs)
        other = engine.provider._create(urn(token, "old"), token, other_inputs)[0].id
        assert other != made
        assert engine.read(token, "new", made, inputs).id == made


def test_what_was_deleted_never_gives_its_id_to_another(engine: Caller) -> None:
    """As a dependant would otherwise not see that what it names was made anew."""
    first, _ = engine.create(KEY, "key", {"description": "a"})
    engine.delete(KEY, "key", first)
    second, _ = engine.create(KEY, "key", {"description": "a"})
    assert second != first


def test_a_name_that_was_let_go_is_taken(engine: Caller) -> None:
    """Retained on delete, or taken out of the state: the engine says nothing to us, and then declares it anew."""
    engine.create(PROJECT, "logs", {"projectName": "yw-logs"})
    engine.create(GROUP, "g", {"displayName": "g", "resourceGroupName": "ggg"})
    engine.create(USER, "user", {"name": "yw-user"})
    later = engine.end()
    with pytest.raises(Refusal, match=r"EntityAlreadyExists: 'yw-logs' .*pulumi import alicloud:log/.* NAME yw-logs"):
        later.create(PROJECT, "logs", {"projectName": "yw-logs"})
    with pytest.raises(Refusal, match=r"EntityAlreadyExists: 'ggg' exists.*pulumi import .* NAME rg-acfm"):
        later.create(GROUP, "g", {"displayName": "g", "resourceGroupName": "ggg"})
    with pytest.raises(Refusal, match=r"EntityAlreadyExist.User: .*'yw-user' exists already.*made as 'user' of test-"):
        later.create(USER, "user", {"name": "yw-user"})


def test_what_was_let_go_without_a_name_stands_beside_the_new_one(engine: Caller) -> None:
    first, _ = engine.create(KEY, "key", {"description": "a"})
    second, _ = engine.end().create(KEY, "key", {"description": "a"})
    assert second != first and {thing.id for thing in things(ENVIRONMENT, STACK)} == {first, second}


def test_what_a_state_has_had_is_no_left_over(engine: Caller) -> None:
    """By the end in order, by a diff, by a refresh; a cut-off creation may be one."""
    made = {name: engine.create(KEY, name, {"description": name})[0] for name in ("diffed", "read", "cut off")}
    later = Caller()
    later.diff(KEY, "diffed", made["diffed"], {"description": "diffed"}, {"description": "diffed"})
    later.read(KEY, "read", made["read"], {"description": "read"})
    later.create(KEY, "ended", {})
    later.end()
    settled = {thing.name: thing.settled for thing in things(ENVIRONMENT, STACK)}
    assert settled == {"diffed": True, "read": True, "ended": True, "cut off": False}


def test_a_forced_replacement_is_another_thing(engine: Caller) -> None:
    """`pulumi up --replace` neither diffs nor shows the old inputs: nothing but the creation tells them apart."""
    first, _ = engine.create(KEY, "key", {"description": "a"})
    later = engine.end()
    second, _ = later.create(KEY, "key", {"description": "a"})
    later.delete(KEY, "key", first)
    assert later.read(KEY, "key", second, {"description": "a"}).id == second


def test_a_replacement_that_finds_what_it_should_replace_does_not_lose_it(engine: Caller) -> None:
    """The engine saved its state and was killed before it ended us; then `pulumi up --replace` is the next command."""
    first, _ = engine.create(KEY, "key", {"description": "a"})
    later = Caller()
    assert later.create(KEY, "key", {"description": "a"})[0] == first
    later.delete(KEY, "key", first)
    assert later.read(KEY, "key", first, {"description": "a"}).id == first
    last = later.end()
    last.delete(KEY, "key", first)
    assert last.read(KEY, "key", first, {"description": "a"}).id == ""


def test_an_answer_that_the_engine_does_not_wait_for_does_not_count(
    engine: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "is_active", lambda self: False)
    first, _ = engine.create(KEY, "key", {"description": "a"})
    assert engine.end().create(KEY, "key", {"description": "a"})[0] == first


def test_two_classes_of_one_leaf_do_not_meet(engine: Caller) -> None:
    for token in (BASTION, CEN):
        engine.provider._create(urn(token, "main"), token, {"description": token})
    assert {thing.token for thing in things(ENVIRONMENT, STACK)} == {BASTION, CEN}


def test_what_is_computed_outlives_an_update_and_a_rename(engine: Caller, folder: Path) -> None:
    DeclaredStore(folder).put(Declared(NETWORK, "vpc-1", urn(NETWORK, "n"), {}, {}))
    inputs = {"vpcId": "vpc-1", "natGatewayName": "one"}
    made = engine.provider._create(urn(NAT, "old"), NAT, inputs)[0]
    changed = engine.provider._binding(urn(NAT, "new")).update(urn(NAT, "new"), made.id, inputs)
    assert changed.computed["snatTableIds"] == made.computed["snatTableIds"]


def test_two_equal_rules_are_one_too_many(engine: Caller, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real cloud says yes to the second, and deleting either deletes both; so does a replacement made first."""
    monkeypatch.setattr(SecurityRules, "after_change", lambda self, record: None)
    store = Cloud(folder, ENVIRONMENT).kept.store
    network = Record("vpc-1", "Network", Owner(STACK, "n"), NetworkSpec("10.0.0.0/16"), {})
    store.put(network, None, [])
    group = Record("sg-1", "SecurityGroup", Owner(STACK, "g"), SecurityGroupSpec("vpc-1"), {})
    store.put(group, None, [])
    DeclaredStore(folder).put(Declared(SECURITY_GROUP, "sg-1", urn(SECURITY_GROUP, "g"), {}, {}))
    rule = {"securityGroupId": "sg-1", "type": "ingress", "ipProtocol": "tcp", "portRange": "22/22"}
    engine.create(SECURITY_RULE, "first", {**rule, "cidrIp": "10.0.0.0/8"})
    taken = r"EntityAlreadyExist.SecurityRule: .*exists already, sgr-\w+, made as 'first' of test-provider.one"
    with pytest.raises(Refusal, match=taken):
        engine.create(SECURITY_RULE, "second", {**rule, "cidrIp": "10.0.0.0/8", "description": "another"})
    with pytest.raises(Refusal, match=taken):
        engine.end().create(SECURITY_RULE, "first", {**rule, "cidrIp": "10.0.0.0/8"})
    later = Caller()
    for differs in ({"priority": 2}, {"policy": "drop"}, {"portRange": "23/23"}, {"type": "egress"}):
        later.create(SECURITY_RULE, f"with {differs}", {**rule, "cidrIp": "10.0.0.0/8", **differs})
    later.create(SECURITY_RULE, "other source", {**rule, "cidrIp": "10.0.0.0/9"})


def test_two_grants_of_one_account_and_right_are_one_too_many(
    engine: Caller, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cloud knows a grant by instance, account and right: two would each undo what the other says."""
    monkeypatch.setattr(Grants, "check", lambda self, record: None)
    monkeypatch.setattr(Grants, "exclusive", lambda self, spec: nullcontext())
    monkeypatch.setattr(Grants, "realise", lambda self, record: {})
    store = Cloud(folder, ENVIRONMENT).kept.store
    instance = DatabaseInstanceSpec(instance_class="pg.n2.small.1", switch_ids=())
    store.put(Record("pgm-1", "DatabaseInstance", Owner(STACK, "i"), instance, {}), None, [])
    grant = {"instanceId": "pgm-1", "accountName": "t1", "privilege": "DBOwner"}
    first, _ = engine.create(GRANT, "first", {**grant, "dbNames": ["t1"]})
    with pytest.raises(Refusal, match=r"EntityAlreadyExist.Grant: .*made as 'first' of test-provider.one"):
        engine.create(GRANT, "second", {**grant, "dbNames": ["t2"]})
    assert [thing for thing in things(ENVIRONMENT, STACK) if thing.token == GRANT] == [Thing(GRANT, first, "first")]


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


def test_parts_of_a_urn() -> None:
    named = urn(PROJECT, "a::b")
    assert (environment_of(named), stack_of(named), name_of(named)) == (ENVIRONMENT, STACK, "a::b")


def test_settings_of_the_cloud_are_kept(folder: Path) -> None:
    Cloud(folder, ENVIRONMENT).configure(CloudSettings(site_port=9443))
    assert Cloud(folder, ENVIRONMENT).settings.site_port == 9443


def test_a_store_of_before_is_brought_up_to_date(folder: Path) -> None:
    """What stood when creations were not written down yet was in a state, and keeps its owner's name."""
    DeclaredStore(folder).put(Declared(KEY, "k", urn(KEY, "key"), {"description": "a"}, {}))
    with closing(sqlite3.connect(folder / "declared.sqlite")) as connection:
        connection.executescript(
            "ALTER TABLE declared DROP COLUMN creation; ALTER TABLE declared ADD COLUMN replaces TEXT;"
            " DROP TABLE creations; UPDATE declared SET replaces = 'old-id'"
        )
    store = DeclaredStore(folder)
    assert [(resource.id, resource.settled) for resource in store.inventory()] == [("k", True)]
    assert store.begin(urn(KEY, "key")).owner == "key"
    second = Caller().create(KEY, "key", {"description": "a"})[0]
    assert second != "k" and len(DeclaredStore(folder).inventory()) == 2
    with closing(sqlite3.connect(folder / "declared.sqlite")) as connection:
        owners = connection.execute("SELECT owner, open FROM creations ORDER BY number").fetchall()
    assert owners == [("key~old-id", 0), ("key", 1)]
