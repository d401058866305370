"""The case index: a person's cases over all tenants, and progress for whoever holds number and check code."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.filings import accepted_case, act, file, hand_over
from tests.integration.network import CITY, COUNTY, NEIGHBOUR, Network
from tests.support.waiting import wait_until

WRONG = "22222222AAAA"


def indexed(network: Network, citizen: str, number: str) -> dict[str, Any] | None:
    with network.query(citizen) as client:
        answer = client.get(f"/cases/{number}")
        return answer.json() if answer.status_code == 200 else None


def fresh_address() -> str:
    """An address in a network that nobody used before."""
    return f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"


def progress(network: Network, number: str, check_code: str, address: str = "") -> httpx.Response:
    """As a stranger at an address of the test's own, so that tests do not use up each other's attempts."""
    address = address or fresh_address()
    with network.query() as client:
        return client.get(
            "/progress",
            params={"number": number, "check_code": check_code},
            headers={"X-Forwarded-For": f"198.51.100.1, {address}"},
        )


def test_a_filing_is_in_the_index_within_a_second(catalogue: Network) -> None:
    """Those that follow one another are gathered for a part of it."""
    citizen = catalogue.issuer.citizen("citizen-index")
    file(catalogue, COUNTY, citizen)
    seconds = []
    for _ in range(5):
        number = file(catalogue, COUNTY, citizen).json()["number"]
        began = time.monotonic()
        wait_until(lambda number=number: indexed(catalogue, citizen, number), 5, "it is there", every=0.02)  # type: ignore[misc]
        seconds.append(time.monotonic() - began)
    assert sorted(seconds)[len(seconds) // 2] < 1, seconds


def test_my_cases_of_all_tenants_come_in_pages_and_nobody_elses(catalogue: Network) -> None:
    name = f"citizen-pages-{secrets.token_hex(4)}"
    citizen = catalogue.issuer.citizen(name)
    numbers = [file(catalogue, (COUNTY, NEIGHBOUR, CITY)[n % 3], citizen).json()["number"] for n in range(25)]
    for number in numbers:
        wait_until(lambda number=number: indexed(catalogue, citizen, number), 10, "it is indexed")  # type: ignore[misc]
    with catalogue.query(citizen) as client:
        first = client.get("/cases").json()
        second = client.get("/cases", params={"cursor": first["next"]}).json()
    assert [case["number"] for case in first["cases"] + second["cases"]] == numbers[::-1]
    assert len(first["cases"]) == 20 and second["next"] is None
    assert {case["tenant_name"] for case in first["cases"]} == {"西湖区", "临安区", "杭州市"}
    oldest = numbers[0]
    assert act(catalogue, COUNTY, oldest, "acceptance", {"accepted": True}).status_code == 200
    with catalogue.query(citizen) as client:

        def latest_change() -> bool:
            [newest, *_] = client.get("/cases").json()["cases"]
            return (newest["number"], newest["status"]) == (oldest, "accepted")

        wait_until(latest_change, 10, "the case that changed last stands first")
        first = client.get("/cases").json()
        second = client.get("/cases", params={"cursor": first["next"]}).json()
    assert [case["number"] for case in first["cases"] + second["cases"]] == [oldest, *numbers[:0:-1]]
    with catalogue.query(catalogue.issuer.citizen("citizen-stranger")) as stranger:
        assert stranger.get("/cases", params={"cursor": first["next"]}).json()["cases"] == []
        theirs, missing = (stranger.get(f"/cases/{number}") for number in (numbers[0], "9" * 22))
        assert theirs.status_code == missing.status_code == 404
        assert {**theirs.json(), "request_id": ""} == {**missing.json(), "request_id": ""}
        assert stranger.get("/cases", params={"cursor": "rubbish"}).status_code == 422


def test_the_index_shows_every_step_of_a_hand_over(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-steps")
    receipt = accepted_case(catalogue, COUNTY, citizen)
    number = receipt["number"]
    hand_over(catalogue, COUNTY, CITY, number)
    assert act(catalogue, CITY, number, "outcome", {"result": "refused", "text": "材料不符"}).status_code == 200

    def finished() -> bool:
        case = indexed(catalogue, citizen, number)
        return case is not None and case["status"] == "refused"

    wait_until(finished, 10, "the index knows the outcome")
    case = indexed(catalogue, citizen, number)
    assert case is not None and case["holder_name"] == "杭州市"
    shown = progress(catalogue, number, receipt["check_code"])
    assert shown.status_code == 200
    assert [step["status"] for step in shown.json()["steps"]] == [
        "filed",
        "accepted",
        "in_transit",
        "accepted",
        "refused",
    ]
    assert set(shown.json()) == {"number", "status", "steps"}
    for secret in ("张三", "13800000000", "湖畔理发店", "citizen-steps", "材料不符"):
        assert secret not in shown.text


def test_a_wrong_code_and_an_unknown_number_are_answered_alike(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-alike")
    number = file(catalogue, COUNTY, citizen).json()["number"]
    wait_until(lambda: indexed(catalogue, citizen, number), 10, "it is indexed")
    wrong, unknown = progress(catalogue, number, WRONG), progress(catalogue, f"{secrets.randbelow(10**22):022d}", WRONG)
    assert wrong.status_code == unknown.status_code == 404
    assert {**wrong.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


@pytest.mark.parametrize("at_once", [1, 10, 100])
def test_a_guesser_is_stopped_and_the_owner_is_not(catalogue: Network, at_once: int) -> None:
    citizen, guesser = catalogue.issuer.citizen("citizen-guessed"), fresh_address()
    receipt = file(catalogue, COUNTY, citizen).json()
    number = receipt["number"]
    wait_until(lambda: indexed(catalogue, citizen, number), 10, "it is indexed")
    with ThreadPoolExecutor(at_once) as pool:
        codes = [
            answer.status_code for answer in pool.map(lambda _: progress(catalogue, number, WRONG, guesser), range(70))
        ]
    assert codes.count(404) == 60 and codes.count(429) == 10
    assert progress(catalogue, number, receipt["check_code"], guesser).status_code == 429
    owner = fresh_address()
    for _ in range(3):  # a right code is given back, however often it is sent
        assert progress(catalogue, number, receipt["check_code"], owner).status_code == 200
    assert indexed(catalogue, citizen, number)


def test_ten_wrong_codes_lock_nobody_out(catalogue: Network) -> None:
    """Whoever mistypes, and everybody else behind the same address, still gets in with the right code."""
    citizen, address = catalogue.issuer.citizen("citizen-mistyped"), fresh_address()
    receipt = file(catalogue, COUNTY, citizen).json()
    wait_until(lambda: indexed(catalogue, citizen, receipt["number"]), 10, "it is indexed")
    assert [progress(catalogue, receipt["number"], WRONG, address).status_code for _ in range(11)] == [404] * 11
    assert progress(catalogue, receipt["number"], receipt["check_code"], address).status_code == 200


def test_a_case_at_which_many_addresses_guess_takes_few_from_each(catalogue: Network) -> None:
    citizen, guesser, owner = catalogue.issuer.citizen("citizen-besieged"), fresh_address(), fresh_address()
    receipt = file(catalogue, COUNTY, citizen).json()
    number = receipt["number"]
    wait_until(lambda: indexed(catalogue, citizen, number), 10, "it is indexed")
    catalogue.postgres.run(
        f"INSERT INTO query.attempts VALUES ('number:{number}', date_trunc('hour', now()), 600)", "query"
    )
    assert [progress(catalogue, number, WRONG, guesser).status_code for _ in range(7)] == [404] * 5 + [429] * 2
    for _ in range(7):
        assert progress(catalogue, number, receipt["check_code"], owner).status_code == 200


def test_one_address_cannot_try_many_numbers(catalogue: Network) -> None:
    address = fresh_address()
    codes = [progress(catalogue, f"{n:022d}", WRONG, address).status_code for n in range(70)]
    assert codes == [404] * 60 + [429] * 10


def test_number_and_code_are_read_however_they_are_written(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-wide")
    receipt = file(catalogue, COUNTY, citizen).json()
    number, code = receipt["number"], receipt["check_code"]
    wait_until(lambda: indexed(catalogue, citizen, number), 10, "it is indexed")
    wide = "".join(chr(ord(digit) + 0xFEE0) for digit in number)
    for written in (wide, f"{number[:6]} {number[6:14]} {number[14:]}", f"\u200b{number}\u3000"):
        assert progress(catalogue, written, f" {code[:4]}-{code[4:].lower()}").status_code == 200
        assert indexed(catalogue, citizen, written)


@pytest.mark.parametrize("code", ["", "0" * 12, "I" * 12, "2" * 11, "2" * 13, "2222 2222222", "\x00" * 12])
def test_codes_that_are_none_never_pass(catalogue: Network, code: str) -> None:
    assert progress(catalogue, "3" * 22, code).status_code == 422


def test_a_tenant_cannot_write_another_tenants_cases_into_the_index(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-index-forged")
    number = file(catalogue, COUNTY, citizen).json()["number"]
    wait_until(lambda: indexed(catalogue, citizen, number), 10, "it is indexed")
    before = indexed(catalogue, citizen, number)
    moment = "2026-01-01T00:00:00Z"
    news = {
        "number": number,
        "version": 50,
        "applicant": "citizen-stranger",
        "status": "granted",
        "holder": NEIGHBOUR.code,
        "item": "x",
        "item_name": "x",
        "filed_at": moment,
        "changed_at": moment,
        "steps": [{"version": 50, "tenant": NEIGHBOUR.code, "status": "granted", "at": moment}],
        "check_code_hash": "0" * 64,
    }
    body = {"sender": NEIGHBOUR.code, "messages": [{"sequence": 800_001, "kind": "case", "key": number, "body": news}]}
    with catalogue.query(catalogue.issuer.relay(NEIGHBOUR.code)) as relay:
        answer = relay.post("/inbox", json=body)
        assert answer.json()["applied"] == [] and answer.json()["rejected"]
        assert relay.post("/inbox", json=body | {"sender": COUNTY.code}).status_code == 403
    with catalogue.query(citizen) as person:
        assert person.post("/inbox", json=body).status_code == 403
    assert indexed(catalogue, citizen, number) == before


def test_news_that_comes_twice_or_late_changes_nothing(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-late")
    number = accepted_case(catalogue, COUNTY, citizen)["number"]

    def accepted() -> bool:
        case = indexed(catalogue, citizen, number)
        return case is not None and case["status"] == "accepted"

    wait_until(accepted, 10, "the index knows the acceptance")
    sql = f"SELECT number, version, applicant, status, holder, item, item_name, filed_at, changed_at, steps, encode(check_code_hash, 'hex') AS check_code_hash FROM affairs.cases WHERE number = '{number}'"  # noqa: E501
    old = catalogue.rows(COUNTY, sql)[0] | {"version": 1, "status": "filed"}
    message = {"kind": "case", "key": number, "body": old}
    with catalogue.query(catalogue.issuer.relay(COUNTY.code)) as relay:
        for sequence in (700_001, 700_001, 700_002):
            body = {"sender": COUNTY.code, "messages": [message | {"sequence": sequence}]}
            assert relay.post("/inbox", json=body).json()["applied"] == [sequence]
    assert accepted()
