"""Kinds whose things are a container each: how one is placed, made to run, observed, brought back and withdrawn."""

from __future__ import annotations

import dataclasses
import shutil
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.networks import allocate_address
from infra.local.cloud.records import Record, Spec
from infra.local.images import CLOUD_IMAGE


class ContainerKind(Kind[Spec]):
    """Each thing has a container, an address and a folder of its own, which all go with it.

    Subclasses say what runs: `attributes` and `run`; whatever a thing has beyond that is theirs, too.
    """

    word: ClassVar[str]
    """What a thing is called where it is refused."""
    folder_name: ClassVar[str]
    """Below the environment's folder; an older environment has it on its disk."""
    alive, dead = "Running", "Stopped"
    """The status of a thing whose processes run, and of one whose processes ended."""
    protected_by: ClassVar[str] = "deletion_protection"
    protection_code: ClassVar[str]
    limits: ClassVar[tuple[float, int]] = (0.0, 0)
    """Cores and MiB of each, whatever its class."""

    # --- what subclasses fill in

    @abstractmethod
    def attributes(self, record: Record[Spec]) -> Mapping[str, Any]:
        """What the cloud alone can say of it: its address, its names, its status."""

    @abstractmethod
    def run(self, record: Record[Spec], seen: Seen | None = None) -> bool:
        """Make it run as specified and wait until it answers; True where something was done. `seen` spares a look."""

    # --- where it is

    def container_name(self, record: Record[Spec]) -> str:
        return self.context.containers.name(record.id)

    def folder(self, record: Record[Spec]) -> Path:
        return self.context.root / self.folder_name / record.id

    def look(self, record: Record[Spec]) -> Seen | None:
        return self.context.containers.look(self.container_name(record))

    def placed(self, record: Record[Spec], switch: str, dns_name: str, wanted: str = "") -> dict[str, Any]:
        """An address in a vSwitch, under a name where it has one."""
        address = allocate_address(self.context, switch, record.id, wanted=wanted)
        named = {"dns_name": dns_name} if dns_name else {}
        return {"address": address, "addresses": [address], **named, "status": self.alive}

    # --- its life

    def realise(self, record: Record[Spec]) -> Mapping[str, Any]:
        attributes = self.attributes(record)
        self.run(dataclasses.replace(record, attributes=attributes))
        return attributes

    def after_change(self, record: Record[Spec]) -> None:
        self.context.renew_firewall()
        self.context.renew_names()

    def observe(self, record: Record[Spec]) -> Record[Spec] | None:
        """In a stopped environment nothing is gone; else what has no container was taken away by hand."""
        if self.context.stopped:
            return record
        seen = self.look(record)
        return None if seen is None else self.observed(record, seen)

    def observed(self, record: Record[Spec], seen: Seen) -> Record[Spec]:
        status = self.alive if seen.alive else self.dead
        return dataclasses.replace(record, attributes={**record.attributes, "status": status})

    def check_delete(self, record: Record[Spec]) -> None:
        if getattr(record.spec, self.protected_by):
            message = f"{self.word} {record.owner.name} is protected: set {self.protected_by} to false first"
            raise CloudError(self.protection_code, message)

    def withdraw(self, record: Record[Spec]) -> None:
        self.context.containers.remove(self.container_name(record))
        self.let_go(record)
        shutil.rmtree(self.folder(record), ignore_errors=True)

    def let_go(self, record: Record[Spec]) -> None:
        """What must end before the folder can go; its container is gone by then."""

    # --- for what is managed: a container of the cloud's own image

    def managed(self, record: Record[Spec], options: tuple[str, ...], command: tuple[str, ...]) -> Container:
        cores, memory = self.limits
        return Container(
            name=self.container_name(record),
            image=(CLOUD_IMAGE,),
            options=(
                *self.context.network_options(record.attributes["address"]),
                *self.context.resolver_options(),
                *options,
            ),
            command=command,
            labels=self.context.labels(record),
            cores=cores,
            memory_mib=memory,
        )

    def unanswered(self, record: Record[Spec], error: Exception) -> CloudError:
        """What to raise where it runs and does not answer: with the last that it said."""
        return self.context.containers.unanswered(
            self.container_name(record), f"{self.word} {record.owner.name}", error
        )
