"""Grants: who owns which databases of an instance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from infra.local.cloud.databases.administrator import quoted
from infra.local.cloud.databases.part import DatabasePart
from infra.local.cloud.errors import CloudError, Missing
from infra.local.cloud.records import Record
from infra.local.cloud.specs.databases import GrantSpec


class Grants(DatabasePart[GrantSpec]):
    """Only DBOwner exists for PostgreSQL. Deleting a grant changes nothing in the instance, as in the cloud."""

    name = "Grant"
    prefix = "dbg"
    spec_type = GrantSpec
    not_found = "InvalidAccountName.NotFound"

    def physical(self, spec: GrantSpec) -> str:
        return f"{spec.instance_id}:{spec.account_name}:{spec.privilege}"

    def further_targets(self, spec: GrantSpec) -> list[str]:
        account = self.store.by_physical("DatabaseAccount", f"{spec.instance_id}:{spec.account_name}")
        names = [f"{spec.instance_id}:{name}" for name in spec.database_names]
        databases = [self.store.by_physical("Database", name) for name in names]
        return [record.id for record in (account, *databases) if record is not None]

    def check(self, record: Record[GrantSpec]) -> None:
        spec = record.spec
        if spec.privilege != "DBOwner":
            message = f"grant {record.owner.name}: {spec.privilege!r}; PostgreSQL has DBOwner only"
            raise CloudError("InvalidPrivilege.Format", message)
        if self.store.by_physical("DatabaseAccount", f"{spec.instance_id}:{spec.account_name}") is None:
            raise Missing("InvalidAccountName.NotFound", f"account {spec.account_name} does not exist")
        for name in spec.database_names:
            if self.store.by_physical("Database", f"{spec.instance_id}:{name}") is None:
                raise Missing("InvalidDBName.NotFound", f"database {name} does not exist in {spec.instance_id}")

    def check_change(self, record: Record[GrantSpec], spec: GrantSpec) -> None:
        lost = sorted(set(record.spec.database_names) - set(spec.database_names))
        if lost and record.ready:
            message = f"grant {record.owner.name}: DBOwner of {', '.join(lost)} cannot be taken back"
            raise CloudError("InvalidPrivilege.Revoke", message)

    def realise(self, record: Record[GrantSpec]) -> Mapping[str, Any]:
        admin = self.admin(record.spec.instance_id)
        for name in record.spec.database_names:
            admin.run(f"ALTER DATABASE {quoted(name)} OWNER TO {quoted(record.spec.account_name)}")
        return {"status": "Available"}

    def inside(self, record: Record[GrantSpec]) -> Record[GrantSpec] | None:
        spec = record.spec
        query = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = :role"
        owned = {row[0] for row in self.admin(spec.instance_id).run(query, role=spec.account_name)}
        still = tuple(name for name in spec.database_names if name in owned)
        return dataclasses.replace(record, spec=dataclasses.replace(spec, database_names=still)) if still else None
