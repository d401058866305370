"""Prints one page that shows every part, with the stylesheet inside, for the eye."""

from __future__ import annotations

from pathlib import Path

from services.pages.assets import STATIC
from services.pages.frame import Frame, Link
from services.pages.render import Pages

LINKS = (Link("办事服务", "#", current=True), Link("进度查询", "#"), Link("我的办件", "#"))
FRAME = Frame("西湖区政务服务", "杭州市西湖区人民政府", phone="12345", links=LINKS, person="王小明", log_out="/logout")


def gallery() -> str:
    pages = Pages()
    text = pages.text("gallery.html", FRAME, csrf="x")
    style = Path(STATIC / "site.css").read_text(encoding="utf-8")
    text = text.replace(f'<link rel="stylesheet" href="{pages.assets.url("site.css")}">', f"<style>{style}</style>")
    return text.replace(f'src="{pages.assets.url("mark.svg")}"', f'src="{(STATIC / "mark.svg").as_uri()}"')


if __name__ == "__main__":
    print(gallery())
