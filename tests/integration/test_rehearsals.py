"""Removing a rehearsal: exactly its people and their cases, from real databases, as their owners."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from services.kernel.forgetting import NAME_MARK
from tests.integration.filings import FORM, ITEM, fresh_key, hand_over
from tests.integration.identity_site import IdentitySite, log_in
from tests.integration.network import CITY, COUNTY, NEIGHBOUR, REPOSITORY, Network, Place
from tests.support.waiting import wait_until

PLACES = (COUNTY, NEIGHBOUR, CITY)


@dataclass
class Stage:
    network: Network
    identity: IdentitySite

    def person(self, username: str, name: str) -> str:
        """A person who has logged in once; their subject."""
        subject: str = self.identity.person(username, name=name)["id"]
        with self.identity.browser() as browser:
            assert log_in(browser, username).status_code in (302, 303)
            assert log_in(browser, username, "wrong password", "/login?again=1").status_code == 401
        return subject

    def file(self, place: Place, subject: str, name: str) -> str:
        body = {"item": ITEM, "form": FORM, "applicant": {"name": name, "phone": "13800000000"}}
        token = self.network.issuer.citizen(subject, name)
        with self.network.client(place, token) as client:
            answer = client.post("/cases", json=body, headers={"Idempotency-Key": fresh_key()})
        assert answer.status_code == 201, answer.text
        number: str = answer.json()["number"]
        wait_until(lambda: self.indexed(number), 10, "it is indexed")
        return number

    def accept(self, place: Place, number: str) -> None:
        with self.network.client(place, self.network.issuer.officer("clerk", place.code)) as clerk:
            assert clerk.post(f"/cases/{number}/acceptance", json={"accepted": True}).status_code == 200

    def indexed(self, number: str) -> bool:
        return self.network.postgres.run(f"SELECT count(*) FROM query.cases WHERE number = '{number}'", "query") == "1"

    def left(self, number: str) -> dict[str, int]:
        """Rows of a case in every database, by table."""
        counts = {}
        for table, column in (("cases", "number"), ("traces", "number"), ("outbox", "key"), ("materials", "number")):
            statement = f"SELECT count(*) FROM affairs.{table} WHERE {column} = '{number}'"
            rows = sum(int(self.network.postgres.run(statement, f"t{place.code}")) for place in PLACES)
            counts[table] = rows
        return counts | {"index": int(self.indexed(number))}

    def traces_of_person(self, subject: str) -> dict[str, int]:
        tables = {
            "person": "id::text = '{0}'",
            "session": "person_id::text = '{0}'",
            "device": "person_id::text = '{0}'",
            "audit": "person_id::text = '{0}'",
            "attempt": "key LIKE '%{0}%'",
        }
        return {
            table: self.identity.rows(f"SELECT count(*) AS n FROM identity.{table} WHERE {where.format(subject)}")[0][
                "n"
            ]
            for table, where in tables.items()
        }

    def databases(self, **changes: Any) -> list[dict[str, Any]]:
        modules = {f"t{place.code}": "affairs" for place in PLACES} | {"query": "query", "identity": "identity"}
        passwords = self.network.passwords | {"identity_owner": "owner of identity"}
        self.network.postgres.run("ALTER ROLE identity_owner PASSWORD 'owner of identity'")
        return [
            {
                "module": module,
                "host": "127.0.0.1",
                "port": self.network.postgres.port,
                "database": name,
                "user": f"{name}_owner",
                "password": passwords[f"{name}_owner"],
            }
            | changes.get(name, {})
            for name, module in modules.items()
        ]


@pytest.fixture
def stage(catalogue: Network, identity_site: IdentitySite) -> Stage:
    return Stage(catalogue, identity_site)


def remove(usernames: list[str], databases: list[dict[str, Any]], **more: Any) -> tuple[int, list[dict[str, Any]]]:
    given = {"usernames": usernames, "databases": databases} | more
    done = subprocess.run(
        [sys.executable, "-m", "services.rehearsals"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert not done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def usernames() -> tuple[str, str]:
    suffix = secrets.token_hex(4)
    return f"rehearsal-{suffix}", f"citizen-{suffix}"


def test_exactly_the_rehearsal_goes(stage: Stage) -> None:
    rehearsed, real = usernames()
    theirs, somebodys = stage.person(rehearsed, f"{NAME_MARK}市民"), stage.person(real, "王小明")
    filed = stage.file(COUNTY, theirs, f"{NAME_MARK}市民")
    handed_over = stage.file(COUNTY, theirs, f"{NAME_MARK}市民")
    stage.accept(COUNTY, handed_over)
    hand_over(stage.network, COUNTY, CITY, handed_over)
    elsewhere = stage.file(NEIGHBOUR, theirs, f"{NAME_MARK}市民")
    kept = [stage.file(COUNTY, somebodys, "王小明"), stage.file(COUNTY, somebodys, f"{NAME_MARK}公司")]
    before = [stage.left(number) for number in kept], stage.traces_of_person(somebodys)
    assert stage.left(handed_over)["cases"] == 2 and stage.left(handed_over)["traces"] >= 4
    assert min(stage.traces_of_person(theirs).values()) > 0

    code, lines = remove([rehearsed], stage.databases())
    assert code == 0, lines
    for number in (filed, handed_over, elsewhere):
        assert not any(stage.left(number).values()), stage.left(number)
    assert not any(stage.traces_of_person(theirs).values()), stage.traces_of_person(theirs)
    assert ([stage.left(number) for number in kept], stage.traces_of_person(somebodys)) == before
    removed = {line["database"]: line["removed"] for line in lines}
    assert removed["t330106"]["affairs.cases"] == 2 and removed["t330100"]["affairs.cases"] == 1
    assert removed["query"]["query.cases"] == 3 and removed["identity"]["identity.person"] == 1
    assert remove([rehearsed], stage.databases())[0] == 0, "once more finds nothing and says so"


def test_nobody_real_is_taken_for_a_rehearsal(stage: Stage) -> None:
    rehearsed, real = usernames()
    somebodys = stage.person(real, "王小明")
    disguised = stage.person(rehearsed, "王小明")  # a user name that fits is not enough
    number = stage.file(COUNTY, disguised, "王小明")
    for named, words in (([real], "usernames"), ([rehearsed], rehearsed), ([], "usernames")):
        code, lines = remove(named, stage.databases())
        assert code == 1 and words in lines[0]["error"], lines
    without_identity = [database for database in stage.databases() if database["module"] != "identity"]
    assert remove([rehearsed], without_identity)[0] == 1
    assert stage.left(number)["cases"] == 1
    assert stage.traces_of_person(somebodys)["person"] == stage.traces_of_person(disguised)["person"] == 1


def test_what_could_not_be_removed_keeps_the_people_for_the_next_try(stage: Stage) -> None:
    rehearsed, _ = usernames()
    theirs = stage.person(rehearsed, f"{NAME_MARK}市民")
    number = stage.file(NEIGHBOUR, theirs, f"{NAME_MARK}市民")
    code, lines = remove([rehearsed], stage.databases(t330112={"password": "another"}))
    assert code == 1
    assert [line["database"] for line in lines if "error" in line] == ["t330112"]
    assert stage.left(number)["cases"] == 1 and stage.traces_of_person(theirs)["person"] == 1
    assert remove([rehearsed], stage.databases())[0] == 0
    assert not any(stage.left(number).values()) and not any(stage.traces_of_person(theirs).values())


def test_attempts_alone_can_be_forgotten(stage: Stage) -> None:
    rehearsed, _ = usernames()
    theirs = stage.person(rehearsed, f"{NAME_MARK}市民")
    number = stage.file(COUNTY, theirs, f"{NAME_MARK}市民")
    identity = [database for database in stage.databases() if database["module"] == "identity"]
    code, lines = remove([rehearsed], identity, attempts_only=True)
    assert code == 0 and lines[0]["removed"]["identity.attempt"] > 0
    after = stage.traces_of_person(theirs)
    assert after.pop("attempt") == 0 and min(after.values()) > 0
    assert stage.left(number)["cases"] == 1
