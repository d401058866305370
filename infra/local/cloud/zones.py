"""Private zones and public names, and the name server on the network that answers both.

Inside the network a private zone that is attached hides a public domain of the same name, as in the cloud.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import Context, write_atomically
from infra.local.cloud.errors import CloudError, Missing, refuse
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Record
from infra.local.cloud.specs.zones import (
    DOMAIN,
    HOST_RECORD,
    PUBLIC_DOMAIN,
    PrivateZoneSpec,
    PublicDomainSpec,
    PublicRecordSpec,
    ZoneAttachmentSpec,
    ZoneRecordSpec,
    value_fault,
)
from infra.local.images import CLOUD_IMAGE

_TYPES = ("A", "CNAME", "TXT", "MX", "PTR", "SRV")


class PrivateZones(Kind[PrivateZoneSpec]):
    name = "PrivateZone"
    prefix = "pz"
    spec_type = PrivateZoneSpec
    quota = 500
    not_found = "Zone.NotExists"

    def physical(self, spec: PrivateZoneSpec) -> str:
        return spec.zone_name

    def check(self, record: Record[PrivateZoneSpec]) -> None:
        name = record.spec.zone_name
        refuse("Zone.Invalid.Name", f"zone {name!r}", DOMAIN.fault(name))

    def after_change(self, record: Record[PrivateZoneSpec]) -> None:
        self.context.renew_names()


class ZoneAttachments(Kind[ZoneAttachmentSpec]):
    name = "ZoneAttachment"
    prefix = "pza"
    spec_type = ZoneAttachmentSpec
    not_found = "Zone.NotExists"

    def physical(self, spec: ZoneAttachmentSpec) -> str:
        return spec.zone_id

    def further_targets(self, spec: ZoneAttachmentSpec) -> tuple[str, ...]:
        return spec.vpc_ids

    def after_change(self, record: Record[ZoneAttachmentSpec]) -> None:
        self.context.renew_names()


class ZoneRecords(Kind[ZoneRecordSpec]):
    name = "ZoneRecord"
    prefix = "pzr"
    spec_type = ZoneRecordSpec
    quota = 100_000
    not_found = "Record.NotExists"

    def check(self, record: Record[ZoneRecordSpec]) -> None:
        spec = record.spec
        _check_record(spec.rr, spec.type, spec.value)
        same = (spec.zone_id, spec.rr, spec.type, spec.value)
        for other in self.list():
            if other.id != record.id and _same(other.spec, other.spec.zone_id) == same:
                raise CloudError("Record.Conflict", f"record {spec.rr} {spec.type} {spec.value} exists already")

    def after_change(self, record: Record[ZoneRecordSpec]) -> None:
        self.context.renew_names()


class PublicDomains(Kind[PublicDomainSpec]):
    name = "PublicDomain"
    prefix = "dn"
    spec_type = PublicDomainSpec
    not_found = "InvalidDomainName.NoExist"

    def physical(self, spec: PublicDomainSpec) -> str:
        return spec.domain_name

    def check(self, record: Record[PublicDomainSpec]) -> None:
        name = record.spec.domain_name
        refuse("InvalidDomainName.Format", f"domain {name!r}", PUBLIC_DOMAIN.fault(name))

    def after_change(self, record: Record[PublicDomainSpec]) -> None:
        self.context.renew_names()


class PublicRecords(Kind[PublicRecordSpec]):
    name = "PublicRecord"
    prefix = "dr"
    spec_type = PublicRecordSpec
    not_found = "DomainRecordNotBelongToUser"

    def check(self, record: Record[PublicRecordSpec]) -> None:
        spec = record.spec
        if self.store.by_physical("PublicDomain", spec.domain_name) is None:
            raise Missing("InvalidDomainName.NoExist", f"domain {spec.domain_name} does not exist")
        _check_record(spec.rr, spec.type, spec.value)
        same = (spec.domain_name, spec.rr, spec.type, spec.value)
        for other in self.list():
            if other.id != record.id and _same(other.spec, other.spec.domain_name) == same:
                message = f"record {spec.rr}.{spec.domain_name} {spec.type} {spec.value} exists already"
                raise CloudError("DomainRecordDuplicate", message)

    def after_change(self, record: Record[PublicRecordSpec]) -> None:
        self.context.renew_names()
        self.context.renew_front_door()


def _same(spec: Any, zone: str) -> tuple[str, str, str, str]:
    return zone, spec.rr, spec.type, spec.value


def _check_record(rr: str, kind: str, value: str) -> None:
    if kind not in _TYPES:
        raise CloudError("Record.Invalid.Type", f"record type {kind!r}, not one of {', '.join(_TYPES)}")
    refuse("Record.Invalid.Rr", f"host record {rr!r}", HOST_RECORD.fault(rr))
    refuse("Record.Invalid.Value", f"record {rr}:", value_fault(kind, value))


# --- what the network sees


@dataclass(frozen=True)
class Name:
    """One record under its full name; `name` may begin with `*.`."""

    name: str
    type: str
    value: str
    priority: int = 0


def full_name(rr: str, zone: str) -> str:
    return zone if rr == "@" else f"{rr}.{zone}"


def public_names(context: Context) -> list[Name]:
    names = []
    for record in context.store.of_kind("PublicRecord"):
        spec = record.spec
        if spec.status == "ENABLE":
            names.append(Name(full_name(spec.rr, spec.domain_name), spec.type, spec.value.rstrip("."), spec.priority))
    return names


def private_names(context: Context) -> tuple[set[str], list[Name]]:
    """The attached zones, and their records."""
    attached = {record.spec.zone_id for record in context.store.of_kind("ZoneAttachment") if record.spec.vpc_ids}
    zones = {zone.id: zone.spec.zone_name for zone in context.store.of_kind("PrivateZone") if zone.id in attached}
    names = []
    for record in context.store.of_kind("ZoneRecord"):
        spec = record.spec
        if spec.zone_id in zones:
            value = spec.value.rstrip(".")
            names.append(Name(full_name(spec.rr, zones[spec.zone_id]), spec.type, value, spec.priority))
    return set(zones.values()), names


def service_names(context: Context) -> list[Name]:
    """Names that the cloud gives its own services: databases, caches, balancers, the object store."""
    names = []
    for record in context.store.of_kind("DatabaseInstance", "Cache", "Balancer"):
        dns_name = record.attributes.get("dns_name")
        names += [Name(dns_name, "A", address) for address in record.attributes.get("addresses", []) if dns_name]
    if context.vpc is not None:
        address = str(context.object_store)
        names += [Name(context.object_domain, "A", address), Name(f"*.{context.object_domain}", "A", address)]
    return names


def seen_inside(context: Context) -> tuple[set[str], list[Name]]:
    """Zones that the name server answers for by itself, and every record that it knows."""
    zones, private = private_names(context)
    domains = {record.spec.domain_name for record in context.store.of_kind("PublicDomain")}
    shown = [name for name in public_names(context) if not any(_under(name.name, zone) for zone in zones)]
    return zones | domains | {context.domain}, private + shown + service_names(context)


def _under(name: str, zone: str) -> bool:
    return name == zone or name.endswith(f".{zone}")


def resolve(name: str, names: list[Name], depth: int = 8) -> list[str]:
    """Addresses of a name, through CNAME chains and wildcards; the most specific record wins."""
    if depth == 0:
        return []
    exact = [record for record in names if record.name == name and record.type in ("A", "CNAME")]
    if not exact:
        parent = name
        while "." in parent and not exact:
            parent = parent.partition(".")[2]
            exact = [record for record in names if record.name == f"*.{parent}" and record.type in ("A", "CNAME")]
    addresses: list[str] = []
    for record in exact:
        addresses += [record.value] if record.type == "A" else resolve(record.value, names, depth - 1)
    return addresses


# --- the name server


class NameServer:
    """dnsmasq: plain names in a file that it re-reads on a signal, the rest in its configuration, which restarts it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def container_name(self) -> str:
        return self._context.containers.name("name-server")

    @property
    def _folder(self) -> Path:
        return self._context.folder("name-server")

    def renew(self) -> None:
        with self._context.store.lock("name-server"):
            vpc = self._context.vpc  # asked once: it may go meanwhile
            if vpc is None or not vpc.ready:
                self._context.containers.remove(self.container_name)
                return
            settings_changed, names_changed = self._write()
            # Most changes are a name more: a signal to the one that runs is all they need.
            if settings_changed or not names_changed or not self._reread():
                self._make_run(settings_changed, names_changed)

    def _reread(self) -> bool:
        return self._context.containers.signal(self.container_name, "HUP")

    def start(self, seen: Seen | None) -> bool:
        """Make it run again after a stop; True where something was done."""
        with self._context.store.lock("name-server"):
            settings_changed, names_changed = self._write()
            return self._make_run(settings_changed, names_changed, seen)

    def _write(self) -> tuple[bool, bool]:
        zones, names = seen_inside(self._context)
        settings = write_atomically(self._folder / "dnsmasq.conf", self._settings(zones, names))
        return settings, write_atomically(self._folder / "names", _hosts_file(names))

    def _make_run(self, settings_changed: bool, names_changed: bool, seen: Seen | None = None) -> bool:
        if self._context.containers.ensure(self._container(), seen, fresh=settings_changed):
            return True
        if names_changed:
            self._reread()
        return names_changed

    def _settings(self, zones: set[str], names: list[Name]) -> str:
        lines = ["no-resolv", "no-hosts", "no-daemon", "log-facility=-", "user=root", "cache-size=2000"]
        lines += ["addn-hosts=/zones/names", "local-ttl=1", "min-port=1024", "bind-interfaces"]
        lines += [f"server={server}" for server in upstream_servers()]
        lines += [f"local=/{zone}/" for zone in sorted(zones)]
        lines += list(_settings_of(names))
        return "\n".join(lines) + "\n"

    def _container(self) -> Container:
        options = (
            *self._context.network_options(self._context.name_server),
            *self._context.resolver_options(),
            *("--cap-add", "NET_ADMIN,NET_RAW", "--volume", f"{self._folder}:/zones:ro"),
        )
        command = ("dnsmasq", "--keep-in-foreground", "--conf-file=/zones/dnsmasq.conf")
        labels = (("yiwang.service", "name-server"),)
        return Container(self.container_name, (CLOUD_IMAGE,), options, command, labels, cores=0.2, memory_mib=64)


