"""A small province for what monitoring makes of its outputs."""

from __future__ import annotations

from collections.abc import Mapping

from infra.outputs import EnvironmentOutputs
from tests.support.province import Province

SHAPE: Mapping[str, Mapping[str, int]] = {
    "cell-a": {"gateway": 2, "application": 2},
    "cell-core": {"gateway": 2, "identity": 2, "query": 2, "monitoring": 1},
}
CODES = ("330000", "330100", "330106")


def watched(
    shape: Mapping[str, Mapping[str, int]] = SHAPE, codes: tuple[str, ...] = CODES, storage_gib: int | None = 20
) -> EnvironmentOutputs:
    return Province("watched", shape, codes, "10.0", storage_gib=storage_gib, databases=False).outputs()
