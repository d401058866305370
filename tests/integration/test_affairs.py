"""A case's way through three tenants on two application hosts, over real HTTP."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from services.affairs.numbers import is_case_number
from services.affairs.store import desk
from services.kernel.calendar import today
from tests.integration.filings import (
    FORM,
    ITEM,
    STANDARD,
    accepted_case,
    act,
    file,
    filing,
    fresh_key,
    hand_over,
    holders,
    offers,
    status_at,
)
from tests.integration.network import CITY, COUNTY, NEIGHBOUR, PROVINCE, Network, Place
from tests.support.waiting import wait_until


def test_a_case_goes_up_to_the_province_and_its_outcome_comes_back_down(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-round-trip")
    receipt = accepted_case(catalogue, COUNTY, citizen)
    number = receipt["number"]
    assert is_case_number(number) and number.startswith(COUNTY.code)

    hand_over(catalogue, COUNTY, CITY, number)
    hand_over(catalogue, CITY, PROVINCE, number)
    decided = act(catalogue, PROVINCE, number, "outcome", {"result": "granted", "text": "准予许可"})
    assert decided.status_code == 200, decided.text

    for place in (COUNTY, CITY):
        wait_until(
            lambda place=place: status_at(catalogue, place, number) == ("granted", PROVINCE.code),  # type: ignore[misc]
            10,
            f"the outcome reaches {place.name}",
        )
    with catalogue.client(COUNTY, citizen) as client:
        case = client.get(f"/cases/{number}").json()
    assert case["outcome"] == {"result": "granted", "text": "准予许可"}
    assert [(step["tenant"], step["status"]) for step in case["steps"]] == [
        (COUNTY.code, "filed"),
        (COUNTY.code, "accepted"),
        (COUNTY.code, "in_transit"),
        (CITY.code, "accepted"),
        (CITY.code, "in_transit"),
        (PROVINCE.code, "accepted"),
        (PROVINCE.code, "granted"),
    ]
    assert case["actions"] == [] and case["form"] == FORM


def test_a_case_may_come_back_down_to_be_decided_where_it_was_filed(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-down")
    number = accepted_case(catalogue, COUNTY, citizen)["number"]
    hand_over(catalogue, COUNTY, CITY, number)
    hand_over(catalogue, CITY, COUNTY, number)
    assert act(catalogue, COUNTY, number, "outcome", {"result": "refused", "text": "不符合条件"}).status_code == 200
    wait_until(lambda: status_at(catalogue, CITY, number) == ("refused", COUNTY.code), 10, "the city knows")


def view(network: Network, place: Place, number: str, token: str = "") -> dict[str, Any]:
    """The case as the clerk of a place sees it, or whoever has the token."""
    with network.client(place, token or network.issuer.officer(f"clerk-{place.code}", place.code)) as client:
        answer = client.get(f"/cases/{number}")
    assert answer.status_code == 200, answer.text
    case: dict[str, Any] = answer.json()
    return case


def test_why_a_case_was_handed_over_reaches_whoever_got_it_and_nobody_else(catalogue: Network) -> None:
    """In the way at receiver and sender, in the receiver's trace; neither in the index nor before the applicant."""
    citizen = catalogue.issuer.citizen("citizen-reason")
    number = accepted_case(catalogue, COUNTY, citizen)["number"]
    reason = "涉及跨区经营，报请市级核查"
    hand_over(catalogue, COUNTY, CITY, number, reason)
    for place in (CITY, COUNTY):
        assert [step["reason"] for step in view(catalogue, place, number)["steps"]] == ["", "", reason, ""], place
    traces = catalogue.rows(CITY, f"SELECT action, details FROM affairs.traces WHERE number = '{number}'")
    assert traces == [{"action": "received", "details": reason}]
    assert reason not in json.dumps(view(catalogue, COUNTY, number, citizen), ensure_ascii=False)

    def indexed() -> str:
        row = catalogue.postgres.run(f"SELECT status, steps FROM query.cases WHERE number = '{number}'", "query")
        return row if row.count('"at"') == 4 else ""

    assert reason not in wait_until(indexed, 10, "the index has followed")
    assert reason not in catalogue.postgres.run(
        "SELECT coalesce(string_agg(body::text, ''), '') FROM affairs.outbox WHERE destination = 'query'",
        f"t{COUNTY.code}",
    )


