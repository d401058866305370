"""RDS for PostgreSQL: an instance is PostgreSQL 15 in a container; accounts, databases and grants are real ones.

Rights as on RDS: a normal account is a plain role (no new roles, no new databases); everybody may create in `public`
(help.aliyun.com, "Permission management"; PostgreSQL 15's own default differs). A Super account is no superuser of
PostgreSQL: it has CREATEROLE and CREATEDB, is in `rds_superuser`, `pg_monitor` and `pg_signal_backend`, and a member of
every normal account, so that it can change and revoke what those own. It makes roles by SQL and may give them what
PostgreSQL has for observers (`pg_monitor`), but none of the three roles that reach the server's files and programs. The
grant alone isolates nothing: PUBLIC may CONNECT to every database until somebody revokes it, as there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pg8000 import dbapi
from pg8000.native import Connection, literal
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_delay, stop_any, wait_fixed
from tenacity.stop import stop_base

from infra.local.cloud.certificates import self_signed
from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import Context, write_atomically
from infra.local.cloud.errors import CloudError
from infra.local.cloud.instance_types import max_connections
from infra.local.cloud.kind import Kind
from infra.local.cloud.networks import allocate_address, network_of
from infra.local.cloud.records import Record, fixed, fixed_reference, reference, secret
from infra.local.images import CLOUD_IMAGE

_ADMINISTRATOR = "yw_cloud"
_PORT = 5432
_CORES, _MEMORY_MIB = 1.0, 1024
ENDED_SECONDS = 1.0
"""How often one that is waited for is looked at, whether it has ended: to ask Podman takes a tenth of it."""
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,61}[a-z0-9]$")
_DATABASE = re.compile(r"^[a-z][a-z0-9_-]{0,62}[a-z0-9]$")
_RESERVED = frozenset({_ADMINISTRATOR, "postgres", "public", "rds_superuser", "replicator", "root", "admin", "aurora"})
_CHARACTER_SETS = {"UTF8": ("C.UTF-8", "C.UTF-8"), "UTF8,C,en_US.utf8": ("C", "en_US.utf8")}
# What a parameter group may set here; the rest is the instance's own.
_PARAMETERS = re.compile(r"^(work_mem|maintenance_work_mem|idle_in_transaction_session_timeout|lock_timeout|"
                         r"statement_timeout|log_min_duration_statement|log_statement|log_connections|"
                         r"log_disconnections|random_page_cost|track_io_timing|track_functions|"
                         r"pg_stat_statements\.\w+|autovacuum\w*|synchronous_commit|timezone)$")  # fmt: skip


@dataclass(frozen=True)
class DatabaseInstanceSpec:
    """`switch_ids`: one a zone, the first holds the primary. Who may connect: `security_ips` and members of groups."""

    instance_class: str = ""
    engine: str = fixed("PostgreSQL")
    engine_version: str = fixed("15.0")
    storage_gb: int = 20
    switch_ids: tuple[str, ...] = fixed_reference("Switch", ())
    security_ips: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = reference("SecurityGroup", ())
    parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ssl: bool = False
    deletion_protection: bool = False
    name: str = ""
    tags: Mapping[str, str] | None = None


class DatabaseInstances(Kind[DatabaseInstanceSpec]):
    name = "DatabaseInstance"
    prefix = "pgm"
    spec_type = DatabaseInstanceSpec
    not_found = "InvalidDBInstanceId.NotFound"

    def check(self, record: Record[DatabaseInstanceSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        if spec.engine != "PostgreSQL" or spec.engine_version not in ("15", "15.0"):
            message = f"instance {owner}: {spec.engine} {spec.engine_version}; this cloud runs PostgreSQL 15.0"
            raise CloudError("InvalidEngineVersion.Malformed", message)
        max_connections(spec.instance_class)
        if not 5 <= spec.storage_gb <= 64000:
            raise CloudError("InvalidDBInstanceStorage", f"instance {owner}: {spec.storage_gb} GB, not 5 to 64,000")
        if not spec.switch_ids:
            raise CloudError("InvalidVSwitchId", f"instance {owner}: in no vSwitch")
        if len(spec.security_group_ids) > 10:
            raise CloudError("InvalidSecurityGroupId", f"instance {owner}: more than 10 security groups")
        for entry in spec.security_ips:
            network_of(entry, "InvalidSecurityIPList.Format")
        unknown = sorted(name for name in spec.parameters if not _PARAMETERS.match(name))
        if unknown:
            message = f"instance {owner}: parameters {', '.join(unknown)} cannot be set"
            raise CloudError("InvalidParameters.Format", message)

    def check_delete(self, record: Record[DatabaseInstanceSpec]) -> None:
        if record.spec.deletion_protection:
            message = f"instance {record.owner.name} is protected: set deletion_protection to false first"
            raise CloudError("OperationDenied.DeletionProtection", message)

    def realise(self, record: Record[DatabaseInstanceSpec]) -> Mapping[str, Any]:
        address = allocate_address(self.context, record.spec.switch_ids[0], record.id)
        dns_name = f"{record.id}.pg.rds.{self.context.domain}"
        attributes = {
            "address": address,
            "addresses": [address],
            "dns_name": dns_name,
            "connection_string": dns_name,
            "port": _PORT,
            "max_connections": max_connections(record.spec.instance_class),
            "status": "Running",
        }
        self.run(dataclasses.replace(record, attributes=attributes))
        return attributes

    def after_change(self, record: Record[DatabaseInstanceSpec]) -> None:
        self.context.renew_firewall()
        self.context.renew_names()

    def observe(self, record: Record[DatabaseInstanceSpec]) -> Record[DatabaseInstanceSpec] | None:
        if self.context.stopped:
            return record
        seen = self.context.containers.look(self.container_name(record))
        if seen is None:
            return None
        attributes = {**record.attributes, "status": "Running" if seen.alive else "Stopped"}
        return dataclasses.replace(record, attributes=attributes)

    def withdraw(self, record: Record[DatabaseInstanceSpec]) -> None:
        administrator(self.context, record.id).close()
        self.context.containers.remove(self.container_name(record))
        shutil.rmtree(self.folder(record), ignore_errors=True)

    # --- the container

    def container_name(self, record: Record[DatabaseInstanceSpec]) -> str:
        return self.context.containers.name(record.id)

    def folder(self, record: Record[DatabaseInstanceSpec]) -> Path:
        return self.context.root / "databases" / record.id

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
        write_atomically(settings / "password", _password(self.context), mode=0o600)
        if record.spec.ssl and not (settings / "server.key").exists():
            certificate, key = self_signed(record.attributes["address"], record.attributes["dns_name"])
            write_atomically(settings / "server.crt", certificate)
            write_atomically(settings / "server.key", key, mode=0o600)
        access = write_atomically(settings / "pg_hba.conf", _access(str(self.context.gateway)))
        return write_atomically(settings / "postgresql.conf", _settings(record.spec)) or access

    def _container(self, record: Record[DatabaseInstanceSpec]) -> Container:
        folder = self.folder(record)
        options = (
            *self.context.network_options(record.attributes["address"]),
            *self.context.resolver_options(),
            *("--shm-size", "256m", "--stop-signal", "SIGINT"),
            *("--volume", f"{folder / 'data'}:/data", "--volume", f"{folder / 'settings'}:/settings:ro"),
        )
        return Container(
            name=self.container_name(record),
            image=(CLOUD_IMAGE,),
            options=options,
            command=("/bin/sh", "-ec", _BOOT),
            labels=self.context.labels(record),
            cores=_CORES,
            memory_mib=_MEMORY_MIB,
        )

    def _wait(self, record: Record[DatabaseInstanceSpec]) -> None:
        def ended() -> bool:
            seen = self.context.containers.look(self.container_name(record))
            return seen is None or not seen.alive

        try:
            administrator(self.context, record.id, record.attributes["address"]).wait(90, ended)
        except Exception as error:
            logs = self.context.containers.logs(self.container_name(record))
            message = f"instance {record.owner.name} does not answer: {error}\n{logs}"
            raise CloudError("InternalError", message) from error

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


_BOOT = """
if [ ! -f /data/cluster/PG_VERSION ]; then
  rm -rf /data/cluster.new && chown postgres /data
  install -o postgres -m 600 /settings/password /tmp/password
  setpriv --reuid postgres --regid postgres --init-groups initdb --pgdata /data/cluster.new --username yw_cloud \
    --pwfile /tmp/password --auth-local peer --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8
  rm /tmp/password && sync && mv /data/cluster.new /data/cluster
