"""What accounts, databases and grants have in common: they are seen and changed by way of their instance."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from typing import Any

from infra.local.cloud.databases.administrator import NO_ANSWER, Administrator, administrator
from infra.local.cloud.instance_part import InstancePart
from infra.local.cloud.records import Record, Spec


class DatabasePart(InstancePart[Spec]):
    """Things inside an instance."""

    busy = "OperationDenied.DBInstanceStatus"

    def admin(self, instance: str) -> Administrator:
        return administrator(self.context, instance)

    def reachable(self, instance: str) -> bool | None:
        """True: it answers. False: there is none. None: it is there and does not run, so nothing can be seen."""
        if self.context.stopped:
            return None
        with contextlib.suppress(*NO_ANSWER):
            self.admin(instance).run("SELECT 1")
            return True
        seen = self.context.containers.look(self.context.containers.name(instance))
        return False if seen is None else (True if seen.alive else None)

    def is_new(self, record: Record[Any]) -> bool:
        return self.store.get(record.id) is None

    def observe(self, record: Record[Spec]) -> Record[Spec] | None:
        """Of an instance that is there and does not run nothing can be seen, so nothing of it is gone."""
        reachable = self.reachable(_instance_of(record))
        if reachable is None:
            return record
        return self.inside(record) if reachable else None

    @abstractmethod
    def inside(self, record: Record[Spec]) -> Record[Spec] | None:
        """What is there, by the word of an instance that answers."""


def _instance_of(record: Record[Any]) -> str:
    return str(record.spec.instance_id)
