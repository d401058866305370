#!/usr/bin/python
"""Who may do what in the databases of a cell, and the proof that nobody may more. Runs on the controller.

The cloud's grant makes a tenant's account the owner of its database and leaves everybody connected to everything.
For each database this module takes `CONNECT`, `TEMPORARY` and `CREATE` from `PUBLIC`, makes beside the owner a role
for each module and one that only reads what is measured, and then tries: each enters its own database, may not create
in it and reaches no other module's schema, and none, nor the owner, enters a neighbour's. The watcher, whose account
monitoring uses, reads the instance's figures and enters no database of anybody.
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
  - Idempotent; C(changed_names) says which databases, or the watcher, were not as wanted; C(former) which accounts of
    releases before can still log in.
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
  state: {description: C(retired) takes the log-in from accounts that releases before used and does nothing else.,
          type: str, default: settled, choices: [settled, retired]}
  databases: {description: Databases with their accounts as filter C(cell_databases) gives them., type: list,
              elements: dict, required: true}
"""

NO_RIGHT = "42501"
SAFE_PATH = "SET search_path = pg_catalog, pg_temp"
MARK = "yiwang:"
FIGURES = "pg_monitor"
TRIES_AT_ONCE = 4
# its exporter holds one or two; tries that were refused linger a moment
WATCHER_CONNECTIONS = 3 * TRIES_AT_ONCE
# beside the pools': for proving the role's rights while they are all in use
SPARE_CONNECTIONS = 2

SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('public', 'information_schema')"""
CREATES = """
SELECT has_schema_privilege('public', 'CREATE') OR has_database_privilege(current_database(), 'CREATE')"""
ENTERED = """
SELECT nspname FROM pg_namespace
WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('public', 'information_schema')
    AND has_schema_privilege(oid, 'USAGE') ORDER BY nspname"""
CHANGED = """
SELECT format('%s.%s', nspname, relname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p') AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    AND (has_table_privilege(pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
        OR has_any_column_privilege(pg_class.oid, 'INSERT, UPDATE')) ORDER BY 1"""


@dataclass(frozen=True)
class Account:
    """A role that logs in to one database. `schema`: the module whose tables it works on; none: it only reads, and of
    each module what that lets be measured."""

    name: str
    password: str
    schema: str | None


@dataclass(frozen=True)
class Database:
    """`connections`: what all pools of all hosts together may open, whichever of the accounts asks."""

    name: str
    owner: str
    owner_password: str
    connections: int
    accounts: tuple[Account, ...]
    former: tuple[str, ...] = ()

    @property
    def limit(self) -> int:
        return self.connections + SPARE_CONNECTIONS

    def mark(self, account: Account) -> str:
        """The comment on an account's role once everything below has been done for it."""
        wanted = f"2 {self.name} {account.name} {self.limit} {account.password}"
        return MARK + hashlib.sha256(wanted.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Watcher:
    """The role that reads the figures of the whole instance and nobody's data."""

    name: str
    password: str

    @property
    def mark(self) -> str:
        wanted = f"2 {self.name} {WATCHER_CONNECTIONS} {self.password}"
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
            # whoever may create something in a schema that is searched would have it run as who connects here
            connection.run(SAFE_PATH)
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


def make_role(connection: Any, account: Account, limit: int, exists: bool) -> None:
    """A role that logs in, within its limit of connections, and owns nothing."""
    role = _name(account.name)
    verb = "ALTER" if exists else "CREATE"
    connection.run(
        f"{verb} ROLE {role} LOGIN NOCREATEDB NOCREATEROLE NOINHERIT"
        f" CONNECTION LIMIT {limit} PASSWORD {_text(account.password)}"
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
    connection.run(f"ALTER ROLE {role} SET search_path = pg_catalog, pg_temp")
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
    """What the owner takes from everybody and gives to its accounts alone. Migrations grant what each may touch; what
    one has got in another's schema, or beyond reading, is taken."""
    name = _name(database.name)
    schemas = [row[0] for row in connection.run(SCHEMAS)]
    connection.run("BEGIN")
    connection.run(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC, {_name(watcher.name)}")
    connection.run("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    for account in database.accounts:
        role = _name(account.name)
        connection.run(f"REVOKE ALL ON DATABASE {name} FROM {role}")
        connection.run(f"REVOKE ALL ON SCHEMA public FROM {role}")
        connection.run(f"GRANT CONNECT ON DATABASE {name} TO {role}")
        for schema in schemas:
            if account.schema is None:
                rights = "INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
                connection.run(f"REVOKE {rights} ON ALL TABLES IN SCHEMA {_name(schema)} FROM {role}")
            elif schema != account.schema:
                connection.run(f"REVOKE ALL ON SCHEMA {_name(schema)} FROM {role}")
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
    """Try it with each of its accounts, and with the watcher's.

    Raises:
        Isolation: an account enters where it must not, or is not as wanted.
    """
    for account in database.accounts:
        prove_account(instance, database, account)
    tries = [(watcher.name, watcher.password, database.name)] if watcher else []
    if neighbour is not None:
        tries += [(account.name, account.password, neighbour) for account in database.accounts]
        tries += [(database.owner, database.owner_password, neighbour)]
    for name, secret, target in tries:
        refused = instance.refusal(target, name, secret)
        if refused != NO_RIGHT:
            how = "is let into" if refused is None else f"is refused with {refused}, not {NO_RIGHT}, by"
            raise Isolation(f"{name} {how} {target}, another's database")


def prove_account(instance: Instance, database: Database, account: Account) -> None:
    """
    Raises:
        Isolation: it cannot enter, may create, reaches another module's schema, or may change what it only reads.
    """
    try:
        with instance.connection(database.name, account.name, account.password) as connection:
            creates = connection.run(CREATES)[0][0]
            entered = [row[0] for row in connection.run(ENTERED)]
            changed = [row[0] for row in connection.run(CHANGED)]
    except DatabaseError as error:
        raise Isolation(
            f"{account.name} cannot enter its own database {database.name}: {error.args[0].get('M')}"
        ) from error
    if creates:
        raise Isolation(f"{account.name} may create objects in {database.name}; it is for data manipulation only")
    if account.schema is None and changed:
        raise Isolation(f"{account.name} may change {', '.join(changed)}; it is for reading only")
    strangers = [schema for schema in entered if account.schema is not None and schema != account.schema]
    if strangers:
        raise Isolation(f"{account.name} may enter schema {', '.join(strangers)} of {database.name}, another module's")


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
    for pairs in memberships(privileged, databases).values():
        for role, member in pairs:
            privileged.run(f"REVOKE {_name(role)} FROM {_name(member)}")
    for database in databases:
        for account in database.accounts:
            make_role(privileged, account, database.limit, account.name in roles)
        with instance.connection(database.name, database.owner, database.owner_password) as own:
            close_database(own, database, watcher)
        for account in database.accounts:
            privileged.run(f"COMMENT ON ROLE {_name(account.name)} IS {_text(database.mark(account))}")


def memberships(connection: Any, databases: list[Database]) -> dict[str, list[tuple[str, str]]]:
    """Role and member by the database whose account or owner the member is: each may become the other by SET ROLE."""
    owning = {account.name: database.name for database in databases for account in database.accounts}
    owning |= {database.owner: database.name for database in databases}
    rows = connection.run(
        "SELECT roles.rolname, members.rolname FROM pg_auth_members JOIN pg_roles AS roles ON roles.oid = roleid"
        " JOIN pg_roles AS members ON members.oid = member WHERE members.rolname = ANY(:names)",
        names=list(owning),
    )
    joined: dict[str, list[tuple[str, str]]] = {}
    for role, member in rows:
        joined.setdefault(owning[member], []).append((role, member))
    return joined


def unlike_marks(database: Database, done: dict[str, str]) -> bool:
    """Whether an account was not finished as it is wanted now, or was changed since."""
    return any(done.get(account.name) != f"{database.mark(account)} {database.limit}" for account in database.accounts)


def former_accounts(connection: Any, databases: list[Database]) -> list[str]:
    """Accounts that releases before used and that can still log in."""
    named = [name for database in databases for name in database.former]
    rows = connection.run("SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname = ANY(:named)", named=named)
    return sorted(row[0] for row in rows)


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
    done, opened = finished(privileged), {*open_to_all(privileged), *memberships(privileged, databases)}
    wrong = [database for database in databases if unlike_marks(database, done) or database.name in opened]
    as_told = [database for database in databases if database not in wrong]
    drifted = complaints(instance, as_told, closed(privileged), tried)
    wrong += [database for database in as_told if database.name in drifted]
    if wrong and not check:
        settle(instance, privileged, wrong, watcher)
        left = complaints(instance, wrong, closed(privileged), tried)
        left |= {name: f"{name}: joined {pairs}" for name, pairs in memberships(privileged, wrong).items()}
        if left:
            raise Isolation("; ".join(left.values()))
    return unlike + [database.name for database in wrong]


def retire(connection: Any, accounts: list[str]) -> None:
    """They log in no more; what is open is ended. Their rights stay, which only a log-in makes use of."""
    for account in accounts:
        connection.run(f"ALTER ROLE {_name(account)} NOLOGIN")
        connection.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = :name", name=account)


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


DATABASE_OPTIONS = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str", "required": True},
    "owner_password": {"type": "str", "required": True, "no_log": True},
    "accounts": {"type": "dict", "required": True, "no_log": True},
    "modules": {"type": "dict", "required": True},
    "measures": {"type": "str", "default": ""},
    "former": {"type": "list", "elements": "str", "default": []},
    "connections": {"type": "int", "required": True},
}


def database_of(told: dict[str, Any]) -> Database:
    """As the filter C(cell_databases) tells it."""
    schemas = {account: module for module, account in told["modules"].items()}
    accounts = tuple(Account(name, password, schemas.get(name)) for name, password in told["accounts"].items())
    return Database(
        told["name"], told["owner"], told["owner_password"], told["connections"], accounts, tuple(told["former"])
    )


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
            "state": {"type": "str", "choices": ["settled", "retired"], "default": "settled"},
        },
        supports_check_mode=True,
    )
    given = module.params
    databases = [database_of(told) for told in given["databases"]]
    instance = Instance(given["host"], given["port"], given["encrypted"])
    try:
        with instance.connection("postgres", given["account"], given["password"]) as privileged:
            former = former_accounts(privileged, databases)
            if given["state"] == "retired":
                if not module.check_mode:
                    retire(privileged, former)
                module.exit_json(changed=bool(former), changed_names=former, former=[], proved=0)
            watcher = Watcher(given["watcher"], given["watcher_password"])
            changed = apply(instance, privileged, databases, watcher, module.check_mode)
    except Isolation as error:
        module.fail_json(msg=str(error))
    except DatabaseError as error:
        module.fail_json(msg=f"{given['host']}: {error.args[0].get('M')} ({error.args[0].get('C')})")
    except (InterfaceError, OSError) as error:
        module.fail_json(msg=f"{given['host']}:{given['port']}: {error}")
    module.exit_json(changed=bool(changed), changed_names=changed, former=former, proved=len(databases))


if __name__ == "__main__":
    main()