fi
if [ "$(stat -c %u /data/cluster)" != "$(id -u postgres)" ]; then chown -R postgres:postgres /data/cluster; fi
rm -f /data/cluster/postmaster.pid
if [ -f /settings/server.key ]; then install -o postgres -m 600 /settings/server.key /tmp/server.key; fi
exec setpriv --reuid postgres --regid postgres --init-groups \
  postgres -D /data/cluster -c config_file=/settings/postgresql.conf
"""


def _settings(spec: DatabaseInstanceSpec) -> str:
    values = {
        "listen_addresses": "*",
        "port": str(_PORT),
        "max_connections": str(max_connections(spec.instance_class)),
        "superuser_reserved_connections": "5",
        "unix_socket_directories": "/tmp",  # noqa: S108 - inside the instance's own container
        "hba_file": "/settings/pg_hba.conf",
        "shared_buffers": f"{_MEMORY_MIB // 4}MB",
        "effective_cache_size": f"{_MEMORY_MIB // 2}MB",
        "dynamic_shared_memory_type": "posix",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_wal_size": "512MB",
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "pg_stat_statements",
        "log_timezone": "UTC",
        "timezone": "Asia/Shanghai",
        **spec.parameters,
    }
    if spec.ssl:
        values |= {"ssl": "on", "ssl_cert_file": "/settings/server.crt", "ssl_key_file": "/tmp/server.key"}  # noqa: S108
    return "".join(f"{name} = {literal(value)}\n" for name, value in sorted(values.items()))


def _access(gateway: str) -> str:
    """The cloud's own account comes from the machine alone; everybody else by password."""
    return (
        f"local all {_ADMINISTRATOR} peer\n"
        f"host all {_ADMINISTRATOR} {gateway}/32 scram-sha-256\n"
        f"host all {_ADMINISTRATOR} all reject\n"
        "host all all all scram-sha-256\n"
    )


