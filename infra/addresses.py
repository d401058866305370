"""Address arithmetic of one environment's network: which part of its range is which vSwitch. Pure, no cloud.

The range is cut into four quarters. The first two are the services' vSwitches, one a zone: hosts, databases and caches.
The third stays free for what comes. The last begins with the balancers' vSwitches, one a zone, which a balancer wants
to itself with at least eight free addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError

from infra.errors import ExpectedError

ZONES = 2
SMALLEST_PREFIX = 24
"""A /24 still leaves each balancer's vSwitch a /28: 16 addresses, of which the cloud keeps four."""
LARGEST_PREFIX = 8
BALANCER_PREFIXES = (24, 28)
PRIVATE_RANGES = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


class AddressError(ExpectedError, ValueError):
    """A range that cannot be this network's; the message names the range and what it hurts."""


@dataclass(frozen=True)
class AddressPlan:
    network: IPv4Network
    services: tuple[IPv4Network, ...]
    balancers: tuple[IPv4Network, ...]

    @property
    def gateway(self) -> str:
        """The first address of the range: the cloud's router, and locally the machine itself."""
        return str(self.network[1])


def parse(text: str) -> IPv4Network:
    """A range written as `10.0.0.0/16`.

    Raises:
        AddressError: it is no range, or has bits set behind its prefix.
    """
    try:
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise AddressError(f"{text!r} is not a network range like 10.0.0.0/16: {error}") from error


def plan(cidr: str, neighbours: Iterable[str] = ()) -> AddressPlan:
    """The vSwitches of a network, the same for the same range for ever: a change would replace everything in it.

    Raises:
        AddressError: the range is malformed, not private, too small, or overlaps one of `neighbours`.
    """
    network = parse(cidr)
    if not any(network.subnet_of(private) for private in PRIVATE_RANGES):
        raise AddressError(f"{cidr} is not inside {', '.join(map(str, PRIVATE_RANGES))}")
    if not LARGEST_PREFIX <= network.prefixlen <= SMALLEST_PREFIX:
        raise AddressError(
            f"{cidr} is a /{network.prefixlen}; a network is a /{LARGEST_PREFIX} at most "
            f"and a /{SMALLEST_PREFIX} at least"
        )
    for neighbour in neighbours:
        if network.overlaps(parse(neighbour)):
            raise AddressError(f"{cidr} overlaps {neighbour}, which is in use")
    quarters = list(network.subnets(prefixlen_diff=2))
    largest, smallest = BALANCER_PREFIXES
    balancer_prefix = min(smallest, max(largest, network.prefixlen + 4))
    balancers = quarters[3].subnets(new_prefix=balancer_prefix)
    return AddressPlan(
        network=network,
        services=tuple(quarters[:ZONES]),
        balancers=tuple(next(balancers) for _ in range(ZONES)),
    )
