"""What filing adds to the site: no entry, its pages hang on an item's."""

from __future__ import annotations

from services.portal.area import Area
from services.portal.areas.filing.pages import router

AREA = Area(
    router,
    words={
        "item-not-offered": (
            "本地区暂不受理这个事项",
            "可以在“切换地区”里换一个地区办理，或者拨打服务电话咨询。",
        )
    },
    keeps_forms=frozenset({"items"}),
)
