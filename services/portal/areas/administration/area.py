"""What the administration of items adds to the site."""

from __future__ import annotations

from services.portal.area import Area, Entry, Missing
from services.portal.areas.administration.pages import router

AREA = Area(
    router,
    entries=(Entry("事项管理", "/administration", 30, office="administrator"),),
    missing={
        "administration": Missing("没有找到这个事项", "请从事项列表里打开要管理的事项。", "/administration", "事项管理")
    },
    keeps_forms=frozenset({"administration"}),
)
