"""What the look-up of progress adds to the site."""

from __future__ import annotations

from services.portal.area import Area, Door, Entry
from services.portal.areas.progress.pages import router

AREA = Area(
    router,
    entries=(Entry("进度查询", "/progress", 60, door=Door("progress", "凭编号和查询码，无需登录"), at_foot=True),),
)
