"""The gate's reports: each says the verdict and every reason; the page needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
from junitparser import Error, Failure, JUnitXml
from rich.console import Console

from loadtests.gate import report
from loadtests.gate.verdict import Verdict
from loadtests.result import Failure as LoadFailure
from tests.unit.loadtests.gate_cases import (
    APPLICATION,
    CPU,
    OBJECTIVES,
    healthy_evidence,
    healthy_load,
    spoiled,
    verdict,
)

ATTRIBUTE = r"""\b(?:src|href|action|data|poster|srcset|xlink:href)\s*=\s*["']?"""
STYLE = r"""url\(\s*["']?|@import\s+["']?"""
ELSEWHERE = re.compile(rf"""(?:{ATTRIBUTE}|{STYLE})(?!#)[^\s"')>]+|https?://""")
VOID = {"meta", "br", "link", "img", "hr", "input"}
LARGEST = 1_000_000


class Page(HTMLParser):
    """A page that parses: what is opened is closed. Collects its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.language = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag == "html":
            self.language = dict(attrs).get("lang") or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data


def from_elsewhere(page: str) -> list[str]:
    return ELSEWHERE.findall(page)


@pytest.fixture
def refused() -> Verdict:
    evidence = spoiled(healthy_evidence(), CPU, APPLICATION, value=0.99, halves=(0.99, 0.99))
    evidence = spoiled(evidence, "index lag of a tenant", tenant="330106", value=None, count=None)
    return verdict(evidence=evidence, plan_warning="the plan <is> old")


def test_the_page_holds_the_verdict_and_each_reason_and_needs_nothing_else(refused: Verdict) -> None:
    detail = "<script>503</script>"
    failure = LoadFailure(operation="citizen.file", tenant="330106", kind="status", detail=detail, count=3)
    text = report.html(refused, OBJECTIVES, healthy_load(failures=[failure]), healthy_evidence())
    page = Page(text)
    assert page.open == []
    assert page.language == "en"
    assert {"table", "svg"} <= page.seen
    assert "script" not in page.seen
    assert page.text.lstrip().startswith("NO-GO")
    assert APPLICATION in page.text
    for reason in refused.reasons:
        assert reason.sentence in page.text
    assert detail in page.text
    assert text.count("<svg") == 4
    assert from_elsewhere(text) == []
    assert len(text.encode()) < LARGEST


@pytest.mark.parametrize(
    "bad",
    [
        '<img src="https://example.org/logo.png">',
        "<link rel=stylesheet href=style.css>",
        "<style>@import 'https://fonts.example.org/x';</style>",
        "<p style='background: url(x.png)'>",
    ],
)
def test_the_check_catches_a_page_that_needs_something_else(bad: str) -> None:
    assert from_elsewhere(bad)


def test_a_page_without_a_load_says_so(refused: Verdict) -> None:
    page = Page(report.html(refused, OBJECTIVES, None, healthy_evidence()))
    assert "no load was sent" in page.text
    assert "svg" not in page.seen


def test_the_documents_are_written_and_fit_their_schemas(refused: Verdict, tmp_path: Path) -> None:
    page = report.write(tmp_path, refused, OBJECTIVES, healthy_load(), healthy_evidence())
    assert page.read_text().startswith("<!DOCTYPE html>")
    document = json.loads((tmp_path / "verdict.json").read_text())
    jsonschema.validate(document, json.loads((tmp_path / "verdict.schema.json").read_text()))
    assert document["schema_version"] == 1
    assert Verdict.model_validate(document) == refused
    assert (tmp_path / "evidence.json").exists()


def test_junit_has_a_case_a_limit_and_fails_those_that_were_not_kept(refused: Verdict, tmp_path: Path) -> None:
    report.write(tmp_path, refused, OBJECTIVES, healthy_load(), healthy_evidence())
    (suite,) = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    cases = {case.name: case.result for case in suite}
    assert len(cases) == len(refused.reasons) + len(refused.kept)
    assert [type(result) for result in cases[f"{CPU}: {APPLICATION}"]] == [Failure]
    assert [type(result) for result in cases["index lag of a tenant: index [330106]"]] == [Error]
    assert (suite.failures, suite.errors) == (2, 1)


def test_the_text_names_reasons_and_the_limiting_component(refused: Verdict) -> None:
    console = Console(record=True, width=200, file=StringIO())
    report.show(console, refused, healthy_load())
    text = console.export_text()
    assert text.startswith("NO-GO launch on test-watched")
    assert f"at its limit: {APPLICATION}" in text
    assert CPU in text
