"""Schemas are brought up to date once, by their owners, and again nothing changes."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from services.migrate import MODULES, revisions
from tests.integration.backends import Postgres
from tests.integration.network import migrate


@pytest.fixture
def target(postgres: Postgres) -> Iterator[dict[str, Any]]:
    """A tenant's database as it is before its first migration."""
    name = f"t{secrets.token_hex(6)}"
    for role in ("owner", "affairs", "portal", "measures"):
        postgres.run(f"CREATE ROLE {name}_{role} LOGIN PASSWORD 'secret-{role}'")
    postgres.run(f"CREATE DATABASE {name} OWNER {name}_owner")
    postgres.run(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    yield {
        "module": "affairs",
        "host": "127.0.0.1",
        "port": postgres.port,
        "database": name,
        "user": f"{name}_owner",
        "password": "secret-owner",
        "application_role": f"{name}_affairs",
        "measures_role": f"{name}_measures",
    }
    postgres.run(f"DROP DATABASE {name}")


def results(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_second_run_changes_nothing_and_a_check_tells_without_doing(
    target: dict[str, Any], postgres: Postgres
) -> None:
    checked, first, second = migrate([target], "--check"), migrate([target]), migrate([target])
    assert (checked.returncode, first.returncode, second.returncode) == (0, 0, 0), first.stdout
    told, done, again = (results(run.stdout)[0] for run in (checked, first, second))
    assert told == done and done["from"] is None and done["changed"] is True
    assert again["from"] == again["to"] == done["to"] and again["changed"] is False
    assert postgres.run("SELECT count(*) FROM affairs.cases", target["database"]) == "0"


def test_several_runs_at_once_end_in_one_schema(target: dict[str, Any]) -> None:
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(lambda _: migrate([target]), range(3)))
    assert [run.returncode for run in runs] == [0, 0, 0], [run.stdout for run in runs]
    assert sum(results(run.stdout)[0]["changed"] for run in runs) == 1


def test_one_database_that_fails_is_named_and_the_others_are_done(target: dict[str, Any]) -> None:
    wrong = target | {"database": "no_such_database"}
    run = migrate([wrong, target, target | {"module": "nonsense"}])
    assert run.returncode == 1
    failed, done, unknown = results(run.stdout)
    assert failed["database"] == "no_such_database" and "error" in failed
    assert done["changed"] is True and "no module 'nonsense'" in unknown["error"]
    assert "secret-owner" not in run.stdout + run.stderr


def test_the_application_may_work_on_rows_and_on_nothing_else(target: dict[str, Any], postgres: Postgres) -> None:
    assert migrate([target]).returncode == 0
    role = target["application_role"]
    granted = postgres.run(
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM information_schema."
        f"role_table_grants WHERE grantee = '{role}' AND table_schema = 'affairs' GROUP BY 1 ORDER BY 1",
        target["database"],
    )
    assert granted.splitlines() == [
        "cases|INSERT SELECT UPDATE",
        "implementations|INSERT SELECT UPDATE",
        "inbox|INSERT SELECT",
        "materials|INSERT SELECT",
        "outbox|DELETE INSERT SELECT UPDATE",
        "outbox_ways|INSERT SELECT UPDATE",
        "standards|INSERT SELECT",
        "traces|INSERT SELECT",
    ]
    for attempt in ("CREATE TABLE affairs.mine ()", "CREATE TABLE public.mine ()", "DROP TABLE affairs.cases"):
        denied = f"""
            SET ROLE {role};
            DO $$ BEGIN {attempt}; RAISE 'not denied'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"""
        postgres.run(denied, target["database"])


def may(postgres: Postgres, target: dict[str, Any], role: str, statement: str) -> bool:
    """Whether the role's rights let it run the statement, of which nothing stays done."""
    tried = f"""
        SET ROLE {role};
        DO $$ BEGIN
            BEGIN {statement}; EXCEPTION WHEN insufficient_privilege THEN RAISE WARNING 'denied'; RETURN; END;
            RAISE 'allowed';
        END $$"""
    try:
        postgres.run(tried, target["database"])
    except AssertionError as error:
        assert "allowed" in str(error), error
        return True
    return False


def test_each_module_works_on_its_own_tables_and_who_measures_reads_no_person(
    target: dict[str, Any], postgres: Postgres
) -> None:
    name = target["database"]
    of_portal = target | {"module": "portal", "application_role": f"{name}_portal"}
    assert migrate([target, of_portal]).returncode == 0
    statements = {
        "affairs": "PERFORM applicant_name FROM affairs.cases",
        "portal": "PERFORM 1 FROM portal.session",
        "measures": "PERFORM status, due FROM affairs.cases",
    }
    for account in ("affairs", "portal", "measures"):
        allowed = {
            key for key, statement in statements.items() if may(postgres, target, f"{name}_{account}", statement)
        }
        assert allowed == ({"affairs", "measures"} if account == "affairs" else {account})
    assert not may(postgres, target, f"{name}_measures", "PERFORM applicant_name FROM affairs.cases")
    postgres.run(f"GRANT SELECT ON affairs.cases TO {name}_measures", name)
    assert may(postgres, target, f"{name}_measures", "PERFORM applicant_name FROM affairs.cases"), "the twin"


def test_a_database_whose_accounts_were_other_ones_gets_the_new_ones_rights_and_no_revision(
    target: dict[str, Any], postgres: Postgres
) -> None:
    """As where one account was all modules', and where a role was dropped and made anew."""
    before = target | {"application_role": f"{target['database']}_portal", "measures_role": None}
    assert migrate([before]).returncode == 0
    told, again = (results(migrate([target]).stdout)[0] for _ in range(2))
    assert (told["from"], told["granted"], told["changed"]) == (told["to"], True, True)
    assert again["changed"] is False
    assert may(postgres, target, target["application_role"], "PERFORM 1 FROM affairs.cases")
    postgres.run(f"REVOKE USAGE ON SCHEMA affairs FROM {target['application_role']}", target["database"])
    assert results(migrate([target], "--check").stdout)[0]["granted"] is True
    assert results(migrate([target]).stdout)[0]["granted"] is True
    assert may(postgres, target, target["application_role"], "PERFORM 1 FROM affairs.cases")


@pytest.mark.parametrize(
    "by_hand",
    [
        "REVOKE SELECT ON affairs.cases FROM {name}_affairs",
        "GRANT SELECT (applicant_name) ON affairs.cases TO {name}_measures",
        "GRANT SELECT ON affairs.cases TO PUBLIC",
        "GRANT SELECT ON affairs.cases TO {name}_portal",
        "GRANT CREATE ON SCHEMA affairs TO {name}_affairs",
        "REVOKE EXECUTE ON FUNCTION affairs.file_cases FROM {name}_affairs",
        "GRANT EXECUTE ON FUNCTION affairs.file_cases TO {name}_portal",
        "COMMENT ON SCHEMA affairs IS NULL",
    ],
)
def test_rights_that_a_hand_has_changed_are_named_and_as_before_again(
    target: dict[str, Any], postgres: Postgres, by_hand: str
) -> None:
    def rights() -> str:
        return postgres.run(
            "SELECT string_agg(concat_ws(' ', relname, relacl::text), ';' ORDER BY relname) FROM pg_class "
            "WHERE relnamespace = to_regnamespace('affairs') AND relkind IN ('r', 'S') "
            "UNION ALL SELECT nspacl::text FROM pg_namespace WHERE nspname = 'affairs' "
            "UNION ALL SELECT string_agg(concat_ws(' ', attname, attacl::text), ';' ORDER BY attname) "
            "FROM pg_attribute WHERE attrelid = 'affairs.cases'::regclass AND attacl IS NOT NULL "
            "UNION ALL SELECT proacl::text FROM pg_proc WHERE proname = 'file_cases'",
            target["database"],
        )

    assert migrate([target]).returncode == 0
    before = rights()
    postgres.run(by_hand.format(name=target["database"]), target["database"])
    assert results(migrate([target], "--check").stdout)[0]["granted"] is True
    assert results(migrate([target]).stdout)[0]["granted"] is True
    assert rights() == before
    assert results(migrate([target]).stdout)[0]["changed"] is False


def test_an_account_of_releases_before_keeps_its_rights_until_it_may_not_log_in(
    target: dict[str, Any], postgres: Postgres
) -> None:
    former = f"{target['database']}_app"
    postgres.run(f"CREATE ROLE {former}")
    assert migrate([target | {"application_role": former, "measures_role": None}]).returncode == 0
    assert migrate([target | {"former_roles": [former]}]).returncode == 0
    assert may(postgres, target, former, "PERFORM applicant_name FROM affairs.cases")


@pytest.mark.parametrize("module", MODULES)
def test_revisions_are_one_line_and_only_expand(module: str) -> None:
    """The release before must go on working while the next one is rolled out."""
    script = revisions(module)
    assert len(script.get_heads()) <= 1
    for revision in script.walk_revisions():
        text = Path(str(revision.path)).read_text().upper()
        for contraction in ("DROP TABLE", "DROP COLUMN", "RENAME ", "SET NOT NULL", "ALTER COLUMN"):
            assert contraction not in text, (revision.path, contraction)
