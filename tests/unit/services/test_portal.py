from __future__ import annotations

from datetime import date
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.affairs.schema import FormField, Item
from services.kernel.calendar import after_working_days, is_working_day
from services.portal.areas.administration import forms as administration
from services.portal.areas.filing import forms
from services.portal.sealing import derive_key, seal, seal_text, unseal, unseal_text
from services.portal.visit import local_path
from services.portal.words import day, due, grouped, lasted

KEY, OTHER = derive_key(b"secret", "session"), derive_key(b"secret", "log-in attempt")
ITEM = Item(
    code="XK-SPJY",
    version=1,
    name="食品经营许可",
    kind="行政许可",
    basis="第三十五条",
    levels=["county"],
    department="",
    legal_working_days=20,
    promised_working_days=7,
    standard_promised_working_days=7,
    materials=[],
    materials_note="",
    fields=[
        FormField(name="place", label="经营场所"),
        FormField(name="area", label="面积", kind="number"),
        FormField(name="begins", label="开业日期", kind="date", required=False),
        FormField(name="business", label="经营项目", kind="choice", options=["食品销售", "餐饮服务"]),
    ],
    fee="不收费",
    fee_note="",
    offered=True,
)
GOOD = {
    "name": "沈小禾",
    "phone": "139 0000 1111",
    "form-place": " 江南大道 1 号\r\n二楼 ",
    "form-area": "86.5",
    "form-business": "餐饮服务",
}


@given(path=st.text(max_size=40) | st.builds("/{}".format, st.text(max_size=40)))
def test_a_local_path_stays_on_the_site(path: str) -> None:
    """As a browser resolves it: backslashes count as slashes, control characters vanish."""
    local = local_path(path)
    assert local.startswith("/")
    as_browser = "".join(character for character in local if character not in "\t\r\n").replace("\\", "/")
    assert urlsplit(urljoin("https://xihu.example/login", as_browser)).netloc == "xihu.example"


@pytest.mark.parametrize("path", ["/", "/cases?after=1", "/items/XK-SPJY/filing", "/items?q=食品"])
def test_paths_of_ours_are_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize("path", ["", "cases", "//evil.example", "/\\evil.example", "https://evil.example", "/\tx"])
def test_other_paths_lead_home(path: str) -> None:
    assert local_path(path) == "/"


@given(content=st.dictionaries(st.text(max_size=8), st.text(max_size=8)))
def test_sealed_content_opens_with_its_key_alone(content: dict[str, str]) -> None:
    sealed = seal(KEY, content)
    assert unseal(KEY, sealed) == content
    assert unseal(OTHER, sealed) is None
    assert unseal_text(KEY, seal_text(KEY, content)) == content


@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_sealed_content_that_was_changed_does_not_open(place: int, flip: int) -> None:
    sealed = bytearray(seal(KEY, {"a": "b"}))
    sealed[place % len(sealed)] ^= flip
    assert unseal(KEY, bytes(sealed)) is None


@given(text=st.text(max_size=80))
def test_no_cookie_crashes_the_reading(text: str) -> None:
    assert unseal_text(KEY, text) is None


def test_a_good_form_becomes_a_request() -> None:
    request, errors = forms.filing(ITEM, GOOD)
    assert errors == {}
    assert request is not None
    assert request.form == {"place": "江南大道 1 号\n二楼", "area": "86.5", "business": "餐饮服务"}
    assert (request.applicant.name, request.applicant.phone) == ("沈小禾", "13900001111")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "长" * 65),
        ("phone", "12345"),
        ("phone", "+8613900001111x"),
        ("form-place", ""),
        ("form-place", "长" * 121),
        ("form-area", "很大"),
        ("form-area", "1e9"),
        ("form-begins", "2026-02-30"),
        ("form-business", "赌场"),
        ("form-business", ""),
    ],
)
def test_what_is_wrong_is_told_at_its_field(field: str, value: str) -> None:
    request, errors = forms.filing(ITEM, GOOD | {field: value})
    assert request is None
    assert set(errors) == {field}


def test_what_is_wrong_is_told_in_the_order_of_the_page() -> None:
    """The summary leads from field to field, downwards."""
    _, errors = forms.filing(ITEM, {})
    assert list(errors) == ["name", "phone", *(f"form-{field.name}" for field in ITEM.fields if field.required)]


@given(typed=st.dictionaries(st.sampled_from(list(GOOD)), st.text(max_size=130)))
def test_whatever_is_typed_is_a_request_or_errors(typed: dict[str, str]) -> None:
    request, errors = forms.filing(ITEM, GOOD | typed)
    assert (request is None) == bool(errors)


@pytest.mark.parametrize(
    ("days", "good"),
    [("", True), ("0", True), ("7", True), ("７", True), ("8", False), ("19", False), ("-1", False), ("²", False)],
)
def test_a_tenant_only_shortens_the_standards_promise(days: str, good: bool) -> None:
    request, errors = administration.implementation(ITEM, {"promised_working_days": days})
    assert (request is not None) == good
    assert ("promised_working_days" in errors) != good


@pytest.mark.parametrize(
    ("limit", "words", "tone"),
    [
        (date(2026, 11, 24), "今天到期", "soon"),
        (date(2026, 11, 26), "还剩 2 个工作日", "soon"),
        (date(2026, 12, 1), "还剩 5 个工作日", "calm"),
        (date(2026, 11, 23), "已超期 1 个工作日", "over"),
        (date(2026, 11, 20), "已超期 2 个工作日", "over"),
    ],
)
def test_a_limit_reads_in_working_days(limit: date, words: str, tone: str) -> None:
    deadline = due(limit, now=date(2026, 11, 24))
    assert (deadline.words, deadline.tone) == (words, tone)


def test_a_limit_whose_holidays_are_not_published_is_told_as_provisional() -> None:
    assert due(date(2090, 1, 9), now=date(2090, 1, 3)).provisional
    assert not due(date(2026, 11, 24), now=date(2026, 11, 20)).provisional
    assert day(date(2090, 1, 9)) == "2090-01-09（暂定，2090 年放假安排尚未公布）"
    assert day(date(2026, 11, 24)) == "2026-11-24"


@given(now=st.dates(date(2024, 1, 1), date(2026, 12, 31)), count=st.integers(1, 30))
def test_a_promise_of_so_many_days_reads_as_so_many(now: date, count: int) -> None:
    limit = after_working_days(now, count)
    assert is_working_day(limit)
    assert due(limit, now=now).words == f"还剩 {count} 个工作日"


def test_how_numbers_and_durations_read() -> None:
    assert grouped("3301122026112400000017") == "330112 20261124 00000017"
    assert [lasted(seconds) for seconds in (5, 60, 7200, 200_000)] == ["不到 1 分钟", "1 分钟", "2 小时", "2 天"]
