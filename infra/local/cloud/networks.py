"""VPC and vSwitch: one Podman network an environment, vSwitches as address ranges in it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from infra.local.cloud.containers import run_podman
from infra.local.cloud.context import Context
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Record
from infra.local.cloud.specs.networks import SWITCH_MASKS, NetworkSpec, SwitchSpec, range_fault

_PRIVATE = tuple(IPv4Network(cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
_BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_FIRST_USABLE = 10  # the cloud keeps each vSwitch's first and last addresses; here also the name server's and store's


class Networks(Kind[NetworkSpec]):
    name = "Network"
    prefix = "vpc"
    spec_type = NetworkSpec
    quota = 1  # the real quota is 10 a region; an environment here is one VPC, one Podman network
    not_found = "InvalidVpcId.NotFound"

    def check(self, record: Record[NetworkSpec]) -> None:
        cidr = network_of(record.spec.cidr, "InvalidCidrBlock.Malformed")
        inside = any(cidr.subnet_of(private) for private in _PRIVATE)
        if not inside or not 8 <= cidr.prefixlen <= 24:
            raise CloudError("InvalidCidrBlock", f"VPC {record.owner.name}: {cidr} is no private range from /8 to /24")
        if not network_exists(self.context.network_name):
            refuse_overlap(cidr, self.context.network_name)

    def realise(self, record: Record[NetworkSpec]) -> Mapping[str, Any]:
        ensure_network(self.context, record)
        return {"name_server": str(self.context.name_server), "gateway": str(self.context.gateway)}

    def after_change(self, record: Record[NetworkSpec]) -> None:
        self.context.renew_firewall()
        self.context.renew_names()

    def observe(self, record: Record[NetworkSpec]) -> Record[NetworkSpec] | None:
        return record if self.context.stopped or network_exists(self.context.network_name) else None

    def withdraw(self, record: Record[NetworkSpec]) -> None:
        """The name server and the object store live on the network: they go with it."""
        with self.store.lock("name-server"):
            # A zone that goes at the same time renews the name server: not any more from here on.
            self._save(dataclasses.replace(record, ready=False))
            for name, seen in self.context.containers.seen().items():
                self.context.containers.remove(name, seen)
            run_podman("network", "rm", "--force", self.context.network_name, check=False)


def ensure_network(context: Context, record: Record[NetworkSpec]) -> bool:
    if not _BRIDGE_FILTER.exists():
        subprocess.run(["modprobe", "br_netfilter"], capture_output=True, check=False)
    if not _BRIDGE_FILTER.exists():
        message = "the kernel cannot filter bridged traffic (module br_netfilter): security groups would not block"
        raise CloudError("Machine.Unfit", message)
    for switch in (_BRIDGE_FILTER, Path("/proc/sys/net/ipv4/ip_forward")):
        if switch.read_text().strip() != "1":
            switch.write_text("1")
    if network_exists(context.network_name):
        return False
    refuse_overlap(IPv4Network(record.spec.cidr), context.network_name)
    labels = [option for key, value in context.labels(record) for option in ("--label", f"{key}={value}")]
    labels += ["--label", f"yiwang.environment={context.environment}"]
    flags = ["--subnet", record.spec.cidr, "--gateway", str(context.gateway), "--disable-dns", "--opt", "isolate=true"]
    done = run_podman("network", "create", *flags, *labels, context.network_name, check=False)
    if done.returncode != 0 and not network_exists(context.network_name):
        raise CloudError("InternalError", f"podman network create: {done.stderr.strip()}")
    return True


def network_exists(name: str) -> bool:
    return run_podman("network", "exists", name, check=False).returncode == 0


def refuse_overlap(cidr: IPv4Network, own: str) -> None:
    """Name the machine's network or route that the VPC's range would hide."""
    for name, other in _machine_networks():
        if name != own and other.prefixlen > 0 and cidr.overlaps(other):
            message = f"{cidr} overlaps {other} of this machine ({name}): choose another range for the environment"
            raise CloudError("InvalidCidrBlock.Overlapped", message)


def _machine_networks() -> Iterator[tuple[str, IPv4Network]]:
    names = run_podman("network", "ls", "--quiet").stdout.split()
    if names:
        for network in json.loads(run_podman("network", "inspect", *names).stdout):
            for subnet in network.get("subnets") or []:
                if ":" not in subnet["subnet"]:
                    yield network["name"], IPv4Network(subnet["subnet"], strict=False)
    routes = subprocess.run(["ip", "-json", "-4", "route"], capture_output=True, text=True, check=True).stdout
    for route in json.loads(routes or "[]"):
        # Bridges of Podman networks were named above, by their own name.
        if route["dst"] != "default" and not str(route.get("dev", "")).startswith("podman"):
            yield f"device {route.get('dev', '?')}", IPv4Network(route["dst"], strict=False)


def network_of(cidr: str, code: str) -> IPv4Network:
    refuse(code, repr(cidr), range_fault(cidr))
    return IPv4Network(cidr)


class Switches(Kind[SwitchSpec]):
    name = "Switch"
    prefix = "vsw"
    spec_type = SwitchSpec
    quota = 150
    not_found = "InvalidVSwitchId.NotFound"

    def check(self, record: Record[SwitchSpec]) -> None:
        spec = record.spec
        vpc = self.context.require_kind("Network", spec.vpc_id, f"vSwitch {record.owner.name}")
        cidr = network_of(spec.cidr, "InvalidCidrBlock.Malformed")
        if not cidr.subnet_of(IPv4Network(vpc.spec.cidr)) or cidr.prefixlen not in SWITCH_MASKS:
            message = f"vSwitch {record.owner.name}: {cidr} is no /16 to /29 inside the VPC's {vpc.spec.cidr}"
            raise CloudError("InvalidCidrBlock", message)
        for other in self.list():
            if other.id != record.id and cidr.overlaps(IPv4Network(other.spec.cidr)):
                message = f"vSwitch {record.owner.name}: {cidr} overlaps {other.spec.cidr} of {other.owner.name}"
                raise CloudError("InvalidCidrBlock.Overlapped", message)

    def observe(self, record: Record[SwitchSpec]) -> Record[SwitchSpec] | None:
        return record if self.context.stopped or network_exists(self.context.network_name) else None


def allocate_address(context: Context, switch: str, holder: str, label: str = "", wanted: str = "") -> str:
    """An address in a vSwitch for a thing that lives there: the one it has, the one it asks for, or a free one."""
    record = context.require_kind("Switch", switch, holder)
    cidr = IPv4Network(record.spec.cidr)
    if wanted and IPv4Address(wanted) not in cidr:
        raise CloudError("InvalidPrivateIpAddress.Malformed", f"{wanted} is not in vSwitch {switch} ({cidr})")
    first = min(_FIRST_USABLE, max(1, cidr.num_addresses // 4))
    usable = (cidr[offset] for offset in range(first, cidr.num_addresses - 3))
    return context.store.allocate(switch, iter([IPv4Address(wanted)]) if wanted else usable, holder, label)
