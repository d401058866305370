"""The parts of filing that need no database."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from services.affairs.filing import Draft, check_form, digest
from services.affairs.numbers import check_code_hash
from services.affairs.schema import FilingRequest, FormField, Item, Snapshot
from services.kernel.problems import Problem
from services.kernel.tenancy import Tenant
from services.kernel.tokens import Principal
from tests.unit.test_kernel import TENANT

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


def request(spaced: bool = False, **form: Any) -> FilingRequest:
    body = {"item": "000101", "form": form, "applicant": {"name": "张三", "phone": "13800000000"}}
    return FilingRequest.model_validate_json(json.dumps(body, indent=4 if spaced else None))


def test_the_message_to_the_index_is_a_snapshot_and_tells_nothing_of_the_form() -> None:
    person = Principal("person", "330106", frozenset(), 0.0)
    now = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)  # already the next day in Shanghai
    draft = Draft(
        Tenant(**TENANT), person, "key-0001", request(shop_name="湖畔"), ITEM, "1" * 22, check_code_hash("X"), now
    )
    arguments = draft.arguments()
    snapshot = Snapshot.model_validate_json(arguments[-1])
    assert (snapshot.status, snapshot.holder, snapshot.applicant) == ("filed", "330106", "person")
    assert "湖畔" not in arguments[-1] and "13800000000" not in arguments[-1]
    assert arguments[13].isoformat() == "2026-12-02"


def test_the_same_content_has_the_same_digest_and_any_change_another() -> None:
    same = digest(request(shop_name="a"))
    assert digest(request(spaced=True, shop_name="a")) == same
    assert digest(request(shop_name="b")) != same and digest(request(shop_name="a", kind="宾馆")) != same


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
    check_form(ITEM, request(shop_name="a", more="is kept"))


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\\\x00"])
def test_nul_is_refused_wherever_it_is(text: str) -> None:
    for form in ({"a": text}, {text: "a"}, {"a": [{"b": text}]}):
        with pytest.raises(ValidationError):
            request(**form)


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "\\"])
def test_text_that_only_looks_like_nul_is_kept(text: str) -> None:
    assert request(a=text).form == {"a": text}


def test_a_form_has_a_largest_size() -> None:
    with pytest.raises(ValidationError):
        request(a="x" * 65536)
