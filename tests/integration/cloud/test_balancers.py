"""Names, balancers and the front door, from a host and from the machine."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Any

import pytest

from infra.local.cloud import haproxy
from infra.local.cloud.containers import Containers
from infra.local.cloud.errors import CloudError
from infra.local.cloud.front_door import FrontDoor
from infra.local.cloud.records import Record
from infra.local.cloud.specs.zones import PrivateZoneSpec, PublicRecordSpec, ZoneAttachmentSpec, ZoneRecordSpec
from tests.integration.cloud.site import SITE_PORT, SUFFIX, Site, owner
from tests.support.waiting import wait_until


def get(site: Site, name: str, path: str = "/", address: str = "127.0.0.1") -> tuple[int, str]:
    """Through the front door (or straight to a balancer), the certificate checked."""
    context = ssl.create_default_context(cafile=str(site.folder / "sites.pem"))
    connection = http.client.HTTPSConnection(address, SITE_PORT, timeout=10, context=context)
    raw = socket.create_connection((address, SITE_PORT), timeout=10)
    connection.sock = context.wrap_socket(raw, server_hostname=name)
    try:
        connection.request("GET", path, headers={"Host": f"{name}:{SITE_PORT}", "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()
    finally:
        connection.close()


def answering(site: Site) -> set[str]:
    return {get(site, f"xihu.{SUFFIX}")[1] for _ in range(6)}


def test_the_front_door_leads_to_the_balancer_of_the_name(site: Site, balancer: Record[Any]) -> None:
    wait_until(lambda: answering(site) == {"gateway", "stranger"}, 30, "both servers answer")
    assert get(site, f"xihu.{SUFFIX}", "/teapot/1") == (418, '{"short": "and stout"}')
    assert get(site, f"xihu.{SUFFIX}", address=balancer.attributes["address"])[0] == 200
    with pytest.raises(OSError):
        get(site, f"nobody.{SUFFIX}")


def test_a_name_is_served_though_the_signal_that_told_of_it_was_lost(
    site: Site, balancer: Record[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes while HAProxy takes up what was there before is lost, as many names at once make it."""
    sent, real = list[str](), Containers.signal

    def lossy(self: Containers, name: str, signal: str) -> bool:
        sent.append(signal)
        lost = signal == "USR2" and sent.count(signal) == 1
        return lost or real(self, name, signal)

    monkeypatch.setattr(Containers, "signal", lossy)
    record = PublicRecordSpec(SUFFIX, "late", "CNAME", balancer.attributes["dns_name"])
    made = site.cloud.public_records.create(owner("late"), record)
    assert get(site, f"late.{SUFFIX}", "/teapot/1")[0] == 418
    assert sent.count("USR2") >= 2
    site.cloud.public_records.delete(made.id)
    with pytest.raises(OSError):
        get(site, f"late.{SUFFIX}")


def test_what_was_written_and_not_told_is_served_after_the_next_run(site: Site, balancer: Record[Any]) -> None:
    """Whoever wrote it was killed before the signal."""
    containers = site.cloud.hosts.context.containers
    door = FrontDoor(site.cloud.hosts.context)
    assert haproxy.serves(door.folder) and not door.renew()
    right = unwritten((door.folder / haproxy.FILE).read_text())
    haproxy.write(door.folder, right.replace("maxconn 4000", "maxconn 3999"))
    assert haproxy.take_up(door.folder, lambda: containers.signal(door.container_name, "USR2"), pytest.fail, "the door")
    haproxy.write(door.folder, right)
    assert haproxy.serves(door.folder) is False
    assert door.renew() and haproxy.serves(door.folder)
    assert get(site, f"xihu.{SUFFIX}")[0] == 200


