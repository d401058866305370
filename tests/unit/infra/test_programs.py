from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra import names
from infra.folder import EnvironmentFolder
from infra.names import StackName
from infra.plan import ROLES, TRACKED
from infra.ports import EXPORTERS, exporters_of
from infra.programs.stack import HOLDS_DATA
from infra.registry import load_registry
from infra.render import SECRET, Declared, Rendering, configuration, render
from infra.services import SERVICES
from infra.settings import SettingsError
from tests.support.finished import Finished
from tests.unit.infra.policy import (
    RULES,
    Rule,
    banned,
    doors_for_strangers,
    in_group,
    metrics_for_others,
    old_fields,
    open_administration,
    without_tenant,
)

Outputs = Mapping[str, Mapping[str, Any]]
SCOPES = ["foundation", "cell-core", "cell-a", "zhejiang", "hangzhou"]
MOST_RESOURCES = 450
RULE_OF_GROUP = "alicloud:ecs/securityGroupRule:SecurityGroupRule"
MONITORING_GROUP = "id-of-network-monitoring"
ONE = Declared(
    urn="urn:pulumi:prod.x::yiwang::a::b",
    type="",
    name="b",
    inputs={},
    parent="",
    custom=True,
    protect=False,
    delete_before_replace=True,
    dependencies=(),
    provider="",
    version="",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No state of this machine may change what a tracked program renders to."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("YIWANG_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def prod(home: Path) -> Mapping[str, Rendering]:
    made: dict[str, Rendering] = {}
    for scope in SCOPES:
        made[scope] = render(
            f"prod.{scope}", siblings={rendering.stack.reference: rendering.outputs for rendering in made.values()}
        )
    return made


@pytest.fixture(scope="module")
def stack_outputs(prod: Mapping[str, Rendering]) -> Outputs:
    """Outputs of the stacks that production's tenants stacks read."""
    return {prod[scope].stack.reference: prod[scope].outputs for scope in ("foundation", "cell-core", "cell-a")}


@pytest.fixture(scope="module")
def resources(prod: Mapping[str, Rendering]) -> list[Declared]:
    return [resource for rendering in prod.values() for resource in rendering.resources]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.title.replace(" ", "-"))
def test_production_keeps_the_rule_and_the_rule_sees_a_break(rule: Rule, resources: list[Declared]) -> None:
    concerned = [resource for resource in resources if resource.type == rule.type]
    assert concerned, f"no {rule.type} is declared, so the rule proves nothing"
    assert rule.violations(resources) == []
    assert rule.violations([rule.spoil(concerned[0])]) == [f"{rule.title}: {concerned[0].name}"]


def test_no_banned_class_and_no_old_field(resources: list[Declared]) -> None:
    assert banned(resources) == []
    assert old_fields(resources) == []


def test_a_banned_class_and_an_old_field_are_seen() -> None:
    eip = replace(ONE, type="alicloud:ecs/eip:Eip")
    assert banned([eip, replace(ONE, type="alicloud:waf/domain:Domain")]) != []
    old = replace(ONE, type="alicloud:ram/policy:Policy", inputs={"document": "{}", "policyName": "x"})
    assert old_fields([old]) == ["alicloud:ram/policy:Policy.document: b"]


def test_administration_ports_are_open_to_groups_alone(resources: list[Declared]) -> None:
    assert open_administration(resources) == []
    for port in (22, 9090, 9093, 9095):
        opened = {"portRange": f"{port}/{port}", "cidrIp": "10.0.0.0/8"}
        assert open_administration([replace(ONE, type=RULE_OF_GROUP, inputs=opened)])


@pytest.fixture(scope="module")
def finished(home: Path) -> Mapping[str, Rendering]:
    """Production's stacks with ids, so that a rule can say whose group is named."""
    made: dict[str, Rendering] = {}
    for scope in ("foundation", "cell-core", "cell-a"):
        outputs = {rendering.stack.reference: rendering.outputs for rendering in made.values()}
        made[scope] = render(f"prod.{scope}", Finished, outputs)
    return made


def test_metrics_are_open_to_the_monitoring_hosts_alone(finished: Mapping[str, Rendering]) -> None:
    declared = [resource for rendering in finished.values() for resource in rendering.resources]
    assert in_group(declared, MONITORING_GROUP) == ["cell-core-monitoring-1"]
    assert metrics_for_others(declared, MONITORING_GROUP) == []
    reached = {
        (resource.inputs["securityGroupId"], resource.inputs["portRange"])
        for resource in declared
        if resource.type == RULE_OF_GROUP and resource.inputs.get("sourceSecurityGroupId") == MONITORING_GROUP
    }
    roles = {role for roles in ROLES.values() for role in roles}
    wanted = {(role, EXPORTERS[exporter]) for role in roles for exporter in exporters_of(role)}
    wanted |= {("gateway", 8405), ("application", 8001), *((service.role, service.port) for service in SERVICES)}
    assert reached == {(f"id-of-firewall-{role}", f"{port}/{port}") for role, port in wanted}


