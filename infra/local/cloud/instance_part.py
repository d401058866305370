"""Things inside a managed instance, such as its accounts: one operation at a time, as in the cloud."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from infra.local.cloud.errors import CloudError
from infra.local.cloud.kind import Kind
from infra.local.cloud.records import Spec


class InstancePart(Kind[Spec]):
    """A part of the instance that `instance_id` of its specification names."""

    busy: ClassVar[str]
    """The cloud's code where another operation on the instance is in progress."""

    def exclusive(self, spec: Any) -> AbstractContextManager[None]:
        return self._operation(spec.instance_id)

    @contextmanager
    def _operation(self, instance: str) -> Iterator[None]:
        with self.store.try_lock(f"operation-{instance}") as mine:
            if not mine:
                message = f"another operation on {instance} is in progress: wait for it and try again"
                raise CloudError(self.busy, message)
            yield
