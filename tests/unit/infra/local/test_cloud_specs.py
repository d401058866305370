"""What values must be, at the edges; the cloud and its plugin both ask these."""

from __future__ import annotations

import pytest

from infra.local.cloud.specs.balancers import zones_fault
from infra.local.cloud.specs.buckets import BUCKET_NAME, POLICY_NAME, USER_NAME, policy_fault, policy_size_fault
from infra.local.cloud.specs.caches import ACCOUNT_NAME
from infra.local.cloud.specs.databases import account_name_fault, database_name_fault, storage_fault
from infra.local.cloud.specs.firewall import ALL_PORTS, port_range_fault, ports_fault
from infra.local.cloud.specs.forms import Form, Span
from infra.local.cloud.specs.hosts import HOST_NAME, public_key_fault
from infra.local.cloud.specs.networks import range_fault
from infra.local.cloud.specs.zones import DOMAIN, HOST_RECORD, PUBLIC_DOMAIN, value_fault

ANY_POLICY = '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (BUCKET_NAME, ["abc", "a-1", "a" * 63], ["ab", "-ab", "ab-", "Abc", "a_b", "a" * 64, "abc\n"]),
        (USER_NAME, ["a", "A.b-c_1", "a" * 64], ["", "a@b", "a b", "a" * 65]),
        (POLICY_NAME, ["a", "A-1", "a" * 128], ["", "a_b", "a" * 129]),
        (ACCOUNT_NAME, ["a", "a_1", "a" * 100], ["", "1a", "_a", "A", "a-b", "a" * 101]),
        (HOST_NAME, ["a", "a-1", "1", "a" * 63], ["", "-a", "a-", "A", "a.b", "a" * 64]),
        (DOMAIN, ["internal", "a.internal", "_dmarc.a"], ["", "A.internal", "a..b", "-a.b", "a." * 127 + "b"]),
        (PUBLIC_DOMAIN, ["a.localhost", "a.b.cn"], ["localhost", "a.b1_", "a.1b", "A.cn"]),
        (HOST_RECORD, ["@", "*", "*.a", "a.b", "_acme-challenge.a"], ["", "a.*", "-a", "A", "a..b", "@.a"]),
    ],
)
def test_names(form: Form, good: list[str], bad: list[str]) -> None:
    assert [name for name in good if form.fault(name)] == []
    assert [name for name in bad if form.fault(name) is None] == []
    assert all(form.says in str(form.fault(name)) for name in bad)


@pytest.mark.parametrize("name", ["a1", "a" * 63, "t330106_owner"])
def test_names_of_database_accounts(name: str) -> None:
    assert account_name_fault(name) is None


@pytest.mark.parametrize("name", ["a", "1a", "a_", "A1", "a-b", "a" * 64, "postgres", "pg_owner", "yw_cloud", "root"])
def test_names_that_no_database_account_has(name: str) -> None:
    assert account_name_fault(name)


def test_names_of_databases() -> None:
    assert [name for name in ("a1", "a-b_c", "a" * 64) if database_name_fault(name)] == []
    assert all(map(database_name_fault, ("a", "1a", "a-", "A1", "a" * 65, "postgres", "template1")))


def test_numbers_at_the_edges() -> None:
    span = Span(1, 50)
    assert (0 in span, 1 in span, 50 in span, 51 in span, str(span)) == (False, True, True, False, "1 to 50")
    assert [size for size in (0, 4, 5, 7, 64000, 64005) if storage_fault(size) is None] == [5, 64000]


def test_ports_of_a_rule() -> None:
    assert [text for text in ("22/22", "1/65535", ALL_PORTS) if port_range_fault(text)] == []
    assert all(map(port_range_fault, ("", "22", "0/1", "2/1", "1/65536", "a/b")))
    assert ports_fault("tcp", "22/22") is None and ports_fault("icmp", ALL_PORTS) is None
    assert ports_fault("gre", None) is None
    assert ports_fault("udp", None) and ports_fault("tcp", ALL_PORTS) and ports_fault("all", "1/2")


def test_ranges_of_addresses() -> None:
    assert [text for text in ("10.0.0.0/8", "0.0.0.0/0", "10.0.0.1") if range_fault(text)] == []
    assert all(map(range_fault, ("10.0.0.1/8", "10.0.0.0/33", "fd00::/8", "nowhere")))


def test_policies() -> None:
    assert policy_fault(ANY_POLICY) is None and policy_size_fault(ANY_POLICY) is None
    assert all(map(policy_fault, ("{", "[]", "{}", '{"Statement": [{}]}', '{"Statement": [{"Effect": "Allow"}]}')))
    assert policy_size_fault("字" * 2049) and policy_size_fault("字" * 2048) is None


def test_what_a_record_points_to() -> None:
    assert value_fault("A", "10.0.0.1") is None and value_fault("CNAME", "a.b.") is None
    assert value_fault("TXT", "any thing") is None
    assert value_fault("A", "10.0.0.256") and value_fault("MX", "a b") and value_fault("PTR", "")


def test_keys_and_zones() -> None:
    assert public_key_fault("ssh-ed25519 AAAAC3Nza operators\n") is None
    assert public_key_fault("ssh-dss AAAA") and public_key_fault("ssh-ed25519 no-base64")
    assert zones_fault(["a", "b"]) is None and zones_fault([object(), object()]) is None
    assert zones_fault(["a", "a"]) and zones_fault([])
