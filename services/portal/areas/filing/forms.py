"""What a person types into an item's form, checked before it goes on: the request, or what is wrong with each field."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from services.affairs import forms
from services.affairs.schema import Applicant, FilingRequest, Item
from services.portal.visit import Errors

APPLICANT = {
    "name": "请填写姓名或名称，64 字以内，不含控制字符",
    "phone": "请填写 11 位手机号、带区号的电话，或以 + 和国家（地区）代码开头的号码",
}


def filing(item: Item, typed_in: Mapping[str, str]) -> tuple[FilingRequest | None, Errors]:
    """An application as it is sent on. A field's name on the page is `form-` and its own."""
    form, wrong = forms.read(item.fields, {field.name: typed_in.get(f"form-{field.name}") for field in item.fields})
    told = {mistake.name: _words(mistake) for mistake in wrong}
    errors = {f"form-{field.name}": told[field.name] for field in item.fields if field.name in told}
    try:
        applicant = Applicant(name=typed_in.get("name", ""), phone=typed_in.get("phone", ""))
    except ValidationError as error:
        return None, {str(fault["loc"][0]): APPLICANT[str(fault["loc"][0])] for fault in error.errors()} | errors
    if errors:
        return None, errors
    return FilingRequest(item=item.code, form=dict(form), applicant=applicant), {}


def _words(wrong: forms.Wrong) -> str:
    """What is wrong with a field, for the person."""
    assert wrong.field is not None, "only the item's fields are on the page"
    label, choice = wrong.field.label, wrong.field.kind == "choice"
    words: dict[forms.Fault, str] = {
        "missing": f"请{'选择' if choice else '填写'}{label}",
        "too_long": f"{label}请在 {forms.LONGEST[wrong.field.kind]} 字以内",
        "unfit": f"{label}含有看不见的控制字符，请重新输入",
        "not_a_number": f"{label}请填数字",
        "not_a_date": f"{label}请填日期，例如 2026-11-24",
        "not_an_option": f"请选择{label}",
    }
    return words[wrong.fault]
