"""Accounts of an instance: roles of PostgreSQL, privileged ones and normal ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pg8000 import dbapi
from pg8000.native import literal

from infra.local.cloud.databases.administrator import Administrator, quoted
from infra.local.cloud.databases.part import DatabasePart
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.records import Record
from infra.local.cloud.specs.accounts import password_fault
from infra.local.cloud.specs.databases import DatabaseAccountSpec, account_name_fault


class DatabaseAccounts(DatabasePart[DatabaseAccountSpec]):
    name = "DatabaseAccount"
    prefix = "dba"
    spec_type = DatabaseAccountSpec
    not_found = "InvalidAccountName.NotFound"

    def physical(self, spec: DatabaseAccountSpec) -> str:
        return f"{spec.instance_id}:{spec.account_name}"

    def check(self, record: Record[DatabaseAccountSpec]) -> None:
        spec = record.spec
        fault = account_name_fault(spec.account_name)
        refuse("InvalidAccountName.Format", f"account {spec.account_name!r}", fault)
        if spec.account_type not in ("Normal", "Super"):
            raise CloudError("InvalidAccountType.Format", f"account {spec.account_name}: type {spec.account_type!r}")
        fault = password_fault(spec.password)
        refuse("InvalidAccountPassword.Format", f"password of account {spec.account_name}", fault)
        if self.is_new(record) and _role_exists(self.admin(spec.instance_id), spec.account_name):
            message = f"account {spec.account_name} exists in {spec.instance_id} already"
            raise CloudError("InvalidAccountName.Duplicate", message)

    def realise(self, record: Record[DatabaseAccountSpec]) -> Mapping[str, Any]:
        spec, admin = record.spec, self.admin(record.spec.instance_id)
        role = quoted(spec.account_name)
        if not _role_exists(admin, spec.account_name):
            admin.run(f"CREATE ROLE {role} LOGIN")
        rights = "CREATEROLE CREATEDB" if spec.account_type == "Super" else "NOCREATEROLE NOCREATEDB"
        admin.run(f"ALTER ROLE {role} LOGIN NOSUPERUSER NOREPLICATION {rights} PASSWORD {literal(spec.password)}")
        if spec.account_type == "Super":
            admin.run(f"GRANT rds_superuser, pg_monitor, pg_signal_backend TO {role}")
        self._make_privileged_members(spec.instance_id, record)
        return {"status": "Available"}

    def _make_privileged_members(self, instance: str, newest: Record[DatabaseAccountSpec]) -> None:
        """Privileged accounts are members of all normal ones."""
        accounts = [record.spec for record in self.list() if record.spec.instance_id == instance]
        normal = [spec.account_name for spec in accounts if spec.account_type == "Normal"]
        privileged = [spec.account_name for spec in accounts if spec.account_type == "Super"]
        if newest.spec.account_type == "Normal":
            normal = [newest.spec.account_name]
        admin = self.admin(instance)
        present = {row[0] for row in admin.run("SELECT rolname FROM pg_roles")}
        for owner in present.intersection(normal):
            for role in present.intersection(privileged):
                admin.run(f"GRANT {quoted(owner)} TO {quoted(role)}")

    def inside(self, record: Record[DatabaseAccountSpec]) -> Record[DatabaseAccountSpec] | None:
        there = _role_exists(self.admin(record.spec.instance_id), record.spec.account_name)
        return record if there else None

    def withdraw(self, record: Record[DatabaseAccountSpec]) -> None:
        spec = record.spec
        if not self.reachable(spec.instance_id):
            return
        admin = self.admin(spec.instance_id)
        if not _role_exists(admin, spec.account_name):
            return
        query = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = :role"
        owned = [row[0] for row in admin.run(query, role=spec.account_name)]
        if owned:
            message = f"account {spec.account_name} owns {', '.join(owned)}: delete the databases first"
            raise CloudError("AccountActionForbidden", message)
        try:
            admin.run(f"DROP ROLE {quoted(spec.account_name)}")
        except dbapi.DatabaseError as error:
            message = f"account {spec.account_name} still owns objects or rights: {_detail(error)}"
            raise CloudError("AccountActionForbidden", message) from error


def _detail(error: Exception) -> str:
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    return "; ".join(str(fields[key]) for key in ("M", "D") if key in fields) or str(error)


def _role_exists(admin: Administrator, name: str) -> bool:
    return bool(admin.run("SELECT 1 FROM pg_roles WHERE rolname = :name", name=name))
