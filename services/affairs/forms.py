"""An item's form, checked by one function for whoever sends it: the page and the API."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from services.affairs.schema import FormField
from services.kernel import typed

Value = str | int | float
Fault = Literal["missing", "too_long", "not_text", "unfit", "not_a_number", "not_a_date", "not_an_option", "no_field"]

NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
LONGEST = {"text": 120, "long_text": 1000, "number": 20, "date": 10, "choice": 64}
READ: dict[str, Callable[[str], str]] = {"number": typed.number, "date": typed.number, "choice": typed.line}

# An item whose standard names no fields asks for these.
USUAL_FIELDS = [
    FormField(name="address", label="地址", hint="经营场所、项目所在地或居住地"),
    FormField(name="content", label="申请事由", kind="long_text", hint="写明要办什么、用在哪里"),
]


@dataclass(frozen=True)
class Wrong:
    """What is wrong with one member of a form. `field` is the item's, None where it has no such field."""

    name: str
    fault: Fault
    field: FormField | None = None


def read(fields: Sequence[FormField], given: Mapping[str, object]) -> tuple[dict[str, Value], list[Wrong]]:
    """The form as it is kept, its members in the order of their names, and what is wrong with it."""
    fields_by_name = {field.name: field for field in fields}
    wrong = [Wrong(name, "no_field") for name in given if name not in fields_by_name]
    kept: dict[str, Value] = {}
    for name, field in sorted(fields_by_name.items()):
        value, fault = _value(field, given.get(name))
        if fault:
            wrong.append(Wrong(name, fault, field))
        elif value != "":
            kept[name] = value
    return kept, wrong


def _value(field: FormField, given: object) -> tuple[Value, Fault | None]:
    if given is None:
        given = ""
    if field.kind == "number" and isinstance(given, int | float) and not isinstance(given, bool):
        return _number(given)
    if not isinstance(given, str):
        return "", "not_a_number" if field.kind == "number" else "not_text"
    if given in field.options:
        return given, None
    try:
        value = READ.get(field.kind, typed.lines)(given)
    except typed.Unfit:
        return "", "unfit"
    return value, _fault(field, value)


def _number(given: int | float) -> tuple[Value, Fault | None]:
    """A number of JSON stays one; 35.0 is 35."""
    if not abs(given) < 10**15:  # so that infinity and what is no number fail, too
        return "", "not_a_number"
    value = int(given) if given == int(given) else given
    return value, None if NUMBER.fullmatch(str(value)) else "not_a_number"


def _fault(field: FormField, value: str) -> Fault | None:
    if not value:
        return "missing" if field.required else None
    if len(value) > LONGEST[field.kind]:
        return "too_long"
    if field.kind == "number" and not NUMBER.fullmatch(value):
        return "not_a_number"
    if field.kind == "date" and not _is_date(value):
        return "not_a_date"
    if field.options and value not in field.options:
        return "not_an_option"
    return None


def _is_date(value: str) -> bool:
    try:
        return date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False
