"""One environment's cloud: its kinds of things, what runs of it, its life cycle."""

from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from infra.local.cloud.balancers.instances import Balancers
from infra.local.cloud.balancers.listeners import ListenerRules, Listeners
from infra.local.cloud.balancers.server_groups import ServerGroups
from infra.local.cloud.buckets import AccessKeys, Buckets, Policies, PolicyAttachments, Users
from infra.local.cloud.caches import CacheAccounts, Caches
from infra.local.cloud.certificates import Certificates
from infra.local.cloud.container_kind import ContainerKind
from infra.local.cloud.containers import Seen, forget_before_boot, run_podman, unmount
from infra.local.cloud.context import RUNNING, STOPPED, Context, boot_id
from infra.local.cloud.databases.accounts import DatabaseAccounts
from infra.local.cloud.databases.databases import Databases
from infra.local.cloud.databases.grants import Grants
from infra.local.cloud.databases.instances import DatabaseInstances
from infra.local.cloud.firewall import Firewall, SecurityGroups, SecurityRules
from infra.local.cloud.front_door import FrontDoor
from infra.local.cloud.host_view import HostView
from infra.local.cloud.hosts import Hosts, KeyPairs
from infra.local.cloud.keeper import Keeper
from infra.local.cloud.kept import KeptThings
from infra.local.cloud.kind import Kind
from infra.local.cloud.networks import Networks, Switches, ensure_network
from infra.local.cloud.object_store import ObjectStore
from infra.local.cloud.records import Record, Status
from infra.local.cloud.running import Running
from infra.local.cloud.settings import CloudSettings
from infra.local.cloud.zones import NameServer, PrivateZones, PublicDomains, PublicRecords, ZoneAttachments, ZoneRecords

_KINDS: tuple[type[Kind[Any]], ...] = (
    *(Networks, Switches, SecurityGroups, SecurityRules, KeyPairs, Hosts),
    *(DatabaseInstances, DatabaseAccounts, Databases, Grants, Caches, CacheAccounts),
    *(Buckets, Users, Policies, PolicyAttachments, AccessKeys),
    *(Certificates, Balancers, ServerGroups, Listeners, ListenerRules),
    *(PrivateZones, ZoneAttachments, ZoneRecords, PublicDomains, PublicRecords, KeptThings),
)
SomeKind = TypeVar("SomeKind", bound=Kind[Any])


