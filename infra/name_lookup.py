"""Addresses of names inside the network, asked from outside its resolver: by the controller, by tests."""

from __future__ import annotations

from collections.abc import Sequence

from dnslib import QTYPE, DNSRecord

from infra.errors import ExpectedError

TIMEOUT_SECONDS = 3.0


class NameLookupError(ExpectedError):
    """No name server knows the name, or none answers."""


def address_of(name: str, name_servers: Sequence[str]) -> str:
    """The IPv4 address of `name` by the first of `name_servers` that answers; `name` itself when there are none.

    An environment without name servers of its own leaves names to the machine's resolver.

    Raises:
        NameLookupError: no server has an address for the name.
    """
    if not name_servers:
        return name
    problems = []
    for server in name_servers:
        try:
            answer = DNSRecord.parse(DNSRecord.question(name).send(server, 53, timeout=TIMEOUT_SECONDS))
        except OSError as error:
            problems.append(f"{server}: {error}")
            continue
        addresses = [str(record.rdata) for record in answer.rr if record.rtype == QTYPE.A]
        if addresses:
            return addresses[0]
        problems.append(f"{server} has no address for it")
    raise NameLookupError(f"{name}: {'; '.join(problems)}")