@pytest.mark.parametrize(
    "opened",
    [
        {"portRange": "9100/9199", "sourceSecurityGroupId": "id-of-firewall-gateway"},
        {"portRange": "9187/9187", "cidrIp": "10.0.0.0/8"},
        {"portRange": "8400/8405", "cidrIp": "0.0.0.0/0"},
        {"portRange": "8001/8002", "sourceSecurityGroupId": "id-of-network-management"},
    ],
)
def test_metrics_that_others_reach_are_seen(opened: dict[str, str]) -> None:
    assert metrics_for_others([replace(ONE, type=RULE_OF_GROUP, inputs=opened)], MONITORING_GROUP)


def test_signals_are_read_from_the_management_group_and_range(finished: Mapping[str, Rendering], home: Path) -> None:
    def callers(rendering: Rendering) -> set[tuple[str, str]]:
        return {
            (rule.inputs["portRange"], rule.inputs.get("sourceSecurityGroupId") or rule.inputs["cidrIp"])
            for rule in rendering.of_type(RULE_OF_GROUP)
            if rule.inputs["portRange"] in ("9090/9090", "9093/9093", "9095/9095")
        }

    ports = [f"{port}/{port}" for port in (9090, 9093, 9095)]
    management = {(port, "id-of-network-management") for port in ports}
    assert callers(finished["cell-core"]) == management
    assert callers(finished["cell-a"]) == set()
    local = render("test-render.cell-core", Finished)
    assert callers(local) == management | {(port, "10.200.0.1/32") for port in ports}


def test_no_host_opens_another_cells_database_or_cache(finished: Mapping[str, Rendering]) -> None:
    for scope, roles in (("cell-core", ("identity", "query", "monitoring")), ("cell-a", ("application",))):
        declared = finished[scope].resources
        assert doors_for_strangers(declared) == []
        database = next(resource for resource in declared if resource.type == "alicloud:rds/instance:Instance")
        assert set(database.inputs["securityGroupIds"]) == {f"id-of-firewall-{role}" for role in roles}


def test_a_database_and_a_cache_for_the_monitoring_group_are_seen() -> None:
    database = {"securityGroupIds": [MONITORING_GROUP]}
    cache = {"securityGroupId": f"id-of-firewall-application,{MONITORING_GROUP}"}
    group = replace(ONE, type="alicloud:ecs/securityGroup:SecurityGroup", name="firewall-application")
    assert (
        doors_for_strangers(
            [
                group,
                replace(ONE, type="alicloud:rds/instance:Instance", inputs=database),
                replace(ONE, type="alicloud:kvstore/instance:Instance", inputs=cache),
            ]
        )
        == [f"{MONITORING_GROUP}: b"] * 2
    )


def test_monitoring_may_only_read_a_cache(prod: Mapping[str, Rendering]) -> None:
    for scope in ("cell-core", "cell-a"):
        accounts = prod[scope].of_type("alicloud:kvstore/account:Account")
        rights = {account.inputs["accountName"]: account.inputs["accountPrivilege"] for account in accounts}
        assert rights.pop("monitoring") == "RoleReadOnly"
        assert set(rights.values()) == {"RoleReadWrite"}


def test_every_network_has_a_flow_log_and_every_bucket_all_its_parts(prod: Mapping[str, Rendering]) -> None:
    assert len(prod["foundation"].of_type("alicloud:vpc/flowLog:FlowLog")) == 1
    for rendering in prod.values():
        buckets = rendering.of_type("alicloud:oss/bucket:Bucket")
        for part in ("Acl", "PublicAccessBlock", "Policy", "Versioning", "ServerSideEncryption", "Logging"):
            assert len(rendering.of_type(f"alicloud:oss/bucket{part}:Bucket{part}")) == len(buckets), part


def test_what_holds_data_is_protected_in_production_only(prod: Mapping[str, Rendering], home: Path) -> None:
    def unprotected(rendering: Rendering) -> list[str]:
        return [
            resource.name for resource in rendering.resources if resource.type in HOLDS_DATA and not resource.protect
        ]

    assert [name for rendering in prod.values() for name in unprotected(rendering)] == []
    assert unprotected(render("test-render.cell-a")) != []


def test_names_are_ours_so_a_replacement_deletes_first(resources: list[Declared]) -> None:
    cloud = [resource for resource in resources if resource.type.startswith("alicloud:")]
    assert [resource.name for resource in cloud if not resource.delete_before_replace] == []


