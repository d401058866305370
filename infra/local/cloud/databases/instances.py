"""Instances: each a PostgreSQL in a container, its data in a folder that outlives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pg8000.native import literal

from infra.local.cloud.certificates import self_signed
from infra.local.cloud.container_kind import ContainerKind
from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import write_atomically
from infra.local.cloud.databases.administrator import PORT, administrator, administrators_password
from infra.local.cloud.databases.postgresql import BOOT, LIMITS, PARAMETERS, access_file, settings_file
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.instance_types import max_connections
from infra.local.cloud.networks import network_of
from infra.local.cloud.records import Record
from infra.local.cloud.specs.databases import DatabaseInstanceSpec, storage_fault


class DatabaseInstances(ContainerKind[DatabaseInstanceSpec]):
    name = "DatabaseInstance"
    prefix = "pgm"
    spec_type = DatabaseInstanceSpec
    not_found = "InvalidDBInstanceId.NotFound"
    word = "instance"
    folder_name = "databases"
    protection_code = "OperationDenied.DeletionProtection"
    limits = LIMITS

    def check(self, record: Record[DatabaseInstanceSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.engine != "PostgreSQL" or spec.engine_version not in ("15", "15.0"):
            message = f"instance {owner}: {spec.engine} {spec.engine_version}; this cloud runs PostgreSQL 15.0"
            raise CloudError("InvalidEngineVersion.Malformed", message)
        max_connections(spec.instance_class)
        refuse("InvalidDBInstanceStorage", f"instance {owner}: storage", storage_fault(spec.storage_gb))
        if not spec.switch_ids:
            raise CloudError("InvalidVSwitchId", f"instance {owner}: in no vSwitch")
        if len(spec.security_group_ids) > 10:
            raise CloudError("InvalidSecurityGroupId", f"instance {owner}: more than 10 security groups")
        for entry in spec.security_ips:
            network_of(entry, "InvalidSecurityIPList.Format")
        unknown = sorted(name for name in spec.parameters if not PARAMETERS.match(name))
        if unknown:
            message = f"instance {owner}: parameters {', '.join(unknown)} cannot be set"
            raise CloudError("InvalidParameters.Format", message)

    def attributes(self, record: Record[DatabaseInstanceSpec]) -> Mapping[str, Any]:
        dns_name = f"{record.id}.pg.rds.{self.context.domain}"
        return {
            **self.placed(record, record.spec.switch_ids[0], dns_name),
            "connection_string": dns_name,
            "port": PORT,
            "max_connections": max_connections(record.spec.instance_class),
        }

    def withdraw(self, record: Record[DatabaseInstanceSpec]) -> None:
        administrator(self.context, record.id).close()
        super().withdraw(record)

    # --- the container

    def run(self, record: Record[DatabaseInstanceSpec], seen: Seen | None = None) -> bool:
        """Make PostgreSQL run as specified and wait until it answers; True where something was done."""
        changed = self._write_settings(record)
        made = self.context.containers.ensure(self._container(record), seen, fresh=changed)
        if made:
            self._wait(record)
            self._prepare(record)
        return made

    def _write_settings(self, record: Record[DatabaseInstanceSpec]) -> bool:
        folder = self.folder(record)
        for name in ("data", "settings"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        settings = folder / "settings"
        write_atomically(settings / "password", administrators_password(self.context), mode=0o600)
        if record.spec.ssl and not (settings / "server.key").exists():
            certificate, key = self_signed(record.attributes["address"], record.attributes["dns_name"])
            write_atomically(settings / "server.crt", certificate)
            write_atomically(settings / "server.key", key, mode=0o600)
        access = write_atomically(settings / "pg_hba.conf", access_file(str(self.context.gateway)))
        return write_atomically(settings / "postgresql.conf", settings_file(record.spec)) or access

    def _container(self, record: Record[DatabaseInstanceSpec]) -> Container:
        folder = self.folder(record)
        options = (
            *("--shm-size", "256m", "--stop-signal", "SIGINT"),
            *("--volume", f"{folder / 'data'}:/data", "--volume", f"{folder / 'settings'}:/settings:ro"),
        )
        return self.managed(record, options, command=("/bin/sh", "-ec", BOOT))

    def _wait(self, record: Record[DatabaseInstanceSpec]) -> None:
        def ended() -> bool:
            seen = self.look(record)
            return seen is None or not seen.alive

        try:
            administrator(self.context, record.id, record.attributes["address"]).wait(90, ended)
        except Exception as error:
            raise self.unanswered(record, error) from error

    def _prepare(self, record: Record[DatabaseInstanceSpec]) -> None:
        """What RDS has in every instance: its role of privileged accounts, the rights of PUBLIC in `public`, and that
        the server beneath is nobody's but the cloud's."""
        admin = administrator(self.context, record.id, record.attributes["address"])
        if not admin.run("SELECT 1 FROM pg_roles WHERE rolname = 'rds_superuser'"):
            admin.run("CREATE ROLE rds_superuser NOLOGIN")
        for database in ("postgres", "template1"):
            admin.run_in(database, "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC")
        # Until PostgreSQL 16, CREATEROLE lets one give any role away except a superuser's: so these are such roles.
        of_the_server = ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files")
        names = ", ".join(literal(name) for name in of_the_server)
        admin.run(f"UPDATE pg_authid SET rolsuper = true WHERE NOT rolsuper AND rolname IN ({names})")  # noqa: S608
