"""What the desk adds to the site."""

from __future__ import annotations

from services.portal.area import Area, Entry, Missing
from services.portal.areas.desk.pages import router

AREA = Area(
    router,
    entries=(Entry("办件台", "/desk", 20, office="clerk"),),
    missing={
        "desk": Missing(
            "没有找到这个办件",
            "请核对办件编号。办件台上只有在本地区提交的和流转到本地区的办件。",
            "/desk",
            "回到办件台",
        )
    },
    keeps_forms=frozenset({"desk"}),
)