def test_every_resource_goes_through_the_stacks_own_provider(prod: Mapping[str, Rendering]) -> None:
    for rendering in prod.values():
        cloud = [resource for resource in rendering.resources if resource.type.startswith("alicloud:")]
        assert [resource.name for resource in cloud if "::cloud::" not in resource.provider] == []


def test_the_local_plugin_is_asked_for_by_local_stacks_alone(prod: Mapping[str, Rendering], home: Path) -> None:
    def versions(rendering: Rendering) -> set[str]:
        return {provider.version for provider in rendering.of_type("pulumi:providers:alicloud")}

    assert versions(render("test-render.foundation")) == {"4.0.0-local"}
    assert "4.0.0-local" not in set().union(*(versions(rendering) for rendering in prod.values()))


def test_every_tag_names_environment_and_scope(prod: Mapping[str, Rendering]) -> None:
    for scope, rendering in prod.items():
        tagged = [resource for resource in rendering.resources if "tags" in resource.inputs]
        assert tagged
        for resource in tagged:
            assert resource.inputs["tags"]["environment"] == "prod"
            assert resource.inputs["tags"]["scope"] == scope
            assert len(resource.inputs["tags"]) <= 10


def test_every_resource_of_a_tenant_carries_it(prod: Mapping[str, Rendering]) -> None:
    codes = list(load_registry().divisions)
    for scope in ("zhejiang", "hangzhou"):
        assert without_tenant(prod[scope].resources, codes) == []
    stray = replace(ONE, name="t330106-user", inputs={"tags": {"environment": "prod"}})
    assert without_tenant([stray], codes) == ["t330106-user"]


def test_a_cell_names_no_tenant(prod: Mapping[str, Rendering]) -> None:
    registry = load_registry()
    for scope in ("foundation", "cell-core", "cell-a"):
        said = "\n".join(resource.line() for resource in prod[scope].resources)
        assert [code for code in registry.divisions if code in said] == []


def test_no_secret_is_rendered(prod: Mapping[str, Rendering]) -> None:
    secret_inputs = {
        "alicloud:rds/rdsAccount:RdsAccount": "accountPassword",
        "alicloud:kvstore/account:Account": "accountPassword",
        "alicloud:kms/secret:Secret": "secretData",
        "alicloud:cas/serviceCertificate:ServiceCertificate": "key",
    }
    seen = set()
    for rendering in prod.values():
        for resource in rendering.resources:
            if resource.type in secret_inputs:
                seen.add(resource.type)
                assert resource.inputs[secret_inputs[resource.type]] == SECRET
        if "secrets" in rendering.outputs:
            assert rendering.outputs["secrets"] == SECRET
    assert seen == set(secret_inputs)


def test_one_operation_at_a_time_on_a_database_instance(prod: Mapping[str, Rendering]) -> None:
    """Account → database → grant → the next tenant's account: the cloud refuses two at once."""
    rendering = prod["hangzhou"]
    chain = [resource for resource in rendering.resources if resource.type.startswith("alicloud:rds/")]
    needs = {resource.urn: {urn for urn in resource.dependencies if "alicloud:rds/" in urn} for resource in chain}
    first = [urn for urn, before in needs.items() if not before]
    assert len(first) == 1
    order = {"RdsAccount": 0, "Database": 1, "AccountPrivilege": 2}
    expected = sorted(chain, key=lambda resource: (resource.name[:7], order[resource.type.rsplit(":", 1)[-1]]))
    for before, after in itertools.pairwise(expected):
        assert before.urn in needs[after.urn], f"{after.name} does not wait for {before.name}"


def test_hosts_are_spread_over_both_zones(prod: Mapping[str, Rendering]) -> None:
    for scope in ("cell-core", "cell-a"):
        hosts = prod[scope].of_type("alicloud:ecs/instance:Instance")
        by_role: dict[str, list[str]] = {}
        for host in hosts:
            by_role.setdefault(host.inputs["tags"]["role"], []).append(host.inputs["availabilityZone"])
        alone = [role for role, zones in by_role.items() if len(zones) == 1]
        assert alone == (["monitoring"] if scope == "cell-core" else [])
        assert all(len(set(zones)) == 2 for role, zones in by_role.items() if role not in alone), by_role


def test_the_province_stays_in_bounds(prod: Mapping[str, Rendering]) -> None:
    assert max(len(rendering.resources) for rendering in prod.values()) < MOST_RESOURCES


