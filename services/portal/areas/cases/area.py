"""What a person's cases add to the site."""

from __future__ import annotations

from services.portal.area import Area, Door, Entry, Missing
from services.portal.areas.cases.pages import router

AREA = Area(
    router,
    entries=(Entry("我的办件", "/cases", 50, door=Door("cases", "各市县的办件都在这里")),),
    missing={
        "cases": Missing(
            "没有找到这个办件",
            "请核对办件编号。办件只有申请人本人登录后才能打开：用别的账号提交的，请换那个账号登录；"
            "有查询码的，可以在“进度查询”里查看进度。",
            "/cases",
            "我的办件",
        )
    },
)
