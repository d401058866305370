"""What every kind needs of its environment: store, containers, settings, names, and the network's fixed addresses."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from infra.local.cloud.containers import Containers
from infra.local.cloud.errors import CloudError, Missing
from infra.local.cloud.records import Record
from infra.local.cloud.settings import CloudSettings
from infra.local.cloud.store import Store

Made = TypeVar("Made")

RUNNING, STOPPED = "running", "stopped"

# Offsets in the VPC's range; vSwitches give out addresses from the tenth on, as their first ones are reserved.
_GATEWAY, _NAME_SERVER, _OBJECT_STORE = 1, 2, 3


class Context:
    """`specs` has the type of each kind's specifications, `not_found` the code that each kind answers for what is none
    of its things."""

    def __init__(
        self, root: Path, environment: str, specs: Mapping[str, type[Any]], not_found: Mapping[str, str]
    ) -> None:
        self.root = root.resolve()
        self.environment = environment
        self.store = Store(self.root, specs)
        self.containers = Containers(environment)
        self._not_found = not_found
        # Renewed by the part that owns them; kinds call these and need not know one another.
        self.renew_firewall: Callable[[], None] = lambda: None
        self.renew_names: Callable[[], None] = lambda: None
        self.renew_front_door: Callable[[], object] = lambda: None
        self.renew_object_store: Callable[[], None] = lambda: None
        self.renew_balancers: Callable[[], None] = lambda: None
        self.host_view_options: Callable[[], tuple[str, ...]] = lambda: ()
        self._threads = threading.local()

    # --- settings and state

    @property
    def settings(self) -> CloudSettings:
        stored = self.store.fact("settings")
        names = {item.name for item in dataclasses.fields(CloudSettings)}
        values = {name: value for name, value in json.loads(stored or "{}").items() if name in names}
        return CloudSettings(**values)

    @property
    def stopped(self) -> bool:
        return self.store.fact("state") == STOPPED

    def require_up(self) -> None:
        if self.stopped:
            raise CloudError("Environment.Stopped", f"environment {self.environment} is stopped: start it (make up)")

    def mark(self, state: str) -> None:
        self.store.set_fact("state", state)
        self.store.set_fact("boot", boot_id())

    def per_thread(self, name: str, make: Callable[[], Made]) -> Made:
        """A thing of the calling thread's own, such as its open connections."""
        held: Made | None = getattr(self._threads, name, None)
        if held is None:
            held = make()
            setattr(self._threads, name, held)
        return held

    # --- names

    @property
    def domain(self) -> str:
        """Suffix of the names that the cloud gives its own services."""
        return f"{self.environment}.cloud.internal"

    @property
    def object_domain(self) -> str:
        return self.settings.object_domain or f"oss.{self.domain}"

    @property
    def network_name(self) -> str:
        return f"yw-{self.environment}"

    def folder(self, *parts: str) -> Path:
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    # --- the network

    @property
    def vpc(self) -> Record[Any] | None:
        networks = self.store.of_kind("Network")
        return networks[0] if networks else None

    def require_cidr(self) -> IPv4Network:
        vpc = self.vpc
        if vpc is None:
            raise CloudError("InvalidVpcId.NotFound", f"environment {self.environment} has no network yet")
        return IPv4Network(vpc.spec.cidr)

    @property
    def gateway(self) -> IPv4Address:
        return self.require_cidr()[_GATEWAY]

    @property
    def name_server(self) -> IPv4Address:
        return self.require_cidr()[_NAME_SERVER]

    @property
    def object_store(self) -> IPv4Address:
        return self.require_cidr()[_OBJECT_STORE]

    def network_options(self, address: str | IPv4Address) -> tuple[str, ...]:
        """A fixed address and a hardware address that follows from it, so that no peer keeps a stale one."""
        octets = ":".join(f"{octet:02x}" for octet in IPv4Address(address).packed)
        return ("--network", self.network_name, "--ip", str(address), "--mac-address", f"02:00:{octets}")

    def resolver_options(self) -> tuple[str, ...]:
        return ("--dns", str(self.name_server), "--dns-search", ".")

    # --- records

    def require_kind(self, kind: str, identity: str, asker: str) -> Record[Any]:
        record = self.store.get(identity)
        if record is None or record.kind != kind:
            raise Missing(self._not_found[kind], f"{asker}: {kind} {identity} does not exist")
        return record

    def labels(self, record: Record[Any]) -> tuple[tuple[str, str], ...]:
        owner = record.owner
        return (("yiwang.stack", owner.stack), ("yiwang.name", owner.name), ("yiwang.id", record.id))


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def write_atomically(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write a file whole or not at all; False where it holds that content already."""
    if path.exists() and path.read_text() == content:
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(content)
    draft.chmod(mode)
    draft.replace(path)
    return True
