"""What a journey demands of an answer, beside its schema."""

from __future__ import annotations

import pytest

from loadtests.cases import INDEXED_SECONDS, not_indexed

NOW, FULL = 1000.0, 20


def filed(count: int, ago: float) -> dict[str, tuple[float, str]]:
    return {f"330106-{number:03d}": (NOW - ago, "item") for number in range(count)}


@pytest.mark.parametrize("count", [5, 40])
def test_a_case_that_the_index_has_lost_is_missed_on_a_full_page_too(count: int) -> None:
    mine = filed(count, INDEXED_SECONDS + 1)
    page = list(mine)[-FULL:]
    assert not_indexed(mine, page, NOW) == []
    lost = page.pop(-3)
    assert not_indexed(mine, page, NOW) == [lost]


def test_a_case_of_this_moment_may_still_be_on_its_way() -> None:
    assert not_indexed(filed(3, INDEXED_SECONDS - 5), [], NOW) == []


def test_cases_of_a_page_ago_need_not_be_on_the_first() -> None:
    mine = filed(FULL, INDEXED_SECONDS + 1)
    assert not_indexed(mine, list(mine)[FULL // 2 :], NOW) == []
