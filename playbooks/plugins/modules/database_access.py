#!/usr/bin/python
"""Who may do what in the databases of a cell, and the proof that nobody may more. Runs on the controller.

The cloud's grant makes a tenant's account the owner of its database and leaves everybody connected to everything.
For each database this module takes `CONNECT`, `TEMPORARY` and `CREATE` from `PUBLIC`, makes the application's role
beside the owner, and then tries: the application's account enters its own database and may not create in it, and
neither account enters a neighbour's. The watcher, whose account monitoring uses, reads the instance's figures and
enters no database of anybody.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pg8000.native
from ansible.module_utils.basic import AnsibleModule
from pg8000.exceptions import DatabaseError, InterfaceError

DOCUMENTATION = r"""
module: database_access
short_description: Roles and rights of all databases of one instance, asserted by really trying
description:
  - Idempotent; C(changed_names) says which databases, or the watcher, were not as wanted.
  - A role's comment holds a fingerprint of its password and limit, since no account of the cloud may read the hash.
author: yiwang
options:
  host: {description: The instance., type: str, required: true}
  port: {description: Its port., type: int, default: 5432}
  account: {description: The privileged account., type: str, required: true}
  password: {description: Its password., type: str, required: true}
  encrypted: {description: Whether connections must be encrypted., type: bool, default: false}
  watcher: {description: The account that reads figures and no data., type: str, required: true}
  watcher_password: {description: Its password., type: str, required: true}
  databases: {description: Databases with their accounts as filter C(cell_databases) gives them., type: list,
              elements: dict, required: true}
