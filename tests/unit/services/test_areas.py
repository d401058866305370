"""A new area of the portal is a folder: its route, its entry, its door, its words and its templates are on the site."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

from services.kernel.http import Service
from services.kernel.runtime import Kernel
from services.kernel.settings import ServiceSettings
from services.portal import areas
from services.portal.app import create
from services.portal.area import Area, discover, merged
from services.portal.areas.desk.area import AREA as DESK

SITE = "https://xihu.zj.localhost"
TENANT = {
    "code": "330106",
    "name": "西湖区",
    "level": "county",
    "parent": None,
    "residents": 1,
    "cell": "cell-a",
    "site": "xihu.zj.localhost",
    "url": SITE,
    "settings": {"service_phone": "12345"},
    "database": "t330106",
    "bucket": "cases",
    "prefix": "330106/",
}
NETWORK = {
    "schema_version": 1,
    "environment": "test",
    "issuer": "https://id.zj.localhost",
    "query": "https://query.zj.localhost",
    "object_endpoint": "https://objects.invalid",
    "object_region": "local",
    "tenants": [TENANT],
}
PAGES = """
from fastapi import APIRouter

from services.kernel.problems import Problem
from services.portal.visit import AnyVisit

router = APIRouter()


@router.get("/lamps")
async def lamps(visit: AnyVisit):
    return visit.page("lamps/lamps.html", lamps=["南山路 12 号"])


@router.get("/lamps/{number}")
async def lamp(visit: AnyVisit, number: int):
    raise Problem(404 if number else 409, "not-found" if number else "lamp-is-out")
"""
AREA = """
from services.portal.area import Area, Door, Entry, Missing
from services.portal.areas.lamps.pages import router

AREA = Area(
    router,
    entries=(
        Entry("路灯报修", "/lamps", 45, door=Door("lamps", "路灯不亮，随手一报"), at_foot=True),
        Entry("路灯维护", "/lamps/care", 46, office="clerk"),
    ),
    words={"lamp-is-out": ("路灯不亮", "我们已经知道了。")},
    missing={"lamps": Missing("没有这盏路灯", "请核对灯杆编号。", "/lamps", "全部路灯")},
)
"""
TEMPLATE = """{% extends "site.html" %}
{% block title %}路灯报修{% endblock %}
{% block content %}{% for lamp in lamps %}<p>{{ lamp }}</p>{% endfor %}{% endblock %}
"""


@pytest.fixture
def lamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a made-up area, beside those of the site."""
    folder = tmp_path / "areas" / "lamps"
    (folder / "templates").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Lamps."""')
    (folder / "pages.py").write_text(PAGES)
    (folder / "area.py").write_text(AREA)
    (folder / "templates" / "lamps.html").write_text(TEMPLATE)
    monkeypatch.setattr(areas, "__path__", [*areas.__path__, str(folder.parent)])
    for name in ("lamps", "lamps.area", "lamps.pages"):
        monkeypatch.setitem(sys.modules, f"services.portal.areas.{name}", ModuleType(name))
        monkeypatch.delitem(sys.modules, f"services.portal.areas.{name}")
    return folder


def portal(folder: Path) -> Service:
    (folder / "tenants.json").write_text(json.dumps(NETWORK))
    (folder / "secrets.json").write_text("{}")
    settings = ServiceSettings(
        service="portal",
        cell="cell-a",
        port=1,
        tenants_file=folder / "tenants.json",
        secrets_file=folder / "secrets.json",
    )
    empty = httpx.MockTransport(lambda _: httpx.Response(200, json={"items": []}))
    return create(settings, Kernel(settings, httpx.AsyncClient(transport=empty)))


def browser(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=service), base_url=SITE)


async def test_a_folder_is_an_area_of_the_site(lamps: Path, tmp_path: Path) -> None:
    async with browser(portal(tmp_path)) as visitor:
        page = await visitor.get("/lamps")
        home = (await visitor.get("/")).text
        missing = await visitor.get("/lamps/7")
        refused = await visitor.get("/lamps/0")
    assert page.status_code == 200 and "<p>南山路 12 号</p>" in page.text
    assert '<a class="nav__link" href="/lamps" aria-current="page">路灯报修</a>' in page.text
    links = home[home.index("nav__list") : home.index("</nav>")]
    assert links.index("/items") < links.index("/lamps") < links.index("/cases"), "by its place"
    assert '<a href="/lamps">路灯报修</a>' in home[home.index("foot__links") :]
    assert 'data-test="door-lamps"' in home and "路灯不亮，随手一报" in home
    assert "路灯维护" not in home, "an entry for an office is shown to nobody else"
    assert missing.status_code == 404 and "没有这盏路灯" in missing.text and "全部路灯" in missing.text
    assert refused.status_code == 409 and "我们已经知道了。" in refused.text


async def test_without_the_folder_there_is_nothing_of_it(tmp_path: Path) -> None:
    async with browser(portal(tmp_path)) as visitor:
        page = await visitor.get("/lamps/7")
        home = (await visitor.get("/")).text
    assert page.status_code == 404 and "没有这盏路灯" not in page.text
    assert "/lamps" not in home


def test_a_folder_that_does_not_say_what_it_adds_is_refused(lamps: Path) -> None:
    (lamps / "area.py").unlink()
    package = ModuleType("services.portal.areas")
    package.__path__ = [str(lamps.parent)]
    with pytest.raises(ModuleNotFoundError, match=r"services\.portal\.areas\.lamps\.area"):
        discover(package)


def test_two_areas_do_not_speak_of_the_same() -> None:
    assert merged({"desk": DESK.missing, "lamps": {}}) == DESK.missing
    with pytest.raises(ValueError, match="desk and lamps both speak of 'desk'"):
        merged({"desk": DESK.missing, "lamps": DESK.missing})


def test_every_area_of_the_site_is_found_by_its_folder() -> None:
    found_areas = discover(areas)
    assert set(found_areas.by_name) == {path.parent.name for path in Path(areas.__path__[0]).glob("*/area.py")}
    assert all(isinstance(area, Area) for area in found_areas.by_name.values())
    assert all(folder.is_dir() for folder in found_areas.templates.values())
