"""Filings while all they need is killed: what was acknowledged is there once, in its database and in the index."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.integration.backends import Postgres, listening
from tests.integration.filings import file, fresh_key
from tests.integration.network import COUNTY, NEIGHBOUR, Network, client
from tests.support.waiting import wait_until

FILINGS = 300
KILL_EVERY = 30


class Ledger:
    """What was acknowledged, by key, kept outside of everything that is killed."""

    def __init__(self, network: Network, citizen: str) -> None:
        self.network = network
        self.citizen = citizen
        self.receipts: dict[str, str] = {}
        self.lock = threading.Lock()

    def file(self, place_number: int) -> None:
        """File once, trying again under the same key until it is acknowledged."""
        key = fresh_key()
        place = (COUNTY, NEIGHBOUR)[place_number % 2]

        def acknowledged() -> bool:
            try:
                answer = file(self.network, place, self.citizen, key)
            except httpx.HTTPError:
                return False
            if answer.status_code in (200, 201):
                with self.lock:
                    self.receipts[key] = answer.json()["number"]
                return True
            assert answer.status_code == 503 and answer.headers["retry-after"], answer.text
            return False

        wait_until(acknowledged, 60, "a filing is acknowledged", every=0.05)


def kept(network: Network, applicant: str) -> dict[str, str]:
    """The person's cases in the counties' databases, by key."""
    sql = f"SELECT idempotency_key AS key, number FROM affairs.cases WHERE applicant = '{applicant}'"
    return {row["key"]: row["number"] for place in (COUNTY, NEIGHBOUR) for row in network.rows(place, sql)}


def indexed(network: Network, applicant: str) -> set[str]:
    return set(network.postgres.run(f"SELECT number FROM query.cases WHERE applicant = '{applicant}'", "query").split())


def kill_service(network: Network) -> None:
    network.running["affairs-cell-a"].kill()
    network.start("affairs", "cell-a")


def kill_pooler(network: Network) -> None:
    network.pooler.stop(signal.SIGKILL)
    network.pooler.start()


def kill_cache(network: Network) -> None:
    network.redis.stop(signal.SIGKILL)
    network.redis.start()


def kill_postgres(network: Network) -> None:
    """Ends at once without a checkpoint, and recovers from its log when it starts."""
    assert network.postgres.process is not None
    network.postgres.process.send_signal(signal.SIGQUIT)
    network.postgres.process.wait(timeout=20)
    network.postgres.start()


KILLS: dict[str, Callable[[Network], None]] = {
    "service": kill_service,
    "pooler": kill_pooler,
    "cache": kill_cache,
    "postgres": kill_postgres,
}


def test_what_was_acknowledged_outlives_every_kill(catalogue: Network) -> None:
    applicant = f"citizen-{fresh_key()}"
    ledger = Ledger(catalogue, catalogue.issuer.citizen(applicant))
    kills = list(KILLS.values())
    with ThreadPoolExecutor(8) as pool:
        filings = [pool.submit(ledger.file, number) for number in range(FILINGS)]
        for number in range(FILINGS // KILL_EVERY):
            wait_until(lambda number=number: len(ledger.receipts) > number * KILL_EVERY, 120, "filings go on")  # type: ignore[misc]
            kills[number % len(kills)](catalogue)
        for filing in filings:
            filing.result()
    assert len(ledger.receipts) == FILINGS
    assert kept(catalogue, applicant) == ledger.receipts
    numbers = set(ledger.receipts.values())
    assert len(numbers) == FILINGS
    wait_until(lambda: indexed(catalogue, applicant) == numbers, 60, "the index has followed")


def test_a_database_that_forgets_commits_is_caught(catalogue: Network) -> None:
    """The same comparison, after rows that were acknowledged are gone."""
    applicant = f"citizen-{fresh_key()}"
    ledger = Ledger(catalogue, catalogue.issuer.citizen(applicant))
    for number in range(4):
        ledger.file(number)
    assert kept(catalogue, applicant) == ledger.receipts
    lost = next(iter(ledger.receipts.values()))
    catalogue.postgres.run(f"DELETE FROM affairs.cases WHERE number = '{lost}'", f"t{lost[:6]}")
    assert kept(catalogue, applicant) != ledger.receipts


def test_on_sigterm_what_was_begun_is_answered(catalogue: Network) -> None:
    """A filing that waits for a locked row when SIGTERM comes is still answered, and the process ends."""
    running = catalogue.running["affairs-cell-a"]
    citizen, key = catalogue.issuer.citizen(f"citizen-{fresh_key()}"), fresh_key()
    assert file(catalogue, COUNTY, citizen).status_code == 201
    lock = start_lock(catalogue.postgres)
    with ThreadPoolExecutor(1) as pool:
        filing = pool.submit(file, catalogue, COUNTY, citizen, key)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 't330106_affairs'"
        wait_until(lambda: int(catalogue.postgres.run(waiting)) > 0, 10, "the filing waits")
        running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listening(running.port, COUNTY.address), 10, "it takes no more")
        catalogue.postgres.run(f"SELECT pg_terminate_backend({lock})")
        assert filing.result().status_code == 201
    ended = running.process.wait(timeout=20)
    catalogue.start("affairs", "cell-a")
    assert ended in (0, -signal.SIGTERM)


def start_lock(postgres: Postgres) -> str:
    """Lock the cases of the county in a session of its own, which lasts until it is ended; its process id."""
    holding = "LOCK TABLE affairs.cases IN EXCLUSIVE MODE; SELECT pg_sleep(60)"

    def hold() -> None:
        try:
            postgres.run(f"BEGIN; {holding}", f"t{COUNTY.code}")
        except AssertionError:  # ended by the test
            return

    threading.Thread(target=hold, daemon=True).start()
    holder = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND wait_event = 'PgSleep'"
    return wait_until(lambda: postgres.run(holder), 10, "the lock is held")


def test_without_redis_everything_goes_on(catalogue: Network) -> None:
    catalogue.redis.stop(signal.SIGKILL)
    try:
        with catalogue.client(COUNTY) as anybody:
            assert anybody.get("/items").status_code == 200
        with client(catalogue.url(COUNTY), None) as probe:
            ready = probe.get("/readyz")
        assert ready.status_code == 200 and ready.json()["checks"]["cache"] is False
    finally:
        catalogue.redis.start()


def test_without_the_pooler_a_host_is_alive_but_not_ready_and_heals(catalogue: Network) -> None:
    catalogue.pooler.stop(signal.SIGKILL)
    with client(catalogue.url(COUNTY), None) as probe:
        try:
            assert probe.get("/healthz").status_code == 200
            assert probe.get("/readyz").status_code == 503
            citizen = catalogue.issuer.citizen("citizen-out")
            refused = file(catalogue, COUNTY, citizen)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        finally:
            catalogue.pooler.start()
        wait_until(lambda: probe.get("/readyz").status_code == 200, 15, "it is ready again")
