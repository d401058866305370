"""One item, and the calls with which people and clerks move a case."""

from __future__ import annotations

import secrets
from typing import Any

import httpx

from tests.integration.network import PLACES, PROVINCE, Network, Place
from tests.support.waiting import wait_until

ITEM = "000101"
STANDARD = {
    "name": "公共场所卫生许可",
    "basis": "《公共场所卫生管理条例》第四条",
    "levels": ["province", "city", "county"],
    "legal_working_days": 20,
    "promised_working_days": 5,
    "fields": [
        {"name": "shop_name", "label": "场所名称"},
        {"name": "kind", "label": "类别", "kind": "choice", "options": ["宾馆", "理发店"], "required": False},
    ],
}
FORM = {"shop_name": "湖畔理发店", "kind": "理发店"}


def publish(network: Network) -> None:
    """Publish the item at the province and wait until it has reached everybody."""
    with network.client(PROVINCE, network.issuer.operator()) as operator:
        assert operator.put(f"/standards/{ITEM}", json=STANDARD).status_code == 200
    for place in network.places:
        wait_until(lambda place=place: offers(network, place), 10, f"the item reaches {place.name}")  # type: ignore[misc]


def offers(network: Network, place: Place) -> bool:
    with network.client(place) as anybody:
        return anybody.get(f"/items/{ITEM}").status_code == 200


def filing(item: str = ITEM, **form: Any) -> dict[str, Any]:
    return {"item": item, "form": FORM | form, "applicant": {"name": "张三", "phone": "13800000000"}}


def fresh_key() -> str:
    return secrets.token_hex(12)


def file(network: Network, place: Place, citizen: str, key: str | None = None, **form: Any) -> httpx.Response:
    with network.client(place, citizen) as client:
        return client.post("/cases", json=filing(**form), headers={"Idempotency-Key": key or fresh_key()})


def act(network: Network, place: Place, number: str, action: str, body: dict[str, Any]) -> httpx.Response:
    with network.client(place, network.issuer.officer(f"clerk-{place.code}", place.code)) as clerk:
        return clerk.post(f"/cases/{number}/{action}", json=body)


def status_at(network: Network, place: Place, number: str) -> tuple[str, str] | None:
    rows = network.rows(place, f"SELECT status, holder FROM affairs.cases WHERE number = '{number}'")
    return (rows[0]["status"], rows[0]["holder"]) if rows else None


def holders(network: Network, number: str) -> list[str]:
    """The tenants that may act on a case now, read from every tenant's database."""
    codes = []
    for place in PLACES:
        state = status_at(network, place, number)
        if state and state[1] == place.code:
            codes.append(place.code)
    return codes


def hand_over(network: Network, here: Place, there: Place, number: str, reason: str = "按权限办理") -> None:
    answer = act(network, here, number, "hand-over", {"to": there.code, "reason": reason})
    assert answer.status_code == 200, answer.text
    wait_until(lambda: status_at(network, there, number) == ("accepted", there.code), 10, f"{there.name} holds it")
    wait_until(lambda: status_at(network, here, number) == ("accepted", there.code), 10, f"{here.name} knows")
    assert holders(network, number) == [there.code]


def accepted_case(network: Network, place: Place, citizen: str) -> dict[str, Any]:
    receipt = file(network, place, citizen)
    assert receipt.status_code == 201, receipt.text
    answer = act(network, place, receipt.json()["number"], "acceptance", {"accepted": True})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = receipt.json()
    return document
