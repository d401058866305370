"""ECS: a host is a container that boots systemd and sshd, with its own disk, address and limits."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.local.cloud.container_kind import ContainerKind
from infra.local.cloud.containers import Container, Seen, mount_overlay, run_podman, unmount
from infra.local.cloud.errors import CloudError, Missing, refuse
from infra.local.cloud.instance_types import host_type, type_with_limits
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Record
from infra.local.cloud.specs.hosts import GROUPS_OF_A_HOST, HOST_NAME, HostSpec, KeyPairSpec, public_key_fault
from infra.local.images import BASE_IMAGE

_USERS = ("root", "ecs-user")
# What a virtual machine has and a container lacks by default: raw sockets, and its own network's rules.
JOURNAL = "var/log/journal"
"""On the host's own disk, below its root."""
_CAPABILITIES = ("--cap-add", "NET_RAW,NET_ADMIN,AUDIT_WRITE,SYS_PTRACE")


class KeyPairs(Kind[KeyPairSpec]):
    name = "KeyPair"
    prefix = "kp"
    spec_type = KeyPairSpec
    not_found = "InvalidKeyPair.NotFound"

    def physical(self, spec: KeyPairSpec) -> str:
        return spec.name

    def check(self, record: Record[KeyPairSpec]) -> None:
        fault = public_key_fault(record.spec.public_key)
        refuse("InvalidPublicKeyBody.Malformed", f"public key of pair {record.spec.name}", fault)


