"""A citizen: searches an item, reads it, files a case, looks at it, and at all of their cases."""

from __future__ import annotations

import time
import uuid
from datetime import date
from typing import Any
from urllib.parse import quote

from loadtests.cases import INDEXED_SECONDS, OpenCase, not_indexed
from loadtests.companions import Companions
from loadtests.rehearsal import Kit, KitItem, KitTenant
from loadtests.visit import Visit, expect
from services.affairs.numbers import is_case_number
from services.affairs.schema import CaseView, FilingReceipt, FormField, Item, Items
from services.query.schema import CasePage

PHONE = "13800000000"


def walk(companions: Companions, tenant: KitTenant) -> None:
    """The steps in their order. From then on the case may wait for a clerk."""
    share, visit = companions.share, companions.citizen()
    if share.log_in == "each":
        visit.log_in(tenant, keep=False)
    wanted = companions.draw.choice(tenant.items)
    if "search" not in share.without:
        search(visit, tenant, wanted)
    item = show_item(visit, tenant, wanted)
    case, form = file(visit, tenant, item)
    if "case" not in share.without:
        show_case(visit, tenant, case, form)
    if "query" not in share.without:
        my_cases(visit, companions.kit, tenant)
    companions.cases.add(tenant.code, case)


def search(visit: Visit, tenant: KitTenant, wanted: KitItem) -> None:
    words = wanted.name[:4]

    def check(matches: Items) -> None:
        expect(
            any(item.code == wanted.code for item in matches.items),
            f"a search for its name does not find {wanted.code}",
        )
        for item in matches.items:
            expect(
                any(words in text for text in (item.name, item.code, item.basis)),
                f"found {item.code} without the words",
            )
            expect(item.offered, f"found {item.code}, which is not offered")

    visit.step("search", tenant, "GET", f"{tenant.url}/api/affairs/items?q={quote(words)}", Items, check)


def show_item(visit: Visit, tenant: KitTenant, wanted: KitItem) -> Item:
    def check(item: Item) -> None:
        expect(item.code == wanted.code and item.name == wanted.name, "another item")
        expect(tenant.level in item.levels, f"an item that a {tenant.level} does not carry out")

    item = visit.step("item", tenant, "GET", f"{tenant.url}/api/affairs/items/{wanted.code}", Item, check)
    assert item is not None
    return item


def file(visit: Visit, tenant: KitTenant, item: Item) -> tuple[OpenCase, dict[str, Any]]:
    name = visit.visitor.person.name
    form = {field.name: _value(field) for field in item.fields}

    def check(receipt: FilingReceipt) -> None:
        expect(is_case_number(receipt.number), "a number whose check digit is wrong")
        expect(receipt.number[:6] == tenant.code, f"a number of tenant {receipt.number[:6]}")
        expect(not receipt.duplicate, "called a duplicate under a new key")

    receipt = visit.step(
        "file",
        tenant,
        "POST",
        f"{tenant.url}/api/affairs/cases",
        FilingReceipt,
        check,
        allowed=(201,),
        json={"item": item.code, "form": form, "applicant": {"name": name, "phone": PHONE}},
        headers={"Idempotency-Key": uuid.uuid4().hex},
    )
    assert receipt is not None
    visit.visitor.remember(receipt.number, item.code)
    return OpenCase(receipt.number, item.code, name), form


def show_case(visit: Visit, tenant: KitTenant, case: OpenCase, form: dict[str, Any]) -> None:
    def check(view: CaseView) -> None:
        expect(view.number == case.number and view.item == case.item, "another case")
        expect(view.status == "filed" and view.holder == tenant.code, f"{view.status} at {view.holder}")
        expect(view.form == form and view.applicant_name == case.applicant_name, "not the form that was sent")
        expect(not view.traces and not view.actions, "shows an applicant what is for clerks")

    visit.step("case", tenant, "GET", f"{tenant.url}/api/affairs/cases/{case.number}", CaseView, check)


def my_cases(visit: Visit, kit: Kit, tenant: KitTenant) -> None:
    """The index follows the filing: what was filed a while ago must be there, and nothing may be told differently."""
    filed = dict(visit.visitor.filed)
    began = time.monotonic()

    def check(page: CasePage) -> None:
        listed = {case.number: case for case in page.cases}
        for number, case in listed.items():
            expect(case.tenant == number[:6], "a case listed under another tenant")
            expect(number not in filed or case.item == filed[number][1], "a case listed with another item")
        lost = not_indexed(filed, listed, began)
        expect(not lost, f"a case filed over {INDEXED_SECONDS:g} s ago is not in the index")

    visit.step("query", tenant, "GET", f"{kit.query}/api/query/cases", CasePage, check)


def _value(field: FormField) -> str | float:
    match field.kind:
        case "choice":
            return field.options[0] if field.options else "其他"
        case "number":
            return 12.5
        case "date":
            return date.today().isoformat()
        case _:
            return "演练填写"
