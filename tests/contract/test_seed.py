"""The seed against the services' own schema."""

from __future__ import annotations

from services.affairs.schema import StandardRequest
from tools.seeding import catalogue


def test_every_item_of_the_seed_is_a_standard_that_affairs_takes() -> None:
    items = catalogue()
    assert len({item["code"] for item in items}) == len(items) >= 8
    for item in items:
        StandardRequest.model_validate({key: value for key, value in item.items() if key not in ("code", "department")})