class Cloud:
    """One environment's cloud; `root` is its folder (store, data, keys), made where it is missing."""

    def __init__(self, root: Path, environment: str) -> None:
        self.environment = environment
        specs = {kind.name: kind.spec_type for kind in _KINDS}
        self._context = Context(root, environment, specs, {kind.name: kind.not_found for kind in _KINDS})
        self._kinds: dict[str, Kind[Any]] = {}
        self._firewall = Firewall(self._context)
        self._name_server = NameServer(self._context)
        self._front_door = FrontDoor(self._context)
        self._object_store = ObjectStore(self._context)
        self.host_view = HostView(self._context)
        self.keeper = Keeper(self._context)
        self.networks = self._kind(Networks)
        self.switches = self._kind(Switches)
        self.security_groups = self._kind(SecurityGroups)
        self.security_rules = self._kind(SecurityRules)
        self.key_pairs = self._kind(KeyPairs)
        self.hosts = self._kind(Hosts)
        self.database_instances = self._kind(DatabaseInstances)
        self.database_accounts = self._kind(DatabaseAccounts)
        self.databases = self._kind(Databases)
        self.grants = self._kind(Grants)
        self.caches = self._kind(Caches)
        self.cache_accounts = self._kind(CacheAccounts)
        self.buckets = self._kind(Buckets)
        self.users = self._kind(Users)
        self.policies = self._kind(Policies)
        self.policy_attachments = self._kind(PolicyAttachments)
        self.access_keys = self._kind(AccessKeys)
        self.certificates = self._kind(Certificates)
        self.balancers = self._kind(Balancers)
        self.server_groups = self._kind(ServerGroups)
        self.listeners = self._kind(Listeners)
        self.listener_rules = self._kind(ListenerRules)
        self.private_zones = self._kind(PrivateZones)
        self.zone_attachments = self._kind(ZoneAttachments)
        self.zone_records = self._kind(ZoneRecords)
        self.public_domains = self._kind(PublicDomains)
        self.public_records = self._kind(PublicRecords)
        self.kept = self._kind(KeptThings)
        self._wire()

    def _kind(self, kind: type[SomeKind]) -> SomeKind:
        made = kind(self._context)
        self._kinds[made.name] = made
        return made

    def _wire(self) -> None:
        context = self._context
        context.renew_firewall = self._firewall.renew
        context.renew_names = self._name_server.renew
        context.renew_balancers = self.balancers.renew
        context.renew_front_door = self._front_door.renew
        context.renew_object_store = self._object_store.renew
        context.host_view_options = self.host_view.options

    # --- settings and lists

    @property
    def settings(self) -> CloudSettings:
        return self._context.settings

    def configure(self, settings: CloudSettings) -> None:
        """Keep the settings in the store; what runs already follows at the next change or start."""
        self._context.store.set_fact("settings", json.dumps(dataclasses.asdict(settings), sort_keys=True))

    def kind(self, name: str) -> Kind[Any]:
        return self._kinds[name]

    def inventory(self) -> list[Record[Any]]:
        """Every record, with the stack and the logical name of its owner."""
        return self._context.store.all()

    @property
    def object_endpoint(self) -> str:
        return self._object_store.endpoint

    @property
    def root(self) -> Path:
        return self._context.root

    @property
    def name_servers(self) -> list[str]:
        return [str(self._context.name_server)] if self._context.vpc else []

    # --- life cycle

    @property
    def stopped(self) -> bool:
        """Whether `stop` ended it, and nothing started it since."""
        return self._context.stopped

    def is_up(self) -> bool:
        """Whether the environment runs as far as a look tells; a single thing that is missing is drift, not down."""
        context = self._context
        if context.stopped:
            return False
        if context.vpc is None or not self._to_run():
            return True
        if context.store.count("Host") and not self.host_view.answers():
            return False
        same_boot = context.store.fact("boot") in (None, boot_id())
        return same_boot and any(seen.alive for seen in context.containers.seen().values())

    def start(self) -> list[str]:
        """Make and start everything recorded that does not run; returns what had to be done, nothing when all ran.

        After a reboot, after `stop`, after every process was killed: the same things with the same addresses and data.
        From then on the keeper brings back what dies.
        """
        context = self._context
        with context.store.lock("life-cycle"):
            forget_before_boot()
            vpc = context.vpc
            done: list[str] = []
            if vpc is not None and vpc.ready:
                seen = context.containers.seen()  # mends podman's picture, too, before the network is touched
                done += self._start_network(vpc, seen)
                if context.store.count("Host") and self.host_view.ensure():
                    done.append("hosts' view of themselves")
                done += self._start_things(seen)
            context.mark(RUNNING)
            return done + (["keeper"] if self.keeper.ensure() else [])

    def _start_network(self, vpc: Record[Any], seen: dict[str, Seen]) -> list[str]:
        context = self._context
        done = ["network"] if ensure_network(context, vpc) else []
        if done:
            # The bridge is another one: containers of the old one have no way out.
            for name, container in seen.items():
                context.containers.remove(name, container)
            seen.clear()
        if not self._firewall.loaded():
            self._firewall.renew(force=True)
            done.append("firewall")
        if self._name_server.start(seen.get(self._name_server.container_name)):
            done.append("name server")
        return done

    def _start_things(self, seen: dict[str, Seen]) -> list[str]:
        things = [thing for thing in self.running() if thing.container != self._name_server.container_name]
        # the front door points to the others' addresses, and waits for none of them
        *work, door = things
        with ThreadPoolExecutor(max_workers=4) as pool:
            results = list(pool.map(lambda thing: thing.run(seen.get(thing.container)), work))
        done = [thing.label for thing, changed in zip(work, results, strict=True) if changed]
        return done + ([door.label] if door.run(seen.get(door.container)) else [])

    def seen(self) -> dict[str, Seen]:
        """Every container of the environment by name, as podman and the kernel show it."""
        return self._context.containers.seen()

    def running(self) -> list[Running]:
        """Everything that should run now; the front door is the last."""
        context = self._context
        if context.vpc is None or not context.vpc.ready:
            return []
        things = [Running("name server", self._name_server.container_name, self._name_server.start)]
        things += [self._running(kind, record) for kind, record in self._to_run()]
        if context.store.count("Bucket"):
            things.append(Running("object store", self._object_store.container_name, self._object_store.make_run))
        return [*things, Running("front door", self._front_door.container_name, self._front_door.renew)]

    def _to_run(self) -> list[tuple[ContainerKind[Any], Record[Any]]]:
        """Every thing that is a container, with its kind."""
        kinds = {kind.name: kind for kind in self._kinds.values() if isinstance(kind, ContainerKind)}
        return [(kinds[record.kind], record) for record in self._context.store.of_kind(*kinds) if record.ready]

    def _running(self, kind: ContainerKind[Any], record: Record[Any]) -> Running:
        def run_current(seen: Seen | None) -> bool:
            current = self._context.store.get(record.id)  # it may have changed, or gone, since it was listed
            return current is not None and current.ready and kind.run(current, seen)

        return Running(f"{record.kind} {record.owner.name}", kind.container_name(record), run_current, record.id)

    def revive(self, things: list[Running]) -> list[tuple[Running, Exception | None]]:
        """Run again those that have died, and say what came of each. Left alone, and out of the answer, is what lives,
        what was removed, and what somebody else is at work on.
        """
        with self._context.store.try_lock("life-cycle") as mine:
            if not mine or self._context.stopped:
                return []
            with ThreadPoolExecutor(max_workers=4) as pool:
                return [tried for tried in pool.map(self._revive_one, things) if tried]

    def _revive_one(self, thing: Running) -> tuple[Running, Exception | None] | None:
        store = self._context.store
        with store.try_lock(f"thing-{thing.record}") if thing.record else nullcontext(True) as mine:
            seen = self._context.containers.look(thing.container) if mine else None
            if seen is None or seen.alive:
                return None
            try:
                # Looked at again where its own lock is held: a renewal may run it at this moment.
                return (thing, None) if thing.run(None) else None
            except Exception as error:
                return thing, error

    def stop(self) -> None:
        """End and remove everything that runs: containers, network, firewall, mounts. Data and store stay."""
        context = self._context
        with context.store.lock("life-cycle"):
            context.mark(STOPPED)
            self.keeper.end()
            forget_before_boot()
            seen = context.containers.seen()
            # Databases write what they hold before they end; nothing else has anything to lose.
            databases = {self.database_instances.container_name(record) for record in self.database_instances.list()}
            with ThreadPoolExecutor(max_workers=4) as pool:
                for name, container in seen.items():
                    pool.submit(context.containers.remove, name, container, 15 if name in databases else 0)
            run_podman("network", "rm", "--force", context.network_name, check=False)
            self._firewall.withdraw()
            self.host_view.end()
            for disk in sorted((context.root / "hosts").glob("*/disk/merged")):
                unmount(disk)

    def destroy(self) -> None:
        """`stop`, and nothing of the environment is left, data included."""
        self.stop()
        shutil.rmtree(self._context.root)

    def status(self) -> list[Status]:
        """A line for each thing recorded: what it is, whose, whether it runs, where."""
        seen = self._context.containers.seen()
        return [self._status(record, seen) for record in self.inventory()]

    def _status(self, record: Record[Any], seen: dict[str, Seen]) -> Status:
        address = record.attributes.get("address", "")
        name = getattr(record.spec, "name", "") or record.owner.name
        if not record.ready:
            return Status(record.id, record.kind, record.owner, name, "Creating", address)
        kind = self._kinds[record.kind]
        if not isinstance(kind, ContainerKind):
            return Status(record.id, record.kind, record.owner, name, "Available", address)
        container = seen.get(kind.container_name(record))
        state = "Missing" if container is None else "Running" if container.alive else "Stopped"
        if container is None and self._context.stopped:
            state = "Stopped"
        return Status(record.id, record.kind, record.owner, name, state, address)
