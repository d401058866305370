"""What the cloud renders from records: bucket policies, names, types, sources of packages."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.local.cloud.containers import Container
from infra.local.cloud.context import Context
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.instance_types import cache_memory_mib, host_type, max_connections, type_with_limits
from infra.local.cloud.object_store import bucket_policy
from infra.local.cloud.settings import CloudSettings
from infra.local.cloud.specs.accounts import password_fault
from infra.local.cloud.zones import Name, NameServer, resolve
from infra.local.images.sources import Source, debian_sources
from infra.plan import TRACKED, read
from infra.stacks import template


def statement(action: Any, resource: Any, **more: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]}


def test_a_prefix_policy_becomes_statements_on_objects_and_on_the_listing() -> None:
    objects = statement(["oss:GetObject", "oss:PutObject"], "acs:oss:*:*:b/330106/*")
    listing = statement("oss:ListObjects", "acs:oss:*:*:b", Condition={"StringLike": {"oss:Prefix": "330106/*"}})
    policy = bucket_policy("b", [(["AK1"], objects), (["AK1"], listing)])
    assert policy is not None
    assert policy["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"AWS": ["AK1"]},
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": ["arn:aws:s3:::b/330106/*"],
        },
        {
            "Effect": "Allow",
            "Principal": {"AWS": ["AK1"]},
            "Condition": {"StringLike": {"s3:prefix": ["330106/*"]}},
            "Action": ["s3:ListBucket"],
            "Resource": ["arn:aws:s3:::b"],
        },
    ]


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        (statement("oss:GetObject", "acs:oss:*:*:other/*"), ["AK1"]),
        (statement("oss:GetObject", "acs:oss:*:*:b/*"), []),
        (statement("ecs:*", "acs:oss:*:*:b/*"), ["AK1"]),
        # An action on objects does not apply to the bucket itself, nor a listing's test to objects.
        (statement("oss:GetObject", "acs:oss:*:*:b"), ["AK1"]),
        (statement("oss:GetObject", "acs:oss:*:*:b/*", Condition={"StringLike": {"oss:Prefix": "x/*"}}), ["AK1"]),
    ],
)
def test_what_does_not_apply_grants_nothing(document: dict[str, Any], keys: list[str]) -> None:
    assert bucket_policy("b", [(keys, document)]) is None


def test_a_condition_that_cannot_be_tested_is_refused_not_dropped() -> None:
    document = statement("oss:GetObject", "acs:oss:*:*:b/*", Condition={"StringEquals": {"acs:SourceVpc": "vpc-1"}})
    with pytest.raises(CloudError, match="acs:SourceVpc"):
        bucket_policy("b", [(["AK1"], document)])


def test_names_resolve_through_chains_and_wildcards() -> None:
    names = [
        Name("a.z", "A", "10.0.0.1"),
        Name("b.z", "CNAME", "a.z"),
        Name("c.z", "CNAME", "b.z"),
        Name("*.w.z", "CNAME", "c.z"),
        Name("exact.w.z", "A", "10.0.0.2"),
        Name("loop.z", "CNAME", "loop.z"),
    ]
    assert resolve("c.z", names) == ["10.0.0.1"]
    assert resolve("any.w.z", names) == ["10.0.0.1"]
    assert resolve("exact.w.z", names) == ["10.0.0.2"]
    assert resolve("w.z", names) == []
    assert resolve("loop.z", names) == []


@pytest.mark.parametrize(
    ("name", "vcpus", "memory"),
    [("ecs.c7.large", 2, 4), ("ecs.g7.xlarge", 4, 16), ("ecs.g7.2xlarge", 8, 32), ("ecs.r7.large", 2, 16)],
)
def test_host_types(name: str, vcpus: int, memory: int) -> None:
    settings = CloudSettings()
    host = host_type(name)
    assert (host.vcpus, host.memory_gib) == (vcpus, memory)
    assert host.limits(settings) == (round(vcpus * settings.cores_per_vcpu, 4), memory * 64)
    assert host_type(type_with_limits(*host.limits(settings), settings)).limits(settings) == host.limits(settings)


def cores_of(hosts: Mapping[str, Mapping[str, int]], scale: float) -> float:
    """Cores of all hosts together, at so many a vCPU."""
    types = template("cell")["instanceTypes"]
    vcpus = [count * host_type(types[role]).vcpus for cell in hosts.values() for role, count in cell.items()]
    return sum(vcpus) * scale


def test_all_local_hosts_and_one_more_stay_under_a_core_and_a_half() -> None:
    """Two cores carry them, what is managed, and whoever looks at it."""
    plan = read(TRACKED / "local.json")
    hosts = {name: dict(cell.hosts) for name, cell in plan.cells.items()}
    hosts["cell-a"]["application"] += 1
    assert cores_of(hosts, CloudSettings().cores_per_vcpu) < 1.5
    assert cores_of(hosts, 0.05) > 1.5


def test_unknown_types_are_refused_by_the_clouds_code() -> None:
    for look, name, code in (
        (host_type, "ecs.none", "InvalidInstanceType.ValueNotSupported"),
        (host_type, "t3.large", "InvalidInstanceType.ValueNotSupported"),
        (max_connections, "pg.none", "InvalidDBInstanceClass.NotFound"),
        (cache_memory_mib, "memcached.large", "InvalidInstanceClass.NotFound"),
    ):
        with pytest.raises(CloudError) as refusal:
            look(name)
        assert refusal.value.code == code
    assert type_with_limits(0.7, 333, CloudSettings()) == "custom-0.7-cores-333-MiB"
    assert max_connections("pg.n2.2c.2m") == 400


@pytest.mark.parametrize("password", ["Ab1_xxxx", "abcdefg1!", "X" * 30 + "a1"])
def test_good_passwords(password: str) -> None:
    assert password_fault(password) is None


@pytest.mark.parametrize("password", ["", "Ab1_xxx", "abcdefgh", "abcdefg1", "X" * 31 + "a1", "Ab1_xxx字"])
def test_bad_passwords_are_refused_and_not_shown(password: str) -> None:
    with pytest.raises(CloudError) as refusal:
        refuse("InvalidAccountPassword.Format", "password of account", password_fault(password))
    assert not password or password not in str(refusal.value)


def test_a_containers_shape_ignores_its_limits_only() -> None:
    base = Container("n", ("i",), ("--ip", "1"), ("run",), (), 0.5, 100)
    assert base.shape == Container("n", ("i",), ("--ip", "1"), ("run",), (), 1.0, 200).shape
    assert base.shape != Container("n", ("i",), ("--ip", "2"), ("run",), (), 0.5, 100).shape


DEB822 = """\
# a comment
Types: deb
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib

Types: deb
URIs: https://mirror.test/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: bookworm
Components: main
"""


def test_the_machines_mirror_is_read_from_both_formats(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list").write_text(
        "deb [arch=amd64] http://old.test/debian trixie main\n#deb http://c.test x main\n"
    )
    (tmp_path / "sources.list.d" / "vendor.list").write_text("deb https://vendor.test/apt vendor-suite main\n")
    assert debian_sources("bookworm", tmp_path) == [
        Source("http://mirror.test/debian", ("bookworm", "bookworm-updates")),
        Source("https://mirror.test/debian-security", ("bookworm-security",)),
    ]
    assert debian_sources("trixie", tmp_path) == [Source("http://old.test/debian", ("trixie",))]
    assert debian_sources("sid", tmp_path) == []


class Going:
    """What the name server asks of a cloud whose network goes while it is asked for it."""

    def __init__(self) -> None:
        self.networks = [SimpleNamespace(ready=False)]
        self.removed: list[str] = []
        self.containers = SimpleNamespace(name=str, remove=self.removed.append)
        self.store = SimpleNamespace(lock=nullcontext)

    @property
    def vpc(self) -> SimpleNamespace | None:
        return self.networks.pop() if self.networks else None


def test_a_name_server_goes_with_its_network_even_while_it_asks_for_it() -> None:
    going = Going()
    for _ in range(2):  # the network is about to go; it is gone
        NameServer(cast("Context", going)).renew()
    assert going.removed == ["name-server", "name-server"]