def test_the_countrys_largest_city_stays_in_bounds_even_while_all_of_it_moves(prod: Mapping[str, Rendering]) -> None:
    """Baoding: the city and 24 counties, most of any city of a province. A move adds a database set to each."""
    city = prod["hangzhou"].resources
    of_tenant = [resource.name for resource in city if resource.name.startswith("t330106")]
    database_set = [name for name in of_tenant if "cell-a" in name]
    shared = [resource.name for resource in city if not resource.name.startswith("t33")]
    assert len(database_set) == 4
    assert len(shared) + 25 * (len(of_tenant) + len(database_set)) < MOST_RESOURCES


def with_status(code: str, status: str, stack_outputs: Outputs) -> Rendering:
    overlay = EnvironmentFolder("prod").registry_overlay
    overlay.parent.mkdir(parents=True, exist_ok=True)
    overlay.write_text(json.dumps({"statuses": {code: status}}))
    try:
        return render("prod.hangzhou", siblings=stack_outputs)
    finally:
        overlay.unlink()


def changes(before: Rendering, after: Rendering) -> tuple[set[str], set[str]]:
    """Names of resources that are new or gone, and of those whose inputs differ."""
    old = {resource.urn: resource for resource in before.resources}
    new = {resource.urn: resource for resource in after.resources}
    moved = {(old.get(urn) or new[urn]).name for urn in old.keys() ^ new.keys()}
    return moved, {old[urn].name for urn in old.keys() & new.keys() if old[urn].inputs != new[urn].inputs}


def test_a_county_that_joins_touches_nobody_else(stack_outputs: Outputs) -> None:
    added, changed = changes(
        with_status("330127", "planned", stack_outputs), with_status("330127", "live", stack_outputs)
    )
    assert changed == set()
    assert added
    assert all(name.startswith("t330127") for name in added)


def test_the_comparison_sees_a_neighbour_that_moves(stack_outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that count instead of naming: a county in the middle renames all that follow."""
    without = with_status("330127", "planned", stack_outputs)
    counter = itertools.count()
    monkeypatch.setattr(names, "tenant_identity", lambda environment, code: f"yw-{environment}-{next(counter)}")
    before = with_status("330127", "planned", stack_outputs)
    counter = itertools.count()
    after = with_status("330127", "live", stack_outputs)
    _, changed = changes(before, after)
    assert any(name.startswith("t330182") for name in changed)
    assert changes(without, before)[1]


def test_a_suspended_tenant_keeps_everything(stack_outputs: Outputs) -> None:
    assert changes(with_status("330106", "live", stack_outputs), with_status("330106", "suspended", stack_outputs)) == (
        set(),
        set(),
    )


def moving(prod: Mapping[str, Rendering], placement: dict[str, str]) -> Rendering:
    document = json.loads((TRACKED / "prod.json").read_text())
    document["cells"]["cell-b"] = document["cells"]["cell-a"]
    document["placements"]["330106"] = placement
    path = EnvironmentFolder("test-move").plan
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    outputs = {scope: prod[scope].outputs for scope in ("foundation", "cell-a")} | {"cell-b": prod["cell-a"].outputs}
    by_reference = {StackName("test-move", scope).reference: value for scope, value in outputs.items()}
    return render("test-move.hangzhou", siblings=by_reference)


def test_a_move_adds_and_removes_a_database_and_never_replaces(prod: Mapping[str, Rendering]) -> None:
    still = moving(prod, {"serving": "cell-a"})
    preparing = moving(prod, {"serving": "cell-a", "preparing": "cell-b"})
    switched = moving(prod, {"serving": "cell-b", "preparing": "cell-a"})
    moved = moving(prod, {"serving": "cell-b"})
    set_of_b = {f"t330106-cell-b{part}" for part in ("", "-owner", "-database", "-grant")}
    assert changes(still, preparing) == (set_of_b, set())
    # Only the site's name is switched; its value is unknown to a rendering, so nothing else may differ.
    assert changes(preparing, switched) == (set(), set())
    assert changes(switched, moved)[0] == {name.replace("cell-b", "cell-a") for name in set_of_b}


@pytest.mark.parametrize("scope", ["atlantis", "xihu"])
def test_a_tenants_stack_of_no_city_is_refused(scope: str, home: Path) -> None:
    with pytest.raises(SettingsError, match=f"no province or city has the label '{scope}'"):
        render(f"test-render.{scope}")


def test_a_role_without_an_instance_type_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(stack: StackName) -> tuple[dict[str, str], list[str]]:
        values, secrets = configuration(stack)
        if stack.kind == "cell":
            values["yiwang:instanceTypes"] = '{"gateway": "ecs.c7.large"}'
        return values, secrets

    monkeypatch.setattr("infra.render.configuration", lacking)
    with pytest.raises(SettingsError, match="names no type for application"):
        render("test-render.cell-a")
