"""Names inside the network, asked of a real name server on the loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dnslib.server import BaseResolver, DNSHandler, DNSRecord, DNSServer
from dnslib.zoneresolver import ZoneResolver

from infra.name_lookup import NameLookupError, address_of

ZONE = """
pg.internal. 60 IN CNAME pg-1.internal.
pg-1.internal. 60 IN A 10.1.2.3
"""


class Zone(BaseResolver):  # type: ignore[misc]
    def __init__(self) -> None:
        self.zone = ZoneResolver(ZONE)

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        reply = self.zone.resolve(request, handler)
        if str(request.q.qname) == "pg.internal.":
            reply.add_answer(*self.zone.resolve(DNSRecord.question("pg-1.internal"), handler).rr)
        return reply


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    serving = DNSServer(Zone(), address="127.0.0.1", port=0)
    serving.start_thread()
    port = serving.server.server_address[1]
    send = DNSRecord.send
    monkeypatch.setattr(DNSRecord, "send", lambda self, server, _, **more: send(self, server, port, **more))
    yield "127.0.0.1"
    serving.stop()


def test_a_name_behind_an_alias_has_its_address(server: str) -> None:
    assert address_of("pg.internal", [server]) == "10.1.2.3"


def test_a_name_that_nobody_knows_is_named(server: str) -> None:
    with pytest.raises(NameLookupError, match=r"other\.internal"):
        address_of("other.internal", [server])


def test_without_name_servers_the_machines_own_resolver_is_left_to_it() -> None:
    assert address_of("pg.internal", []) == "pg.internal"
