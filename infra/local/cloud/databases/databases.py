"""The databases of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pg8000.native import literal

from infra.local.cloud.databases.administrator import Administrator, quoted
from infra.local.cloud.databases.part import DatabasePart
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.records import Record
from infra.local.cloud.specs.databases import DatabaseSpec, database_name_fault

_CHARACTER_SETS = {"UTF8": ("C.UTF-8", "C.UTF-8"), "UTF8,C,en_US.utf8": ("C", "en_US.utf8")}


class Databases(DatabasePart[DatabaseSpec]):
    name = "Database"
    prefix = "db"
    spec_type = DatabaseSpec
    not_found = "InvalidDBName.NotFound"

    def physical(self, spec: DatabaseSpec) -> str:
        return f"{spec.instance_id}:{spec.database_name}"

    def check(self, record: Record[DatabaseSpec]) -> None:
        spec = record.spec
        refuse("InvalidDBName.Format", f"database {spec.database_name!r}", database_name_fault(spec.database_name))
        if spec.character_set not in _CHARACTER_SETS:
            message = f"database {spec.database_name}: {spec.character_set!r}, not one of {', '.join(_CHARACTER_SETS)}"
            raise CloudError("InvalidCharacterSetName.Format", message)
        if self.is_new(record) and _database_exists(self.admin(spec.instance_id), spec.database_name):
            message = f"database {spec.database_name} exists in {spec.instance_id} already"
            raise CloudError("InvalidDBName.Duplicate", message)

    def realise(self, record: Record[DatabaseSpec]) -> Mapping[str, Any]:
        spec, admin = record.spec, self.admin(record.spec.instance_id)
        name = quoted(spec.database_name)
        if not _database_exists(admin, spec.database_name):
            collate, ctype = (literal(locale) for locale in _CHARACTER_SETS[spec.character_set])
            encoding = f"TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE {collate} LC_CTYPE {ctype}"
            admin.run(f"CREATE DATABASE {name} {encoding}")
        admin.run_in(spec.database_name, "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC")
        return {"status": "Running"}

    def inside(self, record: Record[DatabaseSpec]) -> Record[DatabaseSpec] | None:
        there = _database_exists(self.admin(record.spec.instance_id), record.spec.database_name)
        return record if there else None

    def withdraw(self, record: Record[DatabaseSpec]) -> None:
        if self.reachable(record.spec.instance_id):
            admin = self.admin(record.spec.instance_id)
            admin.run(f"DROP DATABASE IF EXISTS {quoted(record.spec.database_name)} WITH (FORCE)")


def _database_exists(admin: Administrator, name: str) -> bool:
    return bool(admin.run("SELECT 1 FROM pg_database WHERE datname = :name", name=name))
