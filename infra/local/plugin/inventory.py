"""What exists in the cloud for each stack, whether or not a state knows of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from infra.folder import EnvironmentFolder
from infra.local.cloud.cloud import Cloud
from infra.local.plugin import lookup
from infra.local.plugin.binding import name_of, stack_of
from infra.local.plugin.declared import DeclaredStore


@dataclass(frozen=True, order=True)
class Thing:
    """One resource that exists: as the engine would import it."""

    token: str
    id: str
    name: str
    settled: bool = field(default=False, compare=False)
    """A state has had it: where none has it now, it was let go on purpose (retained, taken out of the state, moved)."""


def things(environment: str, stack: str) -> set[Thing]:
    """All of one stack (`local.hangzhou`): what the plugin remembers, and what the cloud made without its knowing."""
    folder = EnvironmentFolder(environment).cloud
    declared = DeclaredStore(folder).inventory()
    mine = [resource for resource in declared if stack_of(resource.urn) == stack]
    existing = {Thing(resource.token, resource.id, name_of(resource.urn), resource.settled) for resource in mine}
    remembered = {(resource.token, resource.id) for resource in declared}
    cloud = Cloud(folder, environment)
    for kept in cloud.kept.list():
        if kept.owner.stack == stack and (kept.spec.type, kept.spec.unique_name) not in remembered:
            existing.add(Thing(kept.spec.type, kept.spec.unique_name, kept.owner.name))
    for token, real in lookup.real_classes().items():
        for record in cloud.kind(real.kind).list():
            id = real.id_of(record)
            if record.owner.stack == stack and (token, id) not in remembered:
                existing.add(Thing(token, id, record.owner.name))
    return existing