def _password(context: Context) -> str:
    return context.store.sealed_fact("database-administrator", lambda: secrets.token_urlsafe(32))


# --- the cloud's own way in


class Administrator:
    """A connection of the cloud's own account to one instance, kept open and renewed when it broke."""

    def __init__(self, address: str, password: str) -> None:
        self._address = address
        self._password = password
        self._connection: Connection | None = None

    def connect(self, database: str = "postgres") -> Connection:
        return Connection(
            _ADMINISTRATOR, host=self._address, port=_PORT, password=self._password, database=database, timeout=30
        )

    def run(self, statement: str, **values: Any) -> list[Any]:
        """Run a statement; a broken connection is opened anew once."""
        if self._connection is not None:
            try:
                return self._connection.run(statement, **values) or []
            except (dbapi.InterfaceError, OSError):
                self.close()
        self._connection = self.connect()
        return self._connection.run(statement, **values) or []

    def run_in(self, database: str, *statements: str) -> None:
        connection = self.connect(database)
        try:
            for statement in statements:
                connection.run(statement)
        finally:
            connection.close()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    def wait(self, seconds: float, ended: Callable[[], bool]) -> None:
        """Returns once it answers. One that has `ended` is not waited for: whoever runs it tries again sooner."""
        errors = (dbapi.InterfaceError, dbapi.DatabaseError, OSError)
        stop = stop_any(stop_after_delay(seconds), _StopWhen(ended))
        again = retry(stop=stop, wait=wait_fixed(0.1), retry=retry_if_exception_type(errors))
        again(self.run)("SELECT 1")


class _StopWhen(stop_base):
    """Ends a retry when this holds, asked now and then."""

    def __init__(self, holds: Callable[[], bool]) -> None:
        self._holds, self._asked = holds, time.monotonic()

    def __call__(self, retry_state: RetryCallState) -> bool:
        if time.monotonic() < self._asked + ENDED_SECONDS:
            return False
        self._asked = time.monotonic()
        return self._holds()


def administrator(context: Context, instance: str, address: str = "") -> Administrator:
    """The calling thread's administrator of an instance."""
    held: dict[tuple[str, str], Administrator] = context.per_thread("administrators", dict)
    if not address:
        record = context.store.get(instance)
        address = record.attributes.get("address", "") if record else ""
    key = (instance, address)
    if key not in held:
        held[key] = Administrator(address, _password(context))
    return held[key]


def quoted(name: str) -> str:
    """An identifier; names were checked, so only hyphens need the quotes."""
    return '"' + name.replace('"', '""') + '"'


class _InInstance(Kind[Any]):
    """Things inside an instance: one operation at a time, others are refused as the cloud refuses them."""

    def exclusive(self, spec: Any) -> AbstractContextManager[None]:
        return self._operation(spec.instance_id)

    @contextmanager
    def _operation(self, instance: str) -> Iterator[None]:
        with self.store.try_lock(f"operation-{instance}") as mine:
            if not mine:
                message = f"another operation on {instance} is in progress: wait for it and try again"
                raise CloudError("OperationDenied.DBInstanceStatus", message)
            yield

    def admin(self, instance: str) -> Administrator:
        return administrator(self.context, instance)

    def reachable(self, instance: str) -> bool | None:
        """True: it answers. False: there is none. None: it is there and does not run, so nothing can be seen."""
        if self.context.stopped:
            return None
        with contextlib.suppress(dbapi.InterfaceError, dbapi.DatabaseError, OSError):
            self.admin(instance).run("SELECT 1")
            return True
        seen = self.context.containers.look(self.context.containers.name(instance))
        return False if seen is None else (True if seen.alive else None)

    def is_new(self, record: Record[Any]) -> bool:
        return self.store.get(record.id) is None


# --- accounts


@dataclass(frozen=True)
class DatabaseAccountSpec:
    instance_id: str = fixed_reference("DatabaseInstance")
    account_name: str = fixed()
    account_type: str = fixed("Normal")  # Normal or Super
    password: str = secret("")
    description: str = ""


