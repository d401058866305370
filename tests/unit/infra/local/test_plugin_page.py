"""The page about the local cloud cannot drift from its rules."""

from __future__ import annotations

from infra.local.plugin.page import PAGE, renewed


def test_the_page_lists_the_rules_of_today() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "run python -m infra.local.plugin.page"


def test_a_changed_rule_would_be_noticed() -> None:
    page = PAGE.read_text()
    assert renewed(page.replace("3 to 63", "3 to 64")) == page
