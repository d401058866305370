"""The screen of a telephone: what people would get, in environments whose messages reach nobody."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import HTMLResponse

from services.kernel.calendar import SHANGHAI
from services.kernel.notices import LocalCarrier
from services.kernel.problems import NotFound
from services.kernel.typed import PHONE, phone
from services.pages.frame import Frame
from services.pages.render import Pages


async def telephone_screen(request: Request, pages: Pages, frame: Frame, number: str) -> HTMLResponse:
    """Raises NotFound for what is no number, and wherever messages are not kept to be shown."""
    carrier = request.app.state.kernel.carrier
    number = phone(number)
    if not isinstance(carrier, LocalCarrier) or not re.fullmatch(PHONE, number):
        raise NotFound()
    messages = [
        (message.at.astimezone(SHANGHAI).strftime("%m-%d %H:%M"), message.text)
        for message in await carrier.received(number)
    ]
    return pages.page(request, "telephone.html", frame, number=number, messages=messages)
