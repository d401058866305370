"""What stands in a page's address: known to be a number or a code before it becomes part of another address."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends

from services.kernel import typed
from services.kernel.problems import NotFound

ITEM_CODE = re.compile(r"[A-Za-z0-9-]{1,40}")


async def case_number(number: str) -> str:
    number = typed.case_number(number)
    if not re.fullmatch(typed.CASE_NUMBER, number):
        raise NotFound("No such case.")
    return number


async def item_code(code: str) -> str:
    code = typed.compact(code)
    if not ITEM_CODE.fullmatch(code):
        raise NotFound("No such item.")
    return code


NumberInPath = Annotated[str, Depends(case_number)]
CodeInPath = Annotated[str, Depends(item_code)]
