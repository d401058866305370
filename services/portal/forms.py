"""What people type into the portal's forms, checked before it goes on. Each reading gives the request, or what is
wrong with each field in words for the person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date

from services.affairs.schema import Applicant, FilingRequest, FormField, ImplementationRequest, Item

Errors = dict[str, str]

PHONE = re.compile(r"^(1[3-9]\d{9}|0\d{2,3}-?\d{7,8})$")
NUMBER = re.compile(r"^-?\d{1,15}(\.\d{1,6})?$")
LONGEST = {"text": 120, "long_text": 1000, "number": 20, "date": 10, "choice": 64}
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# An item whose standard names no fields asks for these.
USUAL_FIELDS = [
    FormField(name="address", label="地址", hint="经营场所、项目所在地或居住地"),
    FormField(name="content", label="申请事由", kind="long_text", hint="写明要办什么、用在哪里"),
]


def fields_of(item: Item) -> list[FormField]:
    return item.fields or USUAL_FIELDS


def filing(item: Item, typed: Mapping[str, str]) -> tuple[FilingRequest | None, Errors]:
    """An application as it is sent on. A field's name on the page is `form-` and its own."""
    errors: Errors = {}
    name, phone = _clean(typed.get("name", "")), _clean(typed.get("phone", "")).replace(" ", "")
    if not 1 <= len(name) <= 64:
        errors["name"] = "请填写姓名或名称，64 字以内"
    if not PHONE.fullmatch(phone):
        errors["phone"] = "请填写 11 位手机号，或带区号的电话"
    form: dict[str, str] = {}
    for field in fields_of(item):
        value = _clean(typed.get(f"form-{field.name}", ""))
        if error := _wrong(field, value):
            errors[f"form-{field.name}"] = error
        elif value:
            form[field.name] = value
    if errors:
        return None, errors
    return FilingRequest(item=item.code, form=dict(form), applicant=Applicant(name=name, phone=phone)), {}


def implementation(item: Item, typed: Mapping[str, str]) -> tuple[ImplementationRequest | None, Errors]:
    """What a tenant sets for an item; an empty field keeps the standard's value."""
    errors: Errors = {}
    department, days = _clean(typed.get("department", "")), _clean(typed.get("promised_working_days", ""))
    materials_note, fee_note = _clean(typed.get("materials_note", "")), _clean(typed.get("fee_note", ""))
    if len(department) > 64:
        errors["department"] = "部门名称 64 字以内"
    if days and not (days.isascii() and days.isdecimal() and int(days) <= item.legal_working_days):
        errors["promised_working_days"] = f"请填 0 到 {item.legal_working_days} 之间的整数，不得超过法定期限"
    for name, text in (("materials_note", materials_note), ("fee_note", fee_note)):
        if len(text) > 500:
            errors[name] = "500 字以内"
    if errors:
        return None, errors
    request = ImplementationRequest(
        offered=typed.get("offered") != "no",
        department=department,
        promised_working_days=int(days) if days else None,
        materials_note=materials_note,
        fee_note=fee_note,
    )
    return request, {}


def _wrong(field: FormField, value: str) -> str | None:
    if not value:
        verb = "选择" if field.kind == "choice" else "填写"
        return f"请{verb}{field.label}" if field.required else None
    if len(value) > LONGEST[field.kind]:
        return f"{field.label}请在 {LONGEST[field.kind]} 字以内"
    if field.kind == "number" and not NUMBER.fullmatch(value):
        return f"{field.label}请填数字"
    if field.kind == "date" and not _is_date(value):
        return f"{field.label}请填日期，例如 2026-11-24"
    if field.kind == "choice" and value not in field.options:
        return f"请选择{field.label}"
    return None


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _clean(text: str) -> str:
    return UNPRINTABLE.sub("", text.replace("\r\n", "\n")).strip()
