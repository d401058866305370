"""What an administrator types about an item, checked before it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from services.affairs.schema import ImplementationRequest, Item
from services.kernel import typed
from services.portal.visit import Errors

LOCAL_TEXTS: dict[str, tuple[str, int, Callable[[str], str]]] = {
    "department": ("部门名称", 64, typed.line),
    "materials_note": ("材料说明", 500, typed.lines),
    "fee_note": ("收费说明", 500, typed.lines),
}


def implementation(item: Item, typed_in: Mapping[str, str]) -> tuple[ImplementationRequest | None, Errors]:
    """What a tenant sets for an item; an empty field keeps the standard's value."""
    errors: Errors = {}
    days, most = typed.number(typed_in.get("promised_working_days", "")), item.standard_promised_working_days
    if days and not (days.isascii() and days.isdecimal() and len(days) <= 3 and int(days) <= most):
        errors["promised_working_days"] = f"请填 0 到 {most} 之间的整数：只能缩短标准的承诺期限"
    texts = {}
    for name, (words, longest, read) in LOCAL_TEXTS.items():
        try:
            texts[name] = read(typed_in.get(name, ""))
        except typed.Unfit:
            errors[name] = f"{words}含有看不见的控制字符，请重新输入"
            continue
        if len(texts[name]) > longest:
            errors[name] = f"{words} {longest} 字以内"
    if errors:
        return None, errors
    request = ImplementationRequest(
        offered=typed_in.get("offered") != "no", promised_working_days=int(days) if days else None, **texts
    )
    return request, {}