"""

NO_RIGHT = "42501"
MARK = "yiwang:"
FIGURES = "pg_monitor"
TRIES_AT_ONCE = 4
# its exporter holds one or two; tries that were refused linger a moment
WATCHER_CONNECTIONS = 3 * TRIES_AT_ONCE
# beside the pools': for proving the role's rights while they are all in use
SPARE_CONNECTIONS = 2


@dataclass(frozen=True)
class Database:
    name: str
    owner: str
    owner_password: str
    application: str
    application_password: str
    connections: int

    @property
    def limit(self) -> int:
        return self.connections + SPARE_CONNECTIONS

    @property
    def mark(self) -> str:
        """The comment on the application's role once everything below has been done for it."""
        wanted = f"1 {self.name} {self.application} {self.limit} {self.application_password}"
        return MARK + hashlib.sha256(wanted.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Watcher:
    """The role that reads the figures of the whole instance and nobody's data."""

    name: str
    password: str

    @property
    def mark(self) -> str:
        wanted = f"1 {self.name} {WATCHER_CONNECTIONS} {self.password}"
        return MARK + hashlib.sha256(wanted.encode()).hexdigest()[:32]


class Isolation(Exception):
    """An account can do what it must not, or cannot do what it must."""


class Instance:
    """Connections to one instance."""

    def __init__(self, host: str, port: int, encrypted: bool) -> None:
        self._host, self._port = host, port
        self._encryption = ssl.create_default_context() if encrypted else None

    @contextmanager
    def connection(self, database: str, user: str, password: str) -> Iterator[Any]:
        connection = pg8000.native.Connection(
            user, host=self._host, port=self._port, database=database, password=password,
            ssl_context=self._encryption, timeout=20, application_name="yiwang-database-access",
        )  # fmt: skip
        try:
            yield connection
        finally:
            connection.close()

    def refusal(self, database: str, user: str, password: str) -> str | None:
        """The SQLSTATE with which a connection is refused, or None when it is let in."""
        try:
            with self.connection(database, user, password):
                return None
        except DatabaseError as error:
            return str(error.args[0].get("C"))


def finished(connection: Any) -> dict[str, str]:
    """The mark of every role that this module has finished and nobody has changed since."""
    rows = connection.run(
        "SELECT rolname, rolconnlimit, shobj_description(oid, 'pg_authid') FROM pg_roles"
        " WHERE rolcanlogin AND NOT (rolcreatedb OR rolcreaterole OR rolsuper)"
    )
    return {name: f"{mark} {limit}" for name, limit, mark in rows if mark}


def open_to_all(connection: Any) -> set[str]:
    """Databases that any account may enter."""
    rows = connection.run(
        "SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))"
        " WHERE grantee = 0 AND privilege_type IN ('CONNECT', 'TEMPORARY')"
    )
    return {row[0] for row in rows}


def closed(connection: Any) -> list[str]:
    """Databases that are somebody's and nobody else may enter."""
    exposed = open_to_all(connection)
    names = connection.run("SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname")
    return [row[0] for row in names if row[0] not in exposed]


def make_role(connection: Any, database: Database, exists: bool) -> None:
    """The application's role: it logs in, within its limit of connections, and owns nothing."""
    role = _name(database.application)
    verb = "ALTER" if exists else "CREATE"
    connection.run(
        f"{verb} ROLE {role} LOGIN NOCREATEDB NOCREATEROLE NOINHERIT"
        f" CONNECTION LIMIT {database.limit} PASSWORD {_text(database.application_password)}"
    )
    connection.run(f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '30s'")
    connection.run(f"ALTER ROLE {role} SET statement_timeout = '30s'")


def make_watcher(connection: Any, watcher: Watcher) -> None:
    """The watcher: it may enter what everybody may, so the maintenance database alone, and is in one group."""
    exists = connection.run("SELECT 1 FROM pg_roles WHERE rolname = :name", name=watcher.name)
    role, verb = _name(watcher.name), "ALTER" if exists else "CREATE"
    connection.run(
        f"{verb} ROLE {role} LOGIN NOCREATEDB NOCREATEROLE INHERIT"
        f" CONNECTION LIMIT {WATCHER_CONNECTIONS} PASSWORD {_text(watcher.password)}"
    )
    connection.run(f"ALTER ROLE {role} SET statement_timeout = '10s'")
    for group in groups_of(connection, watcher.name) - {FIGURES}:
        connection.run(f"REVOKE {_name(group)} FROM {role}")
    connection.run(f"GRANT {FIGURES} TO {role}")
    connection.run(f"COMMENT ON ROLE {role} IS {_text(watcher.mark)}")


def groups_of(connection: Any, role: str) -> set[str]:
    rows = connection.run(
        "SELECT groups.rolname FROM pg_auth_members JOIN pg_roles AS groups ON groups.oid = roleid"
        " JOIN pg_roles AS members ON members.oid = member WHERE members.rolname = :role",
        role=role,
    )
    return {row[0] for row in rows}


def watches(connection: Any, watcher: Watcher) -> bool:
    """Whether the watcher is as this module makes it."""
    as_made = finished(connection).get(watcher.name) == f"{watcher.mark} {WATCHER_CONNECTIONS}"
    return as_made and groups_of(connection, watcher.name) == {FIGURES}


def close_database(connection: Any, database: Database, watcher: Watcher) -> None:
    """What the owner takes from everybody and gives to the application alone. Migrations grant what it may touch."""
    name, role = _name(database.name), _name(database.application)
    connection.run("BEGIN")
    connection.run(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    connection.run(f"REVOKE ALL ON DATABASE {name} FROM {role}, {_name(watcher.name)}")
    connection.run(f"GRANT CONNECT ON DATABASE {name} TO {role}")
    connection.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    connection.run("COMMIT")


def prove_watcher(instance: Instance, watcher: Watcher, databases: list[Database]) -> None:
    """Try that the watcher reads figures of databases that it may not enter.

    Raises:
        Isolation: it does not.
    """
    try:
        with instance.connection("postgres", watcher.name, watcher.password) as connection:
            connection.run("SELECT count(*), max(application_name) FROM pg_stat_activity")
            for database in databases[:1]:
                connection.run("SELECT pg_database_size(:name)", name=database.name)
    except DatabaseError as error:
        raise Isolation(f"{watcher.name} cannot read the instance's figures: {error.args[0].get('M')}") from error


def prove(instance: Instance, database: Database, neighbour: str | None, watcher: Watcher | None) -> None:
    """Try it with both accounts, and with the watcher's.

    Raises:
        Isolation: an account enters where it must not, or the application's account is not as wanted.
    """
    user, password = database.application, database.application_password
    try:
        with instance.connection(database.name, user, password) as connection:
            rights = connection.run(
                "SELECT has_schema_privilege('public', 'CREATE'), has_database_privilege(current_database(), 'CREATE')"
            )[0]
    except DatabaseError as error:
        raise Isolation(f"{user} cannot enter its own database {database.name}: {error.args[0].get('M')}") from error
    if any(rights):
        raise Isolation(f"{user} may create objects in {database.name}; it is for data manipulation only")
    tries = [(watcher.name, watcher.password, database.name)] if watcher else []
    if neighbour is not None:
        tries += [(user, password, neighbour), (database.owner, database.owner_password, neighbour)]
    for account, secret, target in tries:
        refused = instance.refusal(target, account, secret)
        if refused != NO_RIGHT:
            how = "is let into" if refused is None else f"is refused with {refused}, not {NO_RIGHT}, by"
            raise Isolation(f"{account} {how} {target}, another's database")


def complaint(instance: Instance, database: Database, neighbour: str | None, watcher: Watcher | None) -> str | None:
    """What `prove` says against the database, if anything."""
    try:
        prove(instance, database, neighbour, watcher)
    except Isolation as error:
        return str(error)
    return None


def complaints(
    instance: Instance, databases: list[Database], others: list[str], watcher: Watcher | None
) -> dict[str, str]:
    """Prove each database against the next of all that are closed, in a ring. Returns complaints by database."""
    ring = dict(zip(others, [*others[1:], *others[:1]], strict=True))
    neighbours = [ring.get(database.name) for database in databases]
    neighbours = [
        other if other != database.name else None for database, other in zip(databases, neighbours, strict=True)
    ]
    with ThreadPoolExecutor(max_workers=TRIES_AT_ONCE) as tries:
        answers = tries.map(
            lambda database, other: complaint(instance, database, other, watcher), databases, neighbours
        )
        return {database.name: told for database, told in zip(databases, answers, strict=True) if told}


def settle(instance: Instance, privileged: Any, databases: list[Database], watcher: Watcher) -> None:
    """Make roles and rights of these databases as wanted."""
    roles = {row[0] for row in privileged.run("SELECT rolname FROM pg_roles")}
    for database in databases:
        make_role(privileged, database, database.application in roles)
        with instance.connection(database.name, database.owner, database.owner_password) as own:
            close_database(own, database, watcher)
        privileged.run(f"COMMENT ON ROLE {_name(database.application)} IS {_text(database.mark)}")


def apply(instance: Instance, privileged: Any, databases: list[Database], watcher: Watcher, check: bool) -> list[str]:
    """Bring watcher and databases to what is wanted, and prove it. Returns the names of those that were not so.

    Raises:
        Isolation: a database is not isolated although everything was done for it.
    """
    unlike = [] if watches(privileged, watcher) else [watcher.name]
    if unlike and not check:
        make_watcher(privileged, watcher)
    tried = None if unlike and check else watcher
    if tried:
        prove_watcher(instance, tried, databases)
    done, exposed = finished(privileged), open_to_all(privileged)
    wrong = [
        database
        for database in databases
        if done.get(database.application) != f"{database.mark} {database.limit}" or database.name in exposed
    ]
    as_told = [database for database in databases if database not in wrong]
    drifted = complaints(instance, as_told, closed(privileged), tried)
    wrong += [database for database in as_told if database.name in drifted]
    if wrong and not check:
        settle(instance, privileged, wrong, watcher)
        left = complaints(instance, wrong, closed(privileged), tried)
        if left:
            raise Isolation("; ".join(left.values()))
    return unlike + [database.name for database in wrong]


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


FIELDS = ("name", "owner", "owner_password", "application", "application_password", "connections")
DATABASE_OPTIONS = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "owner_password": {"type": "str", "required": True, "no_log": True},
    "application": {"type": "str", "required": True},
    "application_password": {"type": "str", "required": True, "no_log": True},
    "connections": {"type": "int", "required": True},
    "modules": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5432},
            "account": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "encrypted": {"type": "bool", "default": False},
            "watcher": {"type": "str", "required": True},
            "watcher_password": {"type": "str", "required": True, "no_log": True},
            "databases": {"type": "list", "elements": "dict", "required": True, "options": DATABASE_OPTIONS},
        },
        supports_check_mode=True,
    )
    given = module.params
    databases = [Database(**{field: database[field] for field in FIELDS}) for database in given["databases"]]
    instance = Instance(given["host"], given["port"], given["encrypted"])
    try:
        with instance.connection("postgres", given["account"], given["password"]) as privileged:
            watcher = Watcher(given["watcher"], given["watcher_password"])
            changed = apply(instance, privileged, databases, watcher, module.check_mode)
    except Isolation as error:
        module.fail_json(msg=str(error))
    except DatabaseError as error:
        module.fail_json(msg=f"{given['host']}: {error.args[0].get('M')} ({error.args[0].get('C')})")
    except (InterfaceError, OSError) as error:
        module.fail_json(msg=f"{given['host']}:{given['port']}: {error}")
    module.exit_json(changed=bool(changed), changed_names=changed, proved=len(databases))


if __name__ == "__main__":
    main()
