"""What every kind of thing has in common: create, read, update, delete, by deterministic identity."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Generic

from infra.local.cloud.context import Context
from infra.local.cloud.errors import CloudError
from infra.local.cloud.records import Owner, Record, Spec, fixed_fields, identity, names, references


class Kind(Generic[Spec]):
    """A kind of thing. Subclasses say what is checked, made, observed and taken away.

    `create` is idempotent by owner: an existing thing is adopted and brought to the spec. A create that fails takes
    away what it began; one that was killed leaves a record that the next create of the same owner adopts.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]
    spec_type: ClassVar[type[Any]]
    quota: ClassVar[int | None] = None
    not_found: ClassVar[str] = "InvalidResource.NotFound"

    def __init__(self, context: Context) -> None:
        self.context = context
        self.store = context.store

    # --- the surface

    def create(self, owner: Owner, spec: Spec) -> Record[Spec]:
        key = self.identity(owner)
        with self.store.lock(f"thing-{key}"), self.exclusive(spec):
            record = self.store.get(key)
            if record is not None:
                return self._bring_to(record, spec)
            self.context.require_up()
            self._check_quota(owner)
            draft = Record(key, self.name, owner, spec, {}, ready=False)
            self.check(draft)
            self._save(draft)
            try:
                return self._realised(draft)
            except BaseException:
                self._take_back(draft)
                raise

    def read(self, key: str) -> Record[Spec] | None:
        """What is really there, as far as it can be seen; None when it is gone."""
        record = self.store.get(key)
        if record is None or record.kind != self.name:
            return None
        return self.observe(record)

    def update(self, key: str, spec: Spec) -> Record[Spec]:
        with self.store.lock(f"thing-{key}"), self.exclusive(spec):
            return self._bring_to(self.require(key), spec)

    def delete(self, key: str) -> None:
        """Take a thing away. One that is gone already is no error."""
        with self.store.lock(f"thing-{key}"):
            record = self.store.get(key)
            if record is None:
                return
            with self.exclusive(record.spec):
                self.store.refuse_dependants(key)
                self.check_delete(record)
                self.withdraw(record)
                self.store.remove(key)
                self.after_change(record)

    def find(self, physical: str) -> Record[Spec] | None:
        """By the cloud's own name for it (bucket, user, policy, `instance/account` …), for imports."""
        return self.store.by_physical(self.name, physical)

    def list(self) -> list[Record[Spec]]:
        return self.store.of_kind(self.name)

    def identity(self, owner: Owner) -> str:
        return identity(self.prefix, self.context.environment, self.name, owner)

    def require(self, key: str) -> Record[Spec]:
        record = self.store.get(key)
        if record is None or record.kind != self.name:
            raise CloudError(self.not_found, f"{self.name} {key} does not exist")
        return record

    # --- what subclasses fill in

    def exclusive(self, spec: Spec) -> AbstractContextManager[None]:
        """Held during create, update and delete, where the cloud allows one operation at a time."""
        return nullcontext()

    def physical(self, spec: Spec) -> str | None:
        """A name that is unique in the environment, where the kind has one."""
        return None

    def further_targets(self, spec: Spec) -> Iterable[str]:
        """Ids of things that the spec refers to in no field of its own."""
        return ()

    def check(self, record: Record[Spec]) -> None:
        """Refuse a spec that the real cloud refuses; nothing has been made yet."""

    def check_change(self, record: Record[Spec], spec: Spec) -> None:
        """Refuse a change that the real cloud refuses."""

    def check_delete(self, record: Record[Spec]) -> None:
        """Refuse a delete that the real cloud refuses (deletion protection)."""

    def realise(self, record: Record[Spec]) -> Mapping[str, Any]:
        """Make it so, whatever is there already; returns the attributes."""
        return record.attributes

    def after_change(self, record: Record[Spec]) -> None:
        """The record was saved or removed: renew what is rendered from several records."""

    def observe(self, record: Record[Spec]) -> Record[Spec] | None:
        return record

    def withdraw(self, record: Record[Spec]) -> None:
        """Take away what `realise` made; what is missing is no error."""

    # --- inside

    def _bring_to(self, record: Record[Spec], spec: Spec) -> Record[Spec]:
        self.context.require_up()
        changed = {
            item
            for item in fixed_fields(self.spec_type)
            if record.ready and getattr(record.spec, item) != getattr(spec, item)
        }
        if changed:
            message = f"{self.name} {record.id} ({record.owner.name}): {', '.join(sorted(changed))} cannot change"
            raise CloudError("InvalidOperation.Immutable", message)
        wanted = dataclasses.replace(record, spec=spec)
        self.check_change(record, spec)
        self.check(wanted)
        self._save(wanted)
        try:
            return self._realised(wanted)
        except BaseException:
            self._save(record)
            raise

    def _realised(self, record: Record[Spec]) -> Record[Spec]:
        attributes = {**record.attributes, **self.realise(record)}
        done = dataclasses.replace(record, attributes=attributes, ready=True)
        self._save(done)
        self.after_change(done)
        return done

    def _take_back(self, draft: Record[Spec]) -> None:
        try:
            self.withdraw(draft)
        finally:
            self.store.remove(draft.id, refuse_dependants=False)

    def _save(self, record: Record[Spec]) -> None:
        for kind, target in references(record.spec):
            self.context.require_kind(kind, target, f"{self.name} {record.owner.name}")
        called = [self.store.by_physical(kind, name) for kind, name in names(record.spec)]
        targets = [target for _, target in references(record.spec)] + [thing.id for thing in called if thing]
        targets += self.further_targets(record.spec)
        self.store.put(record, self.physical(record.spec), targets)

    def _check_quota(self, owner: Owner) -> None:
        if self.quota is not None and self.store.count(self.name) >= self.quota:
            message = f"{owner.name}: the environment has {self.quota} of {self.name}, the quota"
            raise CloudError(f"QuotaExceeded.{self.name}", message)