def test_a_case_that_was_handed_back_still_begins_where_it_was_filed(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-back")
    number = accepted_case(catalogue, COUNTY, citizen)["number"]
    for here, there in ((COUNTY, CITY), (CITY, COUNTY), (COUNTY, CITY)):
        hand_over(catalogue, here, there, number)
        for place in (COUNTY, CITY):
            assert view(catalogue, place, number)["path"] == [COUNTY.code, CITY.code]


def test_the_applicant_finds_the_check_code_again_where_the_case_was_filed(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-code")
    receipt = accepted_case(catalogue, COUNTY, citizen)
    number = receipt["number"]
    assert view(catalogue, COUNTY, number, citizen)["check_code"] == receipt["check_code"]
    assert view(catalogue, COUNTY, number)["check_code"] is None, "a clerk needs no code"
    hand_over(catalogue, COUNTY, CITY, number)
    assert view(catalogue, CITY, number, citizen)["check_code"] is None, "another tenant has another key"
    other_key = f"UPDATE affairs.cases SET check_code_hash = sha256('older') WHERE number = '{number}'"
    catalogue.postgres.run(other_key, f"t{COUNTY.code}")
    assert view(catalogue, COUNTY, number, citizen)["check_code"] is None, "what would not open it is not shown"


def test_nobody_acts_on_a_case_in_transit(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-transit")
    number = accepted_case(catalogue, NEIGHBOUR, citizen)["number"]
    catalogue.running["affairs-cell-b"].kill()
    try:
        body = {"to": CITY.code, "reason": "按权限办理"}
        assert act(catalogue, NEIGHBOUR, number, "hand-over", body).json()["status"] == "in_transit"
        for action, again in (("hand-over", body), ("outcome", {"result": "granted", "text": "准予"})):
            assert act(catalogue, NEIGHBOUR, number, action, again).status_code == 409
        assert holders(catalogue, number) == [NEIGHBOUR.code]
    finally:
        catalogue.start("affairs", "cell-b")
    wait_until(lambda: status_at(catalogue, CITY, number) == ("accepted", CITY.code), 20, "the city holds it")
    # the one that gave it away learns of it by a message of its own
    wait_until(lambda: holders(catalogue, number) == [CITY.code], 20, "the city alone holds it")


def test_every_exercise_of_power_leaves_a_trace_that_the_service_cannot_change(catalogue: Network) -> None:
    number = accepted_case(catalogue, COUNTY, catalogue.issuer.citizen("citizen-trace"))["number"]
    traces = catalogue.rows(
        COUNTY, f"SELECT action, actor, basis FROM affairs.traces WHERE number = '{number}' ORDER BY id"
    )
    assert [(trace["action"], trace["actor"]) for trace in traces] == [
        ("filed", "citizen-trace"),
        ("accepted", f"clerk-{COUNTY.code}"),
    ]
    assert all(trace["basis"] == STANDARD["basis"] for trace in traces)
    for attempt in ("UPDATE affairs.traces SET actor = ''", "DELETE FROM affairs.traces", "TRUNCATE affairs.traces"):
        denied = f"""
            SET ROLE t{COUNTY.code}_affairs;
            DO $$ BEGIN {attempt}; RAISE 'not denied'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"""
        catalogue.postgres.run(denied, f"t{COUNTY.code}")


def test_a_declined_case_ends_and_needs_a_reason(catalogue: Network) -> None:
    number = file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-declined")).json()["number"]
    assert act(catalogue, COUNTY, number, "acceptance", {"accepted": False}).status_code == 422
    declined = act(catalogue, COUNTY, number, "acceptance", {"accepted": False, "reason": "不属于本机关职权范围"})
    assert declined.json()["status"] == "declined"
    seen = view(catalogue, COUNTY, number, catalogue.issuer.citizen("citizen-declined"))
    assert seen["steps"][-1]["reason"] == "不属于本机关职权范围"
    assert act(catalogue, COUNTY, number, "acceptance", {"accepted": True}).status_code == 409


COPY = """
INSERT INTO affairs.cases (number, version, status, holder, in_transit_to, path, item, item_name, item_version, basis,
    promised_working_days, applicant, applicant_name, applicant_phone, form, filed_at, accept_by, due, changed_at,
    steps, check_code_hash)
SELECT '{place}30000101' || lpad((serial * 1000 + {mark})::text, 8, '0'), version, '{status}', '{holder}', NULL, path,
    item, item_name, item_version, basis, promised_working_days, applicant, applicant_name, applicant_phone, form,
    filed_at, date '2026-01-01' + serial / 20, CASE WHEN serial % 3 > 0 THEN date '2026-01-01' + serial / 30 END,
    changed_at + make_interval(secs => serial / 4), steps, check_code_hash
FROM affairs.cases, generate_series(1, {count}) AS serial WHERE number = '{number}'"""

# Each list in words of its own, not the service's.
BELONGS = {
    "open": "holder = '{here}' AND (status = 'filed' OR status = 'accepted')",
    "filed": "holder = '{here}' AND status = 'filed'",
    "accepted": "holder = '{here}' AND status = 'accepted'",
    "moved": "status = 'in_transit' OR (holder <> '{here}' AND (status = 'filed' OR status = 'accepted'))",
    "closed": "status = 'granted' OR status = 'refused' OR status = 'declined'",
}


def turned(network: Network, place: Place, name: str) -> tuple[list[list[str]], dict[str, int]]:
    """The numbers on each page of a list of the desk, from the first to the last, and the figures told."""
    pages: list[list[str]] = []
    with network.client(place, network.issuer.officer(f"clerk-{place.code}", place.code)) as clerk:
        cursor: str | None = None
        while cursor or not pages:
            params = {"status": name} | ({"cursor": cursor} if cursor else {})
            desk = clerk.get("/desk", params=params).json()
            pages.append([case["number"] for case in desk["cases"]])
            cursor = desk["next"]
            assert len(pages) < 30
    return pages, desk["figures"]


def test_every_case_of_a_desk_is_on_one_of_its_pages_and_in_its_figures(catalogue: Network) -> None:
    """Also with one more than a page holds, many of one day and moment, and some without a time limit."""
    here = NEIGHBOUR
    database = f"t{here.code}"
    number = file(catalogue, here, catalogue.issuer.citizen("citizen-desk")).json()["number"]

    def count(name: str) -> int:
        where = BELONGS[name].format(here=here.code)
        return int(catalogue.postgres.run(f"SELECT count(*) FROM affairs.cases WHERE {where}", database))

    kinds = (("filed", here), ("accepted", here), ("accepted", CITY), ("granted", PROVINCE))
    for mark, ((status, holder), name) in enumerate(zip(kinds, ("filed", "accepted", "moved", "closed"), strict=True)):
        missing = desk.PAGE + (1 - count(name)) % desk.PAGE
        catalogue.postgres.run(
            COPY.format(place=here.code, mark=mark, status=status, holder=holder.code, count=missing, number=number),
            database,
        )
    for name in BELONGS:
        pages, figures = turned(catalogue, here, name)
        shown = [shown_number for page in pages for shown_number in page]
        assert len(shown) == len(set(shown)) == count(name), name
        assert {len(page) for page in pages[:-1]} == {desk.PAGE}
        if name != "open":
            assert len(pages[-1]) == 1, name
    told = {name: figures[name] for name in ("filed", "accepted", "moved")}
    assert told == {name: count(name) for name in told}
    overdue = f"status = 'filed' AND accept_by < '{today()}' OR status = 'accepted' AND due < '{today()}'"
    waits = BELONGS["open"].format(here=here.code)
    late = catalogue.postgres.run(f"SELECT count(*) FROM affairs.cases WHERE {waits} AND ({overdue})", database)
    assert figures["overdue"] == int(late) > desk.PAGE
    with catalogue.client(here, catalogue.issuer.officer(f"clerk-{here.code}", here.code)) as clerk:
        for params in ({"status": "gone"}, {"cursor": "rubbish"}, {"cursor": "-" * 9}, {"cursor": "x" * 300}):
            assert clerk.get("/desk", params=params).status_code == 422, params


def test_the_same_key_gives_the_same_case_and_another_body_conflicts(catalogue: Network) -> None:
    citizen, key = catalogue.issuer.citizen("citizen-key"), fresh_key()
    first, again = (file(catalogue, COUNTY, citizen, key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"duplicate": True}
    other = file(catalogue, COUNTY, citizen, key, shop_name="另一家")
    assert (other.status_code, other.json()["existing"]) == (409, first.json()["number"])
    reordered = {name: filing()[name] for name in ("applicant", "form", "item")}
    reordered["form"] = dict(reversed(reordered["form"].items()))
    reordered["applicant"] = {"phone": "+86 138-0000-0000", "name": "张三　"}
    with catalogue.client(COUNTY, citizen) as client:
        equal = client.post("/cases", json=reordered, headers={"Idempotency-Key": key})
    assert (equal.status_code, equal.json()) == (200, again.json())
    other_person = file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-other"), key)
    assert other_person.status_code == 201 and other_person.json()["number"] != first.json()["number"]


def test_what_was_filed_is_answered_again_whatever_the_item_asks_by_now(catalogue: Network) -> None:
    citizen, key = catalogue.issuer.citizen("citizen-later"), fresh_key()
    first = file(catalogue, NEIGHBOUR, citizen, key)
    with catalogue.client(NEIGHBOUR, catalogue.issuer.officer("chief", NEIGHBOUR.code, "administrator")) as chief:
        assert chief.put(f"/implementations/{ITEM}", json={"offered": False}).status_code == 200
        again = file(catalogue, NEIGHBOUR, citizen, key)
        assert (again.status_code, again.json()) == (200, first.json() | {"duplicate": True})
        assert file(catalogue, NEIGHBOUR, citizen, key, shop_name="另一家").status_code == 422
        assert file(catalogue, NEIGHBOUR, citizen).status_code == 422
        assert chief.put(f"/implementations/{ITEM}", json={}).status_code == 200


def test_a_request_whose_digest_another_release_made_is_known_by_its_content(catalogue: Network) -> None:
    citizen, key = catalogue.issuer.citizen("citizen-release"), fresh_key()
    first = file(catalogue, COUNTY, citizen, key)
    catalogue.postgres.run(
        f"UPDATE affairs.cases SET request_digest = 'other' WHERE number = '{first.json()['number']}'",
        f"t{COUNTY.code}",
    )
    again = file(catalogue, COUNTY, citizen, key)
    assert (again.status_code, again.json()) == (200, first.json() | {"duplicate": True})
    assert file(catalogue, COUNTY, citizen, key, shop_name="另一家").status_code == 409


def test_words_are_found_in_any_width(catalogue: Network) -> None:
    with catalogue.client(COUNTY) as anybody:
        for words in ("０００１０１", "公共场所　卫生", "\u200b公共", "《公共场所卫生管理条例》", "公共场所\u202e"):
            answer = anybody.get("/items", params={"q": words})
            assert [item["code"] for item in answer.json()["items"]] == [ITEM], words


def test_a_hundred_filings_at_once_under_twenty_keys_make_twenty_cases(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-many")
    keys = [fresh_key() for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda key: file(catalogue, COUNTY, citizen, key), keys * 5))
    assert {answer.status_code for answer in answers} == {200, 201}
    assert sum(answer.status_code == 201 for answer in answers) == 20
    assert len({answer.json()["number"] for answer in answers}) == 20
    rows = catalogue.rows(COUNTY, "SELECT count(*) AS n FROM affairs.cases WHERE applicant = 'citizen-many'")
    assert rows[0]["n"] == 20


def test_a_poison_filing_is_refused_and_its_neighbours_are_filed(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-poison")
    poison = [
        b'{"item": "000101", "form": {"shop_name": "\\u0000"}, "applicant": {"name": "a", "phone": "13800000000"}}',
        b'{"item": "000101", "form": {"shop_name": "\\ud800"}, "applicant": {"name": "a", "phone": "13800000000"}}',
        b'{"item": "000101", "form": {"shop_name": "x"}, "applicant": {"name": "\\u0000", "phone": "13800000000"}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ]

    def send(content: bytes | None) -> int:
        if content is None:
            return file(catalogue, COUNTY, citizen).status_code
        with catalogue.client(COUNTY, citizen) as client:
            return client.post("/cases", content=content, headers={"Idempotency-Key": fresh_key()}).status_code

    with ThreadPoolExecutor(10) as pool:
        codes = list(pool.map(send, [*poison, *[None] * 10] * 3))
    assert codes == [*[422] * len(poison), *[201] * 10] * 3


def test_a_form_without_a_required_field_is_refused_by_name(catalogue: Network) -> None:
    answer = file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-form"), shop_name="")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"where": "body.form.shop_name", "what": "is required"}]
    assert file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-form"), kind="餐馆").status_code == 422


def test_a_countys_own_promise_and_refusal_to_offer_take_effect(catalogue: Network) -> None:
    with catalogue.client(NEIGHBOUR, catalogue.issuer.officer("chief", NEIGHBOUR.code, "administrator")) as chief:
        item = chief.put(f"/implementations/{ITEM}", json={"promised_working_days": 2, "department": "卫健局"}).json()
        assert (item["promised_working_days"], item["department"]) == (2, "卫健局")
        assert chief.put(f"/implementations/{ITEM}", json={"promised_working_days": 6}).status_code == 422
        assert chief.put(f"/implementations/{ITEM}", json={"offered": False}).json()["offered"] is False
        assert file(catalogue, NEIGHBOUR, catalogue.issuer.citizen("citizen-none")).status_code == 422
        assert chief.put(f"/implementations/{ITEM}", json={}).json()["promised_working_days"] == 5
    with catalogue.client(COUNTY, catalogue.issuer.officer("chief", NEIGHBOUR.code, "administrator")) as stranger:
        assert stranger.put(f"/implementations/{ITEM}", json={}).status_code == 403


def test_a_standard_that_is_shortened_later_shortens_a_countys_own_promise(catalogue: Network) -> None:
    def promised() -> int:
        return int(chief.get(f"/items/{ITEM}").json()["promised_working_days"])

    with (
        catalogue.client(PROVINCE, catalogue.issuer.operator()) as operator,
        catalogue.client(NEIGHBOUR, catalogue.issuer.officer("chief", NEIGHBOUR.code, "administrator")) as chief,
    ):
        assert chief.put(f"/implementations/{ITEM}", json={"promised_working_days": 4}).status_code == 200
        assert operator.put(f"/standards/{ITEM}", json=STANDARD | {"promised_working_days": 3}).status_code == 200
        wait_until(lambda: promised() == 3, 10, "the shorter promise reaches the county")
        assert chief.put(f"/implementations/{ITEM}", json={}).status_code == 200
        operator.put(f"/standards/{ITEM}", json=STANDARD)
        wait_until(lambda: promised() == 5, 10, "the standard is as it was")


def test_what_a_county_promised_before_the_rule_is_no_longer_than_the_standard(catalogue: Network) -> None:
    catalogue.postgres.run(
        f"INSERT INTO affairs.implementations VALUES ('{ITEM}', '{{\"promised_working_days\": 19}}', 'before') "
        "ON CONFLICT (code) DO UPDATE SET body = excluded.body",
        f"t{NEIGHBOUR.code}",
    )
    with catalogue.client(NEIGHBOUR) as anybody:
        assert anybody.get(f"/items/{ITEM}").json()["promised_working_days"] == STANDARD["promised_working_days"]


def test_what_is_blank_or_deceives_is_refused_by_the_api(catalogue: Network) -> None:
    citizen = catalogue.issuer.citizen("citizen-blank")
    for blank in ("　", "\u200b", " \n"):
        assert file(catalogue, COUNTY, citizen, shop_name=blank).status_code == 422
    number = accepted_case(catalogue, COUNTY, citizen)["number"]
    for reason in ("　", "\u200b", "见附件\u202e"):
        assert act(catalogue, COUNTY, number, "hand-over", {"to": CITY.code, "reason": reason}).status_code == 422
        assert act(catalogue, COUNTY, number, "outcome", {"result": "granted", "text": reason}).status_code == 422
    with catalogue.client(COUNTY, citizen) as client:
        for change in ({"phone": "0----"}, {"name": "张\n三"}, {"name": "张\u202e三"}, {"name": "\u3000"}):
            body = filing() | {"applicant": filing()["applicant"] | change}
            answer = client.post("/cases", json=body, headers={"Idempotency-Key": fresh_key()})
            assert answer.status_code == 422 and answer.json()["errors"], change


def test_a_new_tenant_gets_every_publication_again(catalogue: Network) -> None:
    catalogue.postgres.run("DELETE FROM affairs.standards", f"t{NEIGHBOUR.code}")
    with catalogue.client(PROVINCE, catalogue.issuer.operator()) as operator:
        answer = operator.post("/catalogue/replay", json={"tenant": NEIGHBOUR.code})
        assert answer.status_code == 200 and answer.json()["publications"] >= 1
    wait_until(lambda: offers(catalogue, NEIGHBOUR), 10, "the item is back")


def test_what_is_in_force_is_not_published_again(catalogue: Network) -> None:
    with catalogue.client(PROVINCE, catalogue.issuer.operator()) as operator:
        first, again = (operator.put(f"/standards/{ITEM}", json=STANDARD).json() for _ in range(2))
        assert again == first
        changed = operator.put(f"/standards/{ITEM}", json=STANDARD | {"fee": "10 元"}).json()
        assert changed["version"] == first["version"] + 1
    with catalogue.client(COUNTY) as anybody:

        def arrived() -> bool:
            return bool(anybody.get(f"/items/{ITEM}").json()["version"] == changed["version"])

        wait_until(arrived, 10, "the new version reaches the county")
    with catalogue.client(PROVINCE, catalogue.issuer.officer("chief", COUNTY.code, "administrator")) as stranger:
        assert stranger.put(f"/standards/{ITEM}", json=STANDARD).status_code == 403
    with catalogue.client(COUNTY, catalogue.issuer.operator()) as operator:
        assert operator.put(f"/standards/{ITEM}", json=STANDARD).status_code == 404
