"""The parts of filing that need no database."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.affairs.catalogue import in_force
from services.affairs.filing import Draft, check_form, digest
from services.affairs.forms import USUAL_FIELDS
from services.affairs.numbers import check_code_hash
from services.affairs.schema import (
    AcceptanceRequest,
    Applicant,
    FilingRequest,
    FormField,
    HandOverRequest,
    Item,
    Limits,
    OutcomeRequest,
    Snapshot,
    Standard,
    StandardRequest,
)
from services.kernel.problems import Problem
from services.kernel.tenancy import Tenant
from services.kernel.tokens import Principal
from services.kernel.typed import KEPT
from services.portal.areas.filing.forms import filing as filing_form
from tests.unit.services.test_kernel import TENANT

ITEM = Item(
    code="000101",
    version=3,
    name="公共场所卫生许可",
    kind="行政许可",
    basis="《公共场所卫生管理条例》第四条",
    levels=["county"],
    department="",
    legal_working_days=20,
    standard_promised_working_days=5,
    promised_working_days=5,
    materials=[],
    materials_note="",
    fields=[
        FormField(name="shop_name", label="场所名称"),
        FormField(name="kind", label="类别", kind="choice", options=["宾馆"], required=False),
    ],
    fee="",
    fee_note="",
    offered=True,
)


FULL_ITEM = ITEM.model_copy(
    update={
        "fields": [
            *ITEM.fields,
            FormField(name="rooms", label="房间数", kind="number", required=False),
            FormField(name="begins", label="开业日期", kind="date", required=False),
            FormField(name="more", label="说明", kind="long_text", required=False),
        ]
    }
)


BLANKS = ["", " ", "\u3000", "\u200b", "\u200b \ufeff", "\u3164", "\n\t"]
TYPED = st.text(max_size=12) | st.sampled_from(
    [
        "",
        "　",
        "宾馆",
        " 宾馆",
        "餐馆",
        "１２",
        "-3.50",
        "1e3",
        "2026-11-24",
        "２０２６-１１-２４",
        "a\r\nb",
        "a\u202eb",
        "长" * 130,
    ]
)
PHONES = st.sampled_from(["138０0000000", "+86 138 0000 0000", "0571-87654321", "00852 9123 4567"])


def request(spaced: bool = False, name: str = "张三", phone: str = "13800000000", **form: Any) -> FilingRequest:
    body = {"item": "000101", "form": form, "applicant": {"name": name, "phone": phone}}
    return FilingRequest.model_validate_json(json.dumps(body, indent=4 if spaced else None))


def test_the_message_to_the_index_is_a_snapshot_and_tells_nothing_of_the_form() -> None:
    person = Principal("person", "330106", frozenset(), 0.0)
    now = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)  # already the next day in Shanghai
    draft = Draft(
        Tenant(**TENANT),
        person,
        "key-0001",
        request(shop_name="湖畔"),
        b"{}",
        ITEM,
        "1" * 22,
        check_code_hash("X"),
        now,
    )
    arguments = draft.arguments()
    snapshot = Snapshot.model_validate_json(arguments[-1])
    assert (snapshot.status, snapshot.holder, snapshot.applicant) == ("filed", "330106", "person")
    assert "湖畔" not in arguments[-1] and "13800000000" not in arguments[-1]
    assert arguments[13].isoformat() == "2026-12-02"


@given(name=TYPED, phone=TYPED | PHONES, reason=TYPED)
def test_what_is_taken_fits_the_document_and_a_blank_does_not(name: str, phone: str, reason: str) -> None:
    applicant, hand_over = Applicant.model_json_schema(), HandOverRequest.model_json_schema()
    with suppress(ValidationError):
        jsonschema.validate(Applicant(name=name, phone=phone).model_dump(), applicant)
    with suppress(ValidationError):
        jsonschema.validate(HandOverRequest(to="330100", reason=reason).model_dump(), hand_over)
    for blank in BLANKS:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"to": "330100", "reason": blank}, hand_over)


def told_apart_by(sent: FilingRequest, item: Item = FULL_ITEM) -> bytes:
    return digest(sent, check_form(item, sent))


def test_the_same_content_has_the_same_digest_and_any_change_another() -> None:
    same = told_apart_by(request(shop_name="a"))
    assert told_apart_by(request(spaced=True, shop_name="a")) == same
    changes: list[dict[str, Any]] = [
        {"shop_name": "b"},
        {"kind": "宾馆"},
        {"rooms": 1},
        {"name": "李四"},
        {"phone": "13800000001"},
    ]
    others = {told_apart_by(request(**{"shop_name": "a"} | change)) for change in changes}
    assert len(others | {same}) == len(changes) + 1


@given(order=st.permutations(["shop_name", "kind", "rooms", "begins", "more"]))
def test_the_order_of_members_is_no_content(order: list[str]) -> None:
    form: dict[str, Any] = {"shop_name": "a", "kind": "宾馆", "rooms": 12.5, "begins": "2026-11-24", "more": "一\n二"}
    fields = [next(field for field in FULL_ITEM.fields if field.name == name) for name in order]
    reordered = FULL_ITEM.model_copy(update={"fields": fields})  # nor is that of the item's fields
    sent = request(**{name: form[name] for name in order})
    assert told_apart_by(sent, reordered) == told_apart_by(request(**form))


def test_the_same_said_in_other_signs_is_the_same_request() -> None:
    first = request(shop_name="湖畔理发店 1", kind="宾馆")
    again = request(kind="宾馆", shop_name="　湖畔理发店 １\u200b", phone="+86 138-0000-0000", name="张三 ")
    assert told_apart_by(first) == told_apart_by(again)
    whole, pointed = (request(shop_name="a", rooms=rooms) for rooms in (35, 35.0))
    assert told_apart_by(whole) == told_apart_by(pointed)


@pytest.mark.parametrize(
    ("form", "field"),
    [({}, "shop_name"), ({"shop_name": ""}, "shop_name"), ({"shop_name": "a", "kind": "餐馆"}, "kind")],
)
def test_a_form_that_does_not_fit_names_its_field(form: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as refused:
        check_form(ITEM, request(**form))
    assert refused.value.status == 422 and refused.value.errors[0]["where"] == f"body.form.{field}"


def test_a_form_that_fits_passes() -> None:
    check_form(ITEM, request(shop_name="a", kind="宾馆"))


def test_what_the_item_does_not_ask_for_is_refused_rather_than_kept_unread() -> None:
    with pytest.raises(Problem) as refused:
        check_form(ITEM, request(shop_name="a", more="unread"))
    assert refused.value.errors == [{"where": "body.form.more", "what": "is not a field of this item"}]


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
def test_blanks_are_no_answer_to_a_required_field_and_no_name(blank: str) -> None:
    with pytest.raises(Problem):
        check_form(ITEM, request(shop_name=blank))
    with pytest.raises(ValidationError):
        request(shop_name="a", name=blank)
    for kind, content in (
        (HandOverRequest, {"to": "330100", "reason": blank}),
        (OutcomeRequest, {"result": "granted", "text": blank}),
        (AcceptanceRequest, {"accepted": False, "reason": blank}),
    ):
        with pytest.raises(ValidationError):
            kind.model_validate(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rooms", "abc"),
        ("rooms", True),
        ("rooms", "1e9"),
        ("rooms", 1e300),
        ("rooms", 10**400),
        ("rooms", [1]),
        ("rooms", "5²"),
        ("begins", "2026-02-30"),
        ("begins", 20261124),
        ("kind", "餐馆"),
        ("kind", ["宾馆"]),
        ("shop_name", {"a": 1}),
        ("shop_name", 7),
        ("shop_name", "店\u202e名"),
        ("shop_name", "长" * 121),
        ("more", "a\u2066b"),
        ("more", "a\u0007b"),
    ],
    ids=ascii,
)
def test_a_value_that_is_no_answer_is_refused_at_its_field(name: str, value: Any) -> None:
    with pytest.raises((Problem, ValidationError)) as refused:
        check_form(FULL_ITEM, request(**{"shop_name": "a", name: value}))
    if isinstance(refused.value, Problem):
        assert refused.value.errors[0]["where"] == f"body.form.{name}"


@pytest.mark.parametrize("phone", ["0----", "0", "12345", "138000", "1380000000000", "+", "电话"])
def test_a_phone_is_a_phone(phone: str) -> None:
    with pytest.raises(ValidationError):
        request(phone=phone)


@pytest.mark.parametrize("name", ["张\n三", "张\u202e三", "\u202e", "张\x00三", "张\u2028三"], ids=ascii)
def test_a_name_deceives_nobody(name: str) -> None:
    with pytest.raises(ValidationError):
        request(name=name)


@given(
    form=st.dictionaries(st.sampled_from([field.name for field in FULL_ITEM.fields]), TYPED),
    name=TYPED,
    phone=TYPED | PHONES,
)
def test_page_and_api_take_the_same_and_make_the_same_of_it(form: dict[str, str], name: str, phone: str) -> None:
    page, errors = filing_form(FULL_ITEM, {"name": name, "phone": phone} | {f"form-{key}": form[key] for key in form})
    try:
        sent = FilingRequest.model_validate(
            {"item": "000101", "form": form, "applicant": {"name": name, "phone": phone}}
        )
        kept = check_form(FULL_ITEM, sent)
    except (Problem, ValidationError):
        assert page is None and errors
    else:
        assert page is not None and page.applicant == sent.applicant
        assert told_apart_by(page) == digest(sent, kept)


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\\\x00"])
def test_nul_is_refused_wherever_it_is(text: str) -> None:
    for form in ({"more": text}, {text: "a"}, {"more": [{"b": text}]}):
        with pytest.raises(Problem):
            check_form(FULL_ITEM, request(**{"shop_name": "a"} | form))


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "\\"])
def test_text_that_only_looks_like_nul_is_kept(text: str) -> None:
    kept = check_form(FULL_ITEM, request(shop_name="a", more=text))
    assert json.loads(kept)["more"] == text


def test_a_form_has_a_largest_size() -> None:
    fields = [FormField(name=f"field{number}", label="x", kind="long_text", required=False) for number in range(50)]
    item = ITEM.model_copy(update={"fields": fields})
    form: dict[str, Any] = {field.name: "长" * 1000 for field in fields}
    assert check_form(item, request(**dict(list(form.items())[:20])))
    with pytest.raises(Problem):
        check_form(item, request(**form))


def test_what_was_kept_before_a_rule_is_still_read() -> None:
    """A database holds what was taken when it came in; a stricter rule must not close the catalogue."""
    kept = {"name": "旧\u202e名", "basis": "\u3000", "levels": ["county"], "legal_working_days": 20}
    kept |= {
        "promised_working_days": 7,
        "fields": [{"name": "kind", "label": " ", "kind": "choice", "options": ["Ａ类"]}],
    }
    with pytest.raises(ValidationError):
        StandardRequest.model_validate(kept)
    standard = Standard.model_validate(
        kept | {"code": "A", "version": 1, "published_at": datetime.now(UTC)}, context=KEPT
    )
    item = in_force(
        {"standard": standard.model_dump_json(), "implementation": '{"department": "\u200b"}'},
        Tenant.model_validate(TENANT),
    )
    assert (item.name, item.department) == ("旧\u202e名", "\u200b")
    again = Item.model_validate_json(item.model_dump_json(), context=KEPT)
    assert json.loads(check_form(again, request(kind="Ａ类"))) == {"kind": "Ａ类"}


@pytest.mark.parametrize(("standard", "own", "promised"), [(7, None, 7), (7, 19, 7), (7, 5, 5), (3, 5, 3), (7, 0, 0)])
def test_what_a_tenant_promises_is_never_longer_than_the_standard(
    standard: int, own: int | None, promised: int
) -> None:
    body = {"name": "x", "basis": "x", "levels": ["county"], "legal_working_days": 20} | {
        "promised_working_days": standard,
        "code": "A",
        "version": 1,
        "published_at": "2026-01-01T00:00:00Z",
    }
    row = {"standard": json.dumps(body), "implementation": json.dumps({"promised_working_days": own})}
    item = in_force(row, Tenant.model_validate(TENANT))
    assert (item.promised_working_days, item.standard_promised_working_days) == (promised, standard)
    assert item.fields == USUAL_FIELDS


def test_a_case_says_which_of_its_limits_holidays_may_still_move() -> None:
    limits = Limits(accept_by=date(2026, 12, 1), due=date(2090, 1, 9)).model_dump()
    assert (limits["accept_by_provisional"], limits["due_provisional"]) == (False, True)
    assert not Limits(accept_by=date(2026, 12, 1), due=None).due_provisional


def test_levels_are_a_set() -> None:
    body = {"name": "x", "basis": "x", "legal_working_days": 20, "promised_working_days": 7}
    standard, other_standard = (
        StandardRequest.model_validate(body | {"levels": levels})
        for levels in (["county", "province"], ["province", "county", "county"])
    )
    assert standard == other_standard
