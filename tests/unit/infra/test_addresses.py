from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.addresses import AddressError, AddressPlan, plan

prefixes = st.integers(min_value=8, max_value=24)


def faults(addresses: AddressPlan) -> list[str]:
    """What the cloud would refuse of a plan's vSwitches."""
    parts = [*addresses.services, *addresses.balancers]
    problems = [f"{part} is outside {addresses.network}" for part in parts if not part.subnet_of(addresses.network)]
    problems += [
        f"{part} overlaps {other}"
        for number, part in enumerate(parts)
        for other in parts[number + 1 :]
        if part.overlaps(other)
    ]
    return problems + [f"{part} is too small for a balancer" for part in addresses.balancers if part.prefixlen > 28]


@given(prefixes, st.integers(min_value=0, max_value=2**24 - 1))
def test_every_valid_network_gives_disjoint_vswitches_inside_it(prefix: int, host: int) -> None:
    network = IPv4Network((10 << 24 | host, prefix), strict=False)
    assert faults(plan(str(network))) == []


def test_the_check_sees_overlapping_and_small_vswitches() -> None:
    network = IPv4Network("10.0.0.0/16")
    same = (IPv4Network("10.0.0.0/18"), IPv4Network("10.0.0.0/18"))
    small = (IPv4Network("10.0.192.0/29"), IPv4Network("10.1.0.0/28"))
    assert len(faults(AddressPlan(network, same, small))) == 3


def test_the_plan_of_a_network_never_changes() -> None:
    addresses = plan("10.77.0.0/16")
    assert [str(part) for part in addresses.services] == ["10.77.0.0/18", "10.77.64.0/18"]
    assert [str(part) for part in addresses.balancers] == ["10.77.192.0/24", "10.77.193.0/24"]
    assert addresses.gateway == "10.77.0.1"


@pytest.mark.parametrize(
    ("cidr", "neighbours", "said"),
    [
        ("10.0.0.0", (), "a /32"),
        ("10.0.0.1/16", (), "host bits"),
        ("ten", (), "'ten' is not a network range"),
        ("8.8.0.0/16", (), "is not inside 10.0.0.0/8"),
        ("10.0.0.0/25", (), "/24 at least"),
        ("10.1.0.0/16", ("10.0.0.0/12",), "overlaps 10.0.0.0/12"),
        ("10.1.0.0/16", ("nonsense",), "'nonsense' is not a network range"),
    ],
)
def test_a_wrong_network_is_refused_by_name(cidr: str, neighbours: tuple[str, ...], said: str) -> None:
    with pytest.raises(AddressError, match=said):
        plan(cidr, neighbours)
