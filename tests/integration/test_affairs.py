"""A case's way through three tenants on two application hosts, over real HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from services.affairs.numbers import is_case_number
from tests.integration.filings import (
    FORM,
    ITEM,
    STANDARD,
    accepted_case,
    act,
    file,
    fresh_key,
    hand_over,
    holders,
    offers,
    status_at,
)
from tests.integration.network import CITY, COUNTY, NEIGHBOUR, PROVINCE, Network
from tests.waiting import wait_until


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
    assert holders(catalogue, number) == [CITY.code]


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
            SET ROLE t{COUNTY.code}_app;
            DO $$ BEGIN {attempt}; RAISE 'not denied'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"""
        catalogue.postgres.run(denied, f"t{COUNTY.code}")


def test_a_declined_case_ends_and_needs_a_reason(catalogue: Network) -> None:
    number = file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-declined")).json()["number"]
    assert act(catalogue, COUNTY, number, "acceptance", {"accepted": False}).status_code == 422
    declined = act(catalogue, COUNTY, number, "acceptance", {"accepted": False, "reason": "不属于本机关职权范围"})
    assert declined.json()["status"] == "declined"
    assert act(catalogue, COUNTY, number, "acceptance", {"accepted": True}).status_code == 409


def test_the_same_key_gives_the_same_case_and_another_body_conflicts(catalogue: Network) -> None:
    citizen, key = catalogue.issuer.citizen("citizen-key"), fresh_key()
    first, again = (file(catalogue, COUNTY, citizen, key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"duplicate": True}
    assert file(catalogue, COUNTY, citizen, key, shop_name="另一家").status_code == 409
    other_person = file(catalogue, COUNTY, catalogue.issuer.citizen("citizen-other"), key)
    assert other_person.status_code == 201 and other_person.json()["number"] != first.json()["number"]


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
        assert chief.put(f"/implementations/{ITEM}", json={"promised_working_days": 21}).status_code == 422
        assert chief.put(f"/implementations/{ITEM}", json={"offered": False}).json()["offered"] is False
        assert file(catalogue, NEIGHBOUR, catalogue.issuer.citizen("citizen-none")).status_code == 422
        assert chief.put(f"/implementations/{ITEM}", json={}).json()["promised_working_days"] == 5
    with catalogue.client(COUNTY, catalogue.issuer.officer("chief", NEIGHBOUR.code, "administrator")) as stranger:
        assert stranger.put(f"/implementations/{ITEM}", json={}).status_code == 403


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
