"""Records: identity, adoption, secrets, links, uniqueness. Nothing runs here."""

from __future__ import annotations

import ipaddress
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.local.cloud.cloud import Cloud
from infra.local.cloud.container_kind import ContainerKind
from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Owner, identity, kind_of
from infra.local.cloud.specs.kept import KeptSpec

OWNER = Owner("test-unit.foundation", "secret")
SECRET = "canary-8d1f"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path / "cloud", "test-unit")


def spec(name: str = "n", **inputs: object) -> KeptSpec:
    return KeptSpec("alicloud:kms/secret:Secret", inputs, {"secretData": SECRET}, name)


def test_the_same_owner_gets_the_same_thing(cloud: Cloud) -> None:
    first = cloud.kept.create(OWNER, spec(a=1))
    second = cloud.kept.create(OWNER, spec(a=2))
    assert first.id == second.id == identity("kept", "test-unit", "Kept", OWNER)
    assert [record.spec.inputs for record in cloud.inventory()] == [{"a": 2}]
    assert identity("kept", "test-other", "Kept", OWNER) != first.id


def test_secrets_come_back_and_are_nowhere_in_clear(cloud: Cloud, tmp_path: Path) -> None:
    made = cloud.kept.create(OWNER, spec())
    assert SECRET not in repr(made)
    again = Cloud(tmp_path / "cloud", "test-unit").kept.read(made.id)
    assert again is not None
    assert again.spec.secrets == {"secretData": SECRET}
    files = [path for path in (tmp_path / "cloud").rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert (tmp_path / "cloud" / "cloud.key").stat().st_mode & 0o777 == 0o600
    # The twin: a value in a plain field would be found by the same search.
    cloud.kept.create(Owner("s", "plain"), spec("plain", leak=SECRET))
    assert [path for path in tmp_path.rglob("cloud.sqlite*") if SECRET.encode() in path.read_bytes()]


def test_a_name_that_another_owner_has_is_refused_and_leaves_nothing(cloud: Cloud) -> None:
    cloud.kept.create(OWNER, spec())
    with pytest.raises(CloudError, match="exists already") as refusal:
        cloud.kept.create(Owner("test-unit.hangzhou", "secret"), spec())
    assert refusal.value.code == "EntityAlreadyExist.Kept"
    assert len(cloud.inventory()) == 1


def test_what_is_referred_to_must_exist_and_stays_while_it_is(cloud: Cloud) -> None:
    base = cloud.kept.create(OWNER, spec())
    user = KeptSpec("alicloud:kms/alias:Alias", {}, {}, "alias", depends_on=(base.id,))
    alias = cloud.kept.create(Owner("test-unit.foundation", "alias"), user)
    with pytest.raises(CloudError) as refusal:
        cloud.kept.delete(base.id)
    assert (refusal.value.code, "alias" in refusal.value.message) == ("DependencyViolation", True)
    missing = KeptSpec("alicloud:kms/alias:Alias", {}, {}, "other", depends_on=("kept-none",))
    with pytest.raises(CloudError) as refusal:
        cloud.kept.create(Owner("test-unit.foundation", "other"), missing)
    assert refusal.value.code == "InvalidResource.NotFound"
    cloud.kept.delete(alias.id)
    cloud.kept.delete(base.id)
    cloud.kept.delete(base.id)
    assert cloud.inventory() == []


def test_quotas_are_exhausted(cloud: Cloud) -> None:
    for number in range(5):
        trail = KeptSpec("alicloud:actiontrail/trail:Trail", {}, {}, f"trail-{number}")
        cloud.kept.create(Owner("s", f"trail-{number}"), trail)
    with pytest.raises(CloudError, match="5 of alicloud:actiontrail") as refusal:
        cloud.kept.create(Owner("s", "sixth"), KeptSpec("alicloud:actiontrail/trail:Trail", {}, {}, "sixth"))
    assert refusal.value.code == "QuotaExceeded"


def test_many_at_once_agree(cloud: Cloud, tmp_path: Path) -> None:
    clouds = [Cloud(tmp_path / "cloud", "test-unit") for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: clouds[number % 4].kept.create(OWNER, spec(n=number)).id, range(16)))
    assert len(set(made)) == 1
    addresses = [ipaddress.IPv4Address(f"10.0.0.{number}") for number in range(10, 30)]
    with ThreadPoolExecutor(8) as pool:
        given = list(
            pool.map(lambda number: cloud.kept.store.allocate("vsw-1", iter(addresses), f"i-{number}"), range(16))
        )
    assert len(set(given)) == 16
    assert cloud.kept.store.allocate("vsw-1", iter(addresses), "i-3") == given[3]


def test_a_full_switch_is_refused(cloud: Cloud) -> None:
    address = ipaddress.IPv4Address("10.0.0.10")
    cloud.kept.store.allocate("vsw-1", iter([address]), "i-1")
    with pytest.raises(CloudError) as refusal:
        cloud.kept.store.allocate("vsw-1", iter([address]), "i-2")
    assert refusal.value.code == "InvalidVSwitchId.IpNotEnough"


def test_only_one_holds_an_operation(cloud: Cloud, tmp_path: Path) -> None:
    other = Cloud(tmp_path / "cloud", "test-unit")
    with cloud.kept.store.try_lock("operation-x") as first, other.kept.store.try_lock("operation-x") as second:
        assert (first, second) == (True, False)
    with other.kept.store.try_lock("operation-x") as free:
        assert free


def test_what_is_on_disk_keeps_its_names(cloud: Cloud) -> None:
    """An environment of before has its records under these kinds, its data in these folders."""
    kinds = [kind for kind in vars(cloud).values() if isinstance(kind, Kind)]
    assert [kind.name for kind in kinds] == [kind_of(kind.spec_type) for kind in kinds]
    folders = {kind.name: kind.folder_name for kind in kinds if isinstance(kind, ContainerKind)}
    assert folders == {
        "Host": "hosts",
        "DatabaseInstance": "databases",
        "Cache": "caches",
        "Balancer": "balancers",
    }
