"""A receiver's database hangs under load: hand-overs wait for it, and are as quick as before soon after it goes on.

The short form lets it hang for some seconds with limits a fifth of the real ones. `YIWANG_HANG_SECONDS=30` is the long
form: the same with the limits that hosts have.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.backends import Postgres, Redis
from tests.integration.filings import accepted_case, act, publish, status_at
from tests.integration.issuer import Issuer
from tests.integration.network import CITY, COUNTY, NEIGHBOUR, Network
from tests.support.waiting import wait_until

HANG_SECONDS = float(os.environ.get("YIWANG_HANG_SECONDS", "0"))
SHORT_HANG_SECONDS = 4.0
WAITING = 60
RECEIVING_SECONDS = 0.06

# What a loaded host makes of a message: so that all that waits takes longer than one post may.
SLOW_INBOX = f"""
CREATE FUNCTION affairs.slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep({RECEIVING_SECONDS}); RETURN NEW; END $$;
CREATE TRIGGER slowly BEFORE INSERT ON affairs.inbox FOR EACH ROW EXECUTE FUNCTION affairs.slowly();
"""


@pytest.fixture(scope="module")
def province() -> Iterator[Network]:
    """The small province; the databases of city and province lie in a cluster of their own."""
    with tempfile.TemporaryDirectory(prefix="yiwang-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "far").mkdir()
        near, far = Postgres(folder), Postgres(folder / "far")
        network = Network(folder, near, Redis(folder), Issuer(), far=far)
        for postgres in (near, far):
            postgres.create()
            postgres.start()
        network.issuer.start()
        network.redis.start()
        network.create()
        far.run(SLOW_INBOX, f"t{CITY.code}")
        network.start("query", "cell-core")
        serve(network, "usual" if HANG_SECONDS else "hasty")
        publish(network)
        yield network
        network.stop_all()
        network.redis.stop()
        network.issuer.stop()
        far.stop()
        near.stop()


def serve(network: Network, limits: str) -> None:
    """Both cells' services, with the limits of hosts or with others."""
    for cell in ("cell-b", "cell-a"):
        if running := network.running.get(f"affairs-{cell}"):
            running.stop()
        module = "" if limits == "usual" else "tests.integration.hasty_affairs"
        network.start("affairs", cell, module=module, YIWANG_TEST_LIMITS=limits)


def send(network: Network, number: str) -> None:
    place = COUNTY if number.startswith(COUNTY.code) else NEIGHBOUR
    answer = act(network, place, number, "hand-over", {"to": CITY.code, "reason": "按权限办理"})
    assert answer.status_code == 200, answer.text


def taken(network: Network, numbers: list[str]) -> int:
    listed = ", ".join(f"'{number}'" for number in numbers)
    rows = network.rows(CITY, f"SELECT number FROM affairs.cases WHERE number IN ({listed}) AND status = 'accepted'")
    return len(rows)


def unsettled(network: Network) -> int:
    """Messages to the city that their senders still keep."""
    count = f"SELECT count(*) AS messages FROM affairs.outbox WHERE destination = '{CITY.code}'"
    return sum(network.rows(place, count)[0]["messages"] for place in (COUNTY, NEIGHBOUR))


def seconds_of_a_hand_over(network: Network, number: str, patience: float) -> float:
    """From the clerk's press of the button until the city holds the case."""
    started = time.monotonic()
    send(network, number)
    wait_until(lambda: status_at(network, CITY, number) == ("accepted", CITY.code), patience, "it arrives", every=0.02)
    return time.monotonic() - started


def cases(network: Network, count: int) -> list[str]:
    citizen = network.issuer.citizen("citizen-hangs")
    with ThreadPoolExecutor(8) as pool:
        places = [(COUNTY, NEIGHBOUR)[place % 2] for place in range(count)]
        return [case["number"] for case in pool.map(lambda place: accepted_case(network, place, citizen), places)]


def hang_under_load(network: Network, seconds: float, recovery: float) -> None:
    """The promise: what waited is taken, each case once, and the next hand-over is as quick as one before the hang.

    Raises:
        AssertionError: it is not so in `recovery` seconds.
    """
    before, *waiting, after = cases(network, WAITING + 2)
    usual = seconds_of_a_hand_over(network, before, recovery)
    assert network.far is not None
    with ThreadPoolExecutor(8) as pool, network.far.held():
        started = time.monotonic()
        list(pool.map(lambda number: send(network, number), waiting))
        wait_until(lambda: time.monotonic() - started > seconds, seconds + 1, "the hang is over")
    resumed = time.monotonic()
    wait_until(lambda: taken(network, waiting) == WAITING, recovery, "what waited has arrived")
    wait_until(lambda: unsettled(network) == 0, recovery - (time.monotonic() - resumed), "the senders know it")
    left = recovery - (time.monotonic() - resumed)
    assert seconds_of_a_hand_over(network, after, left) < max(2 * usual, usual + 1)
    twice = "SELECT number FROM affairs.traces WHERE action = 'received' GROUP BY number HAVING count(*) > 1"
    assert network.rows(CITY, twice) == []


def test_after_a_hang_hand_overs_are_as_quick_as_before(province: Network) -> None:
    if HANG_SECONDS:
        hang_under_load(province, HANG_SECONDS, 30)
    else:
        hang_under_load(province, SHORT_HANG_SECONDS, 10)


def test_a_relay_that_knows_no_time_is_caught(province: Network) -> None:
    """Whole batches outlast their post, are sent again, and cost the receiver as much again."""
    serve(province, "unbounded")
    with pytest.raises(AssertionError, match=r"in vain: (what waited has arrived|the senders know it)"):
        hang_under_load(province, SHORT_HANG_SECONDS, 10)