class DatabaseAccounts(_InInstance):
    name = "DatabaseAccount"
    prefix = "dba"
    spec_type = DatabaseAccountSpec
    not_found = "InvalidAccountName.NotFound"

    def physical(self, spec: DatabaseAccountSpec) -> str:
        return f"{spec.instance_id}:{spec.account_name}"

    def check(self, record: Record[DatabaseAccountSpec]) -> None:
        spec = record.spec
        if not _NAME.match(spec.account_name) or spec.account_name in _RESERVED or spec.account_name.startswith("pg_"):
            message = f"account {spec.account_name!r}: 2 to 63 of a-z, 0-9, _, from a letter, and no reserved name"
            raise CloudError("InvalidAccountName.Format", message)
        if spec.account_type not in ("Normal", "Super"):
            raise CloudError("InvalidAccountType.Format", f"account {spec.account_name}: type {spec.account_type!r}")
        check_password(spec.password, f"account {spec.account_name}")
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

    def observe(self, record: Record[DatabaseAccountSpec]) -> Record[DatabaseAccountSpec] | None:
        reachable = self.reachable(record.spec.instance_id)
        if reachable is None:
            return record
        there = reachable and _role_exists(self.admin(record.spec.instance_id), record.spec.account_name)
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


def check_password(password: str, what: str) -> None:
    """8 to 32 characters, three of upper case, lower case, digits and `!@#$%^&*()_+-=`."""
    classes = (r"[A-Z]", r"[a-z]", r"[0-9]", r"[!@#$%^&*()_+\-=]")
    kinds = sum(bool(re.search(pattern, password)) for pattern in classes)
    if not 8 <= len(password) <= 32 or kinds < 3 or re.search(r"[^A-Za-z0-9!@#$%^&*()_+\-=]", password):
        raise CloudError("InvalidAccountPassword.Format", f"{what}: 8 to 32 characters of three of the four classes")


# --- databases


@dataclass(frozen=True)
class DatabaseSpec:
    instance_id: str = fixed_reference("DatabaseInstance")
    database_name: str = fixed()
    character_set: str = fixed("UTF8")
    description: str = ""


class Databases(_InInstance):
    name = "Database"
    prefix = "db"
    spec_type = DatabaseSpec
    not_found = "InvalidDBName.NotFound"

    def physical(self, spec: DatabaseSpec) -> str:
        return f"{spec.instance_id}:{spec.database_name}"

    def check(self, record: Record[DatabaseSpec]) -> None:
        spec = record.spec
        if not _DATABASE.match(spec.database_name) or spec.database_name in ("postgres", "template0", "template1"):
            message = f"database {spec.database_name!r}: 2 to 64 of a-z, 0-9, _, -, from a letter, and no reserved name"
            raise CloudError("InvalidDBName.Format", message)
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

    def observe(self, record: Record[DatabaseSpec]) -> Record[DatabaseSpec] | None:
        reachable = self.reachable(record.spec.instance_id)
        if reachable is None:
            return record
        there = reachable and _database_exists(self.admin(record.spec.instance_id), record.spec.database_name)
        return record if there else None

    def withdraw(self, record: Record[DatabaseSpec]) -> None:
        if self.reachable(record.spec.instance_id):
            admin = self.admin(record.spec.instance_id)
            admin.run(f"DROP DATABASE IF EXISTS {quoted(record.spec.database_name)} WITH (FORCE)")


def _database_exists(admin: Administrator, name: str) -> bool:
    return bool(admin.run("SELECT 1 FROM pg_database WHERE datname = :name", name=name))


# --- grants


@dataclass(frozen=True)
class GrantSpec:
    instance_id: str = fixed_reference("DatabaseInstance")
    account_name: str = fixed()
    privilege: str = fixed("DBOwner")
    database_names: tuple[str, ...] = ()


class Grants(_InInstance):
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
            raise CloudError("InvalidAccountName.NotFound", f"account {spec.account_name} does not exist")
        for name in spec.database_names:
            if self.store.by_physical("Database", f"{spec.instance_id}:{name}") is None:
                raise CloudError("InvalidDBName.NotFound", f"database {name} does not exist in {spec.instance_id}")

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

    def observe(self, record: Record[GrantSpec]) -> Record[GrantSpec] | None:
        spec = record.spec
        reachable = self.reachable(spec.instance_id)
        if reachable is None:
            return record
        if not reachable:
            return None
        query = "SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = :role"
        owned = {row[0] for row in self.admin(spec.instance_id).run(query, role=spec.account_name)}
        kept = tuple(name for name in spec.database_names if name in owned)
        return dataclasses.replace(record, spec=dataclasses.replace(spec, database_names=kept)) if kept else None