def _hosts_file(names: list[Name]) -> str:
    """Every plain name with its addresses, CNAME chains followed."""
    lines = []
    for name in sorted({record.name for record in names if record.type in ("A", "CNAME")}):
        if not name.startswith("*."):
            lines += [f"{address} {name}" for address in resolve(name, names)]
    return "\n".join(lines) + "\n"


def _settings_of(names: list[Name]) -> Iterator[str]:
    for record in sorted(names, key=lambda record: (record.name, record.type, record.value)):
        if record.type in ("A", "CNAME") and record.name.startswith("*."):
            base = record.name[2:]
            for address in [record.value] if record.type == "A" else resolve(record.value, names):
                yield f"address=/*.{base}/{address}"
        elif record.type == "TXT":
            yield f'txt-record={record.name},"{record.value.replace(chr(34), "")}"'
        elif record.type == "MX":
            yield f"mx-host={record.name},{record.value},{record.priority}"
        elif record.type == "PTR":
            yield f"ptr-record={record.name},{record.value}"
        elif record.type == "SRV":
            priority, weight, port, target = record.value.split()
            yield f"srv-host={record.name},{target},{port},{priority},{weight}"


def upstream_servers() -> list[str]:
    """The machine's own resolvers, as far as a container can reach them."""
    servers: list[str] = []
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists():
            pairs = [line.split() for line in path.read_text().splitlines()]
            servers += [pair[1] for pair in pairs if len(pair) > 1 and pair[0] == "nameserver"]
    reachable = [server for server in servers if ":" not in server and not server.startswith("127.")]
    return list(dict.fromkeys(reachable))
