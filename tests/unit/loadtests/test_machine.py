"""The machine's speed: a fixed piece of work, on all cores at once."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from loadtests import machine
from loadtests.result import Machine, Speed


def test_all_of_the_work_is_done_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    class Counted:
        def __init__(self, block: bytes) -> None:
            done.append(len(block))
            self._hash = hashlib.md5(block)  # noqa: S324 - what is counted is only that it was asked

        def digest(self) -> bytes:
            return self._hash.digest()

    monkeypatch.setattr("hashlib.sha256", Counted)
    speed = machine.speed()
    assert sum(done) == machine.PIECES * machine.PIECE_MIB << 20
    assert speed.whole > 0
    assert speed.core > 0


def test_a_hiccup_is_not_the_machines_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: Any = iter([(3600.0, 1900.0), (900.0, 1900.0), (3500.0, 1850.0), (3400.0, 1900.0), (3700.0, 1950.0)])
    monkeypatch.setattr(machine, "_piece", lambda: next(pieces))
    assert machine.speed() == Speed(whole=3500, core=1900)


def test_a_change_is_told_whichever_way_it_went() -> None:
    fast, slow = Speed(whole=4000, core=1900), Speed(whole=3000, core=1900)
    assert Machine(before=fast, after=slow).changed == Machine(before=slow, after=fast).changed == 0.25
