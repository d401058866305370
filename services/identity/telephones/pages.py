"""What a telephone got from identity; nothing is there (404) unless `YIWANG_SHOW_TELEPHONES` says so."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.identity.errors import PageRoute
from services.identity.parts import CurrentIdentity
from services.pages.telephone import telephone_screen

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/telephone/{number}")
async def telephone(number: str, request: Request, identity: CurrentIdentity) -> Response:
    return await telephone_screen(request, identity.site.pages, identity.site.frame(), number)
