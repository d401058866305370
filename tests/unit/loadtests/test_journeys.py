"""What a journey demands of an answer, beside its schema."""

from __future__ import annotations

import pytest

from loadtests.cases import FIRST_PAGE, INDEXED_SECONDS, not_indexed
from services.query.index import PAGE as FULL

NOW = 1000.0


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


def test_what_must_be_on_the_first_page_leaves_room_for_what_is_filed_meanwhile() -> None:
    assert FIRST_PAGE <= FULL / 2
