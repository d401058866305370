"""When the local cloud's keeper tries again, and what it takes for dead."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import tenacity
from pg8000.native import Connection

from infra.local.cloud import keeper
from infra.local.cloud.containers import Seen
from infra.local.cloud.databases import administrator
from infra.local.cloud.databases.administrator import Administrator
from infra.local.cloud.keeper import code_version
from infra.local.cloud.keeping import Patience, is_dead


def pauses(patience: Patience, tries: int) -> list[float]:
    """Seconds from one try to the next that is allowed, each tried as soon as it may be."""
    now, waits = 0.0, []
    for _ in range(tries):
        patience.tried("database", now)
        pause = next(step / 10 for step in range(10_000) if patience.allows("database", now + step / 10))
        waits.append(pause)
        now += pause
    return waits


def test_the_first_try_is_at_once_and_the_next_ones_wait_longer_and_longer() -> None:
    patience = Patience()
    assert patience.allows("database", 0.0)
    assert pauses(patience, 9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert patience.allows("cache", 0.0)


def test_what_has_lived_for_a_minute_is_run_again_at_once() -> None:
    patience = Patience()
    pauses(patience, 9)
    patience.tried("database", 10_000.0)
    assert not patience.allows("database", 10_000.9)
    assert patience.allows("database", 10_001.0)


def test_what_is_not_there_was_removed_and_is_not_dead() -> None:
    assert not is_dead(None)
    assert not is_dead(Seen("database", "1", alive=True))
    assert is_dead(Seen("database", "1", alive=False))


class Unreachable(Administrator):
    """Of a database at whose address nobody is."""

    tries = 0

    def connect(self, database: str = "postgres") -> Connection:
        self.tries += 1
        raise OSError("no route to host")


def test_a_database_that_has_ended_again_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever brings it back does the same for others meanwhile, and tries again itself."""
    monkeypatch.setattr(administrator, "ENDED_SECONDS", 0.0)
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=lambda seconds: None))
    gone, ends = Unreachable("10.0.0.1", "x"), iter([False, False, True])
    with pytest.raises(tenacity.RetryError):
        gone.wait(90, lambda: next(ends))
    assert gone.tries == 3


def test_a_keeper_of_other_code_is_another_wherever_the_code_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files in the package's own folders count: `databases/` has what a keeper runs, too."""
    monkeypatch.setattr(keeper, "__file__", str(tmp_path / "keeper.py"))
    versions: set[str] = set()
    for path in ("keeper.py", "databases/instances.py", "databases/instances.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(f"# {len(versions)}")
        versions.add(code_version.__wrapped__())
    assert len(versions) == 3
