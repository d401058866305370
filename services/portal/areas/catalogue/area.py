"""What the catalogue adds to the site."""

from __future__ import annotations

from services.portal.area import Area, Door, Entry, Missing
from services.portal.areas.catalogue.pages import router

AREA = Area(
    router,
    entries=(
        Entry("首页", "/", 0),
        Entry("办事服务", "/items", 40, door=Door("services", "查依据、材料、期限，在线申请")),
        Entry("切换地区", "/places", 90, at_foot=True),
    ),
    missing={
        "items": Missing(
            "没有找到这个事项",
            "网址里的事项编码可能有误，或者这个事项不在省里发布的清单中。请按名称搜索。",
            "/items",
            "全部事项",
        )
    },
)