class Hosts(ContainerKind[HostSpec]):
    name = "Host"
    prefix = "i"
    spec_type = HostSpec
    not_found = "InvalidInstanceId.NotFound"
    word = "host"
    folder_name = "hosts"
    protection_code = "InvalidOperation.DeletionProtection"

    def physical(self, spec: HostSpec) -> str:
        return spec.name

    def check(self, record: Record[HostSpec]) -> None:
        spec = record.spec
        refuse("InvalidHostName.Malformed", f"host name {spec.name!r}", HOST_NAME.fault(spec.name))
        host_type(spec.instance_type)
        if len(spec.security_group_ids) not in GROUPS_OF_A_HOST:
            raise CloudError("InvalidSecurityGroupId", f"host {spec.name}: in {GROUPS_OF_A_HOST} security groups")
        if spec.key_name and self.store.by_physical("KeyPair", spec.key_name) is None:
            message = f"host {spec.name}: key pair {spec.key_name} does not exist"
            raise Missing("InvalidKeyPairName.NotFound", message)

    def attributes(self, record: Record[HostSpec]) -> Mapping[str, Any]:
        return self.placed(record, record.spec.switch_id, dns_name="", wanted=record.spec.private_ip)

    def realise(self, record: Record[HostSpec]) -> Mapping[str, Any]:
        attributes, seen = self.attributes(record), self.look(record)
        if seen is None:
            # Released by hand, or new: it starts with a fresh disk. A stopped environment never comes here.
            self._drop_disk(record)
        self.run(dataclasses.replace(record, attributes=attributes), seen)
        return attributes

    def after_change(self, record: Record[HostSpec]) -> None:
        self.context.renew_firewall()

    def observed(self, record: Record[HostSpec], seen: Seen) -> Record[HostSpec]:
        limits, spec = self.context.containers.limits(seen), record.spec
        if limits and limits != host_type(spec.instance_type).limits(self.context.settings):
            spec = dataclasses.replace(spec, instance_type=type_with_limits(*limits, self.context.settings))
        return super().observed(dataclasses.replace(record, spec=spec), seen)

    def let_go(self, record: Record[HostSpec]) -> None:
        self._drop_disk(record)

    # --- the container

    def container_name(self, record: Record[HostSpec]) -> str:
        return self.context.containers.name(record.spec.name)

    def run(self, record: Record[HostSpec], seen: Seen | None = None) -> bool:
        """Make the host run with its disk, keys and limits; True where something was done."""
        self._write_keys(record)
        wanted = self._container(record)
        if seen and not seen.alive:
            self.context.containers.remove(seen.name, seen)
            seen = None
        if seen is None:
            mount_overlay(self._lower(record), self.folder(record) / "disk")
        self._write_resolver(record)
        (self.folder(record) / "disk" / "merged" / JOURNAL).mkdir(parents=True, exist_ok=True)
        changed = self.context.containers.ensure(wanted, seen)
        alive = seen if seen and not changed else self.context.containers.look(wanted.name)
        limits = self.context.containers.limits(alive) if alive else None
        if limits and limits != (wanted.cores, wanted.memory_mib):
            self.context.containers.set_limits(wanted.name, wanted.cores, wanted.memory_mib)
            changed = True
        return changed

    def _container(self, record: Record[HostSpec]) -> Container:
        folder = self.folder(record)
        cores, memory = host_type(record.spec.instance_type).limits(self.context.settings)
        options = (
            *("--systemd", "always", "--hostname", record.spec.name, *_CAPABILITIES, "--pids-limit", "4096"),
            # The resolver is a file of its own disk, as a machine's is: what was written there outlives a restart.
            *self.context.network_options(record.attributes["address"]),
            *("--dns", "none"),
            *("--volume", f"{folder / 'authorized_keys'}:/etc/ssh/authorized_keys:ro"),
            *("--volume", f"{folder / 'host_keys'}:/etc/ssh/host_keys:ro"),
            # where nothing is mounted, `--systemd` puts a tmpfs, and a killed host's journal would be gone with it
            *("--volume", f"{folder / 'disk' / 'merged' / JOURNAL}:/{JOURNAL}"),
            *self.context.host_view_options(),
        )
        return Container(
            name=self.container_name(record),
            image=("--rootfs", str(folder / "disk" / "merged")),
            options=options,
            command=("/sbin/init",),
            labels=self.context.labels(record),
            cores=cores,
            memory_mib=memory,
        )

    def _lower(self, record: Record[HostSpec]) -> list[str]:
        """Layers under the host's disk: the image's at its first boot, whatever the image has become since."""
        memory = self.folder(record) / "disk" / "image.json"
        if memory.exists():
            lower: list[str] = json.loads(memory.read_text())
            if all(Path(layer).is_dir() for layer in lower):
                return lower
            self._drop_disk(record)
        lower = image_layers(BASE_IMAGE)
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(lower))
        return lower

    def _write_keys(self, record: Record[HostSpec]) -> None:
        """Who may log in, and the host's own key, which stays when the host is made again."""
        folder = self.folder(record)
        keys, own = folder / "authorized_keys", folder / "host_keys"
        for path in (keys, own):
            path.mkdir(parents=True, exist_ok=True)
        pair = self.store.by_physical("KeyPair", record.spec.key_name) if record.spec.key_name else None
        for user in _USERS:
            (keys / user).write_text(f"{pair.spec.public_key.strip()}\n" if pair else "")
        key = own / "ssh_host_ed25519_key"
        if not key.exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", record.spec.name, "-f", str(key)]
            subprocess.run(command, check=True, capture_output=True)

    def _write_resolver(self, record: Record[HostSpec]) -> None:
        """A host that has written none asks the network's name server: at its first boot, or one whose resolver lay
        beside its disk until now."""
        disk = self.folder(record) / "disk"
        if not (disk / "upper/etc/resolv.conf").exists():
            resolver = disk / "merged/etc/resolv.conf"
            resolver.unlink(missing_ok=True)  # whatever the image was built with, a link perhaps
            resolver.write_text(f"nameserver {self.context.name_server}\n")

    def _drop_disk(self, record: Record[HostSpec]) -> None:
        disk = self.folder(record) / "disk"
        unmount(disk / "merged")
        shutil.rmtree(disk, ignore_errors=True)


def image_layers(image: str) -> list[str]:
    template = '{{.GraphDriver.Data.UpperDir}}:{{index .GraphDriver.Data "LowerDir"}}'
    done = run_podman("image", "inspect", "--format", template, image, check=False)
    if done.returncode != 0:
        raise CloudError("InvalidImageId.NotFound", f"image {image} is missing: build the images first (make up does)")
    return [layer for layer in done.stdout.strip().split(":") if layer and layer != "<no value>"]
