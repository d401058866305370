"""Roles and rights of an instance's databases, settled on a real PostgreSQL, and what a hand has changed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pg8000.native
import pytest
from pg8000.exceptions import DatabaseError, InterfaceError

from tests.integration.backends import SUPERUSER, Postgres
from tests.support.playbook_plugins import load

access = load("modules", "database_access")


@dataclass
class Settled:
    """Two tenants' databases with the accounts of two modules and of who measures, as the playbooks make them."""

    postgres: Postgres
    databases: list[Any]
    watcher: Any

    def apply(self, check: bool = False) -> list[str]:
        instance = access.Instance("127.0.0.1", self.postgres.port, encrypted=False)
        with instance.connection("postgres", SUPERUSER, "") as privileged:
            changed: list[str] = access.apply(instance, privileged, self.databases, self.watcher, check)
        return changed

    def complaint(self) -> str:
        instance = access.Instance("127.0.0.1", self.postgres.port, encrypted=False)
        return access.complaint(instance, self.databases[0], self.databases[1].name, self.watcher) or ""


@pytest.fixture(scope="module")
def settled(postgres: Postgres) -> Iterator[Settled]:
    marker = secrets.token_hex(4)
    databases = []
    for name in (f"a{marker}", f"b{marker}"):
        postgres.run(f"CREATE ROLE {name}_owner LOGIN PASSWORD 'owner'")
        postgres.run(f"CREATE DATABASE {name} OWNER {name}_owner")
        postgres.run(
            f"SET ROLE {name}_owner; CREATE SCHEMA affairs; CREATE TABLE affairs.cases (a int); CREATE SCHEMA portal",
            name,
        )
        accounts = tuple(
            access.Account(f"{name}_{account}", secrets.token_hex(8), None if account == "measures" else account)
            for account in ("affairs", "portal", "measures")
        )
        databases.append(access.Database(name, f"{name}_owner", "owner", 4, accounts, (f"{name}_app",)))
    made = Settled(postgres, databases, access.Watcher(f"w{marker}", secrets.token_hex(8)))
    assert made.apply()
    yield made
    for database in databases:
        postgres.run(f"DROP DATABASE {database.name}")


def test_a_second_run_changes_nothing(settled: Settled) -> None:
    assert settled.apply() == [] and settled.complaint() == ""


@pytest.mark.parametrize(
    ("opened", "said"),
    [
        ("GRANT USAGE ON SCHEMA affairs TO {name}_portal", "portal may enter schema affairs"),
        ("GRANT INSERT ON affairs.cases TO {name}_measures", "measures may change affairs.cases"),
        ("GRANT UPDATE (a) ON affairs.cases TO {name}_measures", "measures may change affairs.cases"),
        ("GRANT CREATE ON SCHEMA public TO {name}_affairs", "may create objects"),
        ("GRANT CONNECT ON DATABASE {name} TO {watcher}", "is let into"),
    ],
)
def test_what_a_hand_has_opened_is_named_and_closed(settled: Settled, opened: str, said: str) -> None:
    database = settled.databases[0]
    grant = opened.format(name=database.name, watcher=settled.watcher.name)
    settled.postgres.run(grant, database.name)
    assert said in settled.complaint()
    assert settled.apply(check=True) == [database.name]
    assert settled.apply() == [database.name]
    assert settled.complaint() == "" and settled.apply() == []


def test_an_account_that_was_joined_to_another_is_named_and_parted(settled: Settled) -> None:
    database, neighbour = settled.databases
    for role in (f"{database.name}_affairs", database.owner, f"{neighbour.name}_affairs"):
        settled.postgres.run(f"GRANT {role} TO {database.name}_portal")
        assert settled.apply(check=True) == [database.name]
        assert settled.apply() == [database.name]
        member = f"SELECT pg_has_role('{database.name}_portal', '{role}', 'MEMBER')"
        assert settled.postgres.run(member) == "f" and settled.apply() == []


def test_what_an_account_has_made_where_everybody_may_is_not_run_by_who_may_more(settled: Settled) -> None:
    """A function of a name that the catalogue has, too, for arguments that fit a text better."""
    trap = """
        SET ROLE {account}; CREATE FUNCTION public.acldefault(text, oid) RETURNS aclitem[] LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'run as %', current_user; END $$"""
    account = settled.databases[0].accounts[1].name
    settled.postgres.run(f"GRANT CREATE ON SCHEMA public TO {account}")
    settled.postgres.run(trap.format(account=account))
    try:
        assert settled.apply() == []
        with pytest.raises(AssertionError, match="run as"):  # the twin: it is a trap
            settled.postgres.run("SELECT acldefault('d', datdba) FROM pg_database")
    finally:
        settled.postgres.run(f"DROP OWNED BY {account}")
        settled.apply()


def test_an_account_of_releases_before_logs_in_no_more_and_what_it_has_open_ends(settled: Settled) -> None:
    former, other = (f"{database.name}_app" for database in settled.databases)
    instance = access.Instance("127.0.0.1", settled.postgres.port, encrypted=False)
    settled.postgres.run(f"CREATE ROLE {former} LOGIN PASSWORD 'former'; CREATE ROLE {other} NOLOGIN")
    still_open = pg8000.native.Connection(
        former, host="127.0.0.1", port=settled.postgres.port, database="postgres", password="former"
    )
    with instance.connection("postgres", SUPERUSER, "") as privileged:
        assert access.former_accounts(privileged, settled.databases) == [former]
        access.retire(privileged, [former])
        assert access.former_accounts(privileged, settled.databases) == []
    with pytest.raises((DatabaseError, InterfaceError, OSError)):
        still_open.run("SELECT 1")
    assert instance.refusal("postgres", former, "former") == "28000"