def test_one_that_cannot_be_asked_is_run_anew(
    site: Site, balancer: Record[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has removed its socket: it serves, and could never be told of anything again."""
    monkeypatch.setattr(haproxy, "SERVING_SECONDS", 1.0)
    door = FrontDoor(site.cloud.hosts.context)
    balancers = site.cloud.hosts.context
    for folder in (door.folder, balancers.root / "balancers" / balancer.id):
        (folder / haproxy.CONTROL / haproxy.SOCKET).unlink()
        assert haproxy.serves(folder) is None
    balancers.renew_balancers()
    assert door.renew()
    assert haproxy.serves(door.folder) and haproxy.serves(balancers.root / "balancers" / balancer.id)
    wait_until(lambda: get(site, f"xihu.{SUFFIX}")[0] == 200, 30, "it serves")


def unwritten(text: str) -> str:
    """A configuration without what `haproxy.write` adds."""
    return "".join(line for line in text.splitlines(True) if not line.startswith(("  description", "  stats socket")))


def test_an_unhealthy_server_gets_no_traffic_and_all_get_it_when_none_is_healthy(
    site: Site, balancer: Record[Any]
) -> None:
    site.on("stranger", "mv", "/srv/alive", "/srv/was-alive")
    wait_until(lambda: answering(site) == {"gateway"}, 30, "the unhealthy one is left out")
    states = next(iter(site.cloud.balancers.health(balancer.id).values())).values()
    assert sorted(state.split()[0] for state in states) == ["DOWN", "UP"]
    site.on("gateway", "mv", "/srv/alive", "/srv/was-alive")
    wait_until(lambda: answering(site) == {"gateway", "stranger"}, 30, "all are used when none is healthy")
    for name in ("gateway", "stranger"):
        site.on(name, "mv", "/srv/was-alive", "/srv/alive")
    wait_until(lambda: "UP" in str(site.cloud.balancers.health(balancer.id)), 30, "healthy again")


def test_names_resolve_inside_and_private_ones_hide_public_ones(
    site: Site, balancer: Record[Any], gateway: Record[Any]
) -> None:
    def seen(name: str) -> str:
        return site.resolves("gateway", name)

    assert seen(f"xihu.{SUFFIX}") == balancer.attributes["address"]
    zone = site.cloud.private_zones.create(owner("zone"), PrivateZoneSpec("yiwang.internal"))
    alias = ZoneRecordSpec(zone.id, "entry", "CNAME", "db.yiwang.internal")
    first = site.cloud.zone_records.create(owner("db"), ZoneRecordSpec(zone.id, "db", "A", "10.213.0.200"))
    site.cloud.zone_records.create(owner("entry"), alias)
    wildcard = site.cloud.zone_records.create(owner("any"), ZoneRecordSpec(zone.id, "*.any", "A", "10.213.0.203"))
    assert seen("db.yiwang.internal") == ""  # not attached yet
    attached = ZoneAttachmentSpec(zone.id, (site.network.id,))
    site.cloud.zone_attachments.create(owner("attachment"), attached)
    wait_until(lambda: seen("entry.yiwang.internal") == "10.213.0.200", 10, "a chain of names")
    assert seen("x.any.yiwang.internal") == "10.213.0.203"
    assert seen("missing.yiwang.internal") == ""
    site.cloud.zone_records.update(first.id, ZoneRecordSpec(zone.id, "db", "A", "10.213.0.201"))
    wait_until(lambda: seen("entry.yiwang.internal") == "10.213.0.201", 10, "a changed record")
    site.cloud.zone_records.delete(wildcard.id)
    wait_until(lambda: seen("x.any.yiwang.internal") == "", 10, "a deleted record")

    hiding = site.cloud.private_zones.create(owner("hiding"), PrivateZoneSpec(SUFFIX))
    site.cloud.zone_records.create(owner("hidden"), ZoneRecordSpec(hiding.id, "xihu", "A", "10.213.0.202"))
    hidden = site.cloud.zone_attachments.create(
        owner("hiding-attachment"), ZoneAttachmentSpec(hiding.id, (site.network.id,))
    )
    wait_until(lambda: seen(f"xihu.{SUFFIX}") == "10.213.0.202", 10, "the private zone hides the public one")
    site.cloud.zone_attachments.delete(hidden.id)
    wait_until(lambda: seen(f"xihu.{SUFFIX}") == balancer.attributes["address"], 10, "and shows it again")


def test_a_taken_port_is_named_with_its_holder(site: Site, balancer: Record[Any]) -> None:
    door = FrontDoor(site.cloud.hosts.context)
    site.cloud.hosts.context.containers.remove(door.container_name)
    with socket.create_server(("127.0.0.1", SITE_PORT)), pytest.raises(CloudError) as refusal:
        door.renew()
    assert refusal.value.code == "Machine.PortTaken"
    assert str(SITE_PORT) in refusal.value.message
    assert "python" in refusal.value.message or "pytest" in refusal.value.message
    assert door.renew()
    assert get(site, f"xihu.{SUFFIX}")[0] == 200
