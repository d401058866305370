"""Messages to people: kinds with their words, and telephones that are shown where nobody's real one is."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from services.identity.app import create
from services.identity.people.notices import Registered
from services.kernel.cache import Cache
from services.kernel.http import Service
from services.kernel.notices import LocalCarrier, NoCarrier, Notice, ShownElsewhere
from services.kernel.settings import ServiceSettings

HERE, PRODUCTION = "https://id.zj.localhost:8443", "https://id.zj.gov.example"
MINE, OTHER = "13800000001", "13800000002"


class Notes(Cache):
    """A cache that keeps notes in this process."""

    def __init__(self) -> None:
        super().__init__(None, None, "identity")
        self.kept: defaultdict[str, list[str]] = defaultdict(list)

    async def note(self, name: str, text: str, most: int, seconds: int) -> None:
        self.kept[name] = [*self.kept[name], text][-most:]

    async def noted(self, name: str) -> list[str]:
        return self.kept[name]


class Called(Notice):
    kind: ClassVar[str] = "called"
    words: ClassVar[str] = "请 {name} 到 {window} 号窗口。"

    name: str
    window: int


def settings(folder: Path, issuer: str, show: bool) -> ServiceSettings:
    network = {
        "schema_version": 1,
        "environment": "test",
        "issuer": issuer,
        "query": "https://query.invalid",
        "object_endpoint": "https://objects.invalid",
        "object_region": "local",
        "tenants": [],
    }
    (folder / "tenants.json").write_text(json.dumps(network))
    (folder / "secrets.json").write_text(json.dumps({"signing_key": f"{7:064x}"}))
    return ServiceSettings(
        service="identity",
        cell="cell-core",
        port=1,
        tenants_file=folder / "tenants.json",
        secrets_file=folder / "secrets.json",
        show_telephones=show,
    )


def browser(service: Service) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=service), base_url=HERE)


def with_notes(service: Service) -> Service:
    service.kernel.carrier = LocalCarrier(Notes())
    return service


def test_a_notice_is_said_in_its_own_words() -> None:
    assert Called(name="{window}", window=3).text() == "请 {window} 到 3 号窗口。"
    assert "lilei" in Registered(site="统一身份认证", username="lilei", service_phone="12345").text()


def test_words_without_a_field_and_a_field_without_words_are_refused() -> None:
    with pytest.raises(TypeError, match=r"says \['name'\] and has \[\]"):
        type("Nameless", (Notice,), {"__module__": __name__, "kind": "x", "words": "请 {name}"})
    with pytest.raises(TypeError, match=r"says \['name'\] and has \['name', 'window'\]"):
        type("Silent", (Called,), {"__module__": __name__, "words": "请 {name}"})


async def test_a_telephone_shows_its_own_messages_alone(tmp_path: Path) -> None:
    service = with_notes(create(settings(tmp_path, HERE, show=True)))
    await service.kernel.carrier.send(MINE, Called(name="<b>李雷</b>", window=3))
    await service.kernel.carrier.send(OTHER, Called(name="韩梅梅", window=4))
    async with browser(service) as tester:
        mine = await tester.get("/telephone/+86 138-0000-0001")
        other = await tester.get(f"/telephone/{OTHER}")
        empty = await tester.get("/telephone/13800000003")
        no_number = await tester.get("/telephone/xyz")
    assert mine.status_code == 200 and "请 &lt;b&gt;李雷&lt;/b&gt; 到 3 号窗口。" in mine.text
    assert "韩梅梅" not in mine.text and "韩梅梅" in other.text and "李雷" not in other.text
    assert empty.status_code == 200 and "没有短信" in empty.text
    assert no_number.status_code == 404


async def test_a_telephone_keeps_the_newest_messages(tmp_path: Path) -> None:
    carrier = LocalCarrier(Notes())
    for window in range(LocalCarrier.MOST + 5):
        await carrier.send(MINE, Called(name="李雷", window=window))
    received = [message.text for message in await carrier.received(MINE)]
    assert len(received) == LocalCarrier.MOST
    assert received[-1] == f"请 李雷 到 {LocalCarrier.MOST + 4} 号窗口。", "the oldest first"


@pytest.mark.parametrize("issuer", [HERE, PRODUCTION])
async def test_unless_it_is_asked_for_nothing_is_kept_and_there_is_no_page(issuer: str, tmp_path: Path) -> None:
    service = create(settings(tmp_path, issuer, show=False))
    assert isinstance(service.kernel.carrier, NoCarrier)
    await service.kernel.carrier.send(MINE, Called(name="李雷", window=3))
    async with browser(service) as tester:
        page = await tester.get(f"/telephone/{MINE}")
        nowhere = await tester.get("/telephones")
    assert page.status_code == nowhere.status_code == 404
    assert page.text.count("没有找到这个页面") == nowhere.text.count("没有找到这个页面") > 0


@pytest.mark.parametrize("issuer", [PRODUCTION, "https://localhost.gov.example", "https://evil-localhost"])
def test_where_people_are_real_it_refuses_to_start(issuer: str, tmp_path: Path) -> None:
    with pytest.raises(ShownElsewhere, match=r"under \.localhost"):
        create(settings(tmp_path, issuer, show=True))


@pytest.mark.parametrize("issuer", [HERE, "https://localhost:8443"])
def test_on_one_machine_it_starts(issuer: str, tmp_path: Path) -> None:
    assert isinstance(create(settings(tmp_path, issuer, show=True)).kernel.carrier, LocalCarrier)
