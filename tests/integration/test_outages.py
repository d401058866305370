"""Servers die and hang under requests: who asked meanwhile hears 503 and when to try again, never that it is a bug."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil
import pytest

from tests.integration.filings import filing, fresh_key
from tests.integration.identity_site import IdentitySite
from tests.integration.network import COUNTY, Network, client
from tests.integration.test_faults import kill_cache, kill_pooler, kill_postgres
from tests.support.waiting import wait_until

ASKING = 4
pytestmark = pytest.mark.usefixtures("recovered")
GOOD = (200, 201, 303, 401, 404, 429)


class Visitors:
    """Ask the same again and again, as many at once as there are threads, and count what they hear."""

    def __init__(self, ask: Callable[[], httpx.Response]) -> None:
        self._ask = ask
        self._over = threading.Event()
        self.heard: Counter[str] = Counter()
        self.wrong: list[str] = []

    @contextmanager
    def asking(self) -> Iterator[None]:
        with ThreadPoolExecutor(ASKING) as pool:
            asked = [pool.submit(self._go_on_asking) for _ in range(ASKING)]
            try:
                wait_until(lambda: self.heard["good"] > 0, 20, "somebody was answered")
                yield
                after = self.heard["good"]
                wait_until(lambda: self.heard["good"] > after + ASKING, 30, "they are answered again")
            finally:
                self._over.set()
            for future in asked:
                future.result()

    def _go_on_asking(self) -> None:
        while not self._over.is_set():
            answer = self._ask()
            if answer.status_code in GOOD:
                self.heard["good"] += 1
            elif answer.status_code == 503 and answer.headers.get("retry-after"):
                self.heard["out"] += 1
            else:
                self.wrong.append(f"{answer.status_code} {answer.text[:200]}")


def kill_backends(network: Network) -> None:
    """One server process dies, as for lack of memory: PostgreSQL ends all others, and recovers by itself."""
    assert network.postgres.process is not None
    backends = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    for pid in network.postgres.run(backends).split()[:1]:
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: answers(network), 20, "PostgreSQL has recovered")


def answers(network: Network) -> bool:
    try:
        return network.postgres.run("SELECT 1") == "1"
    except AssertionError:
        return False


def end_backends(network: Network) -> None:
    """What an operator's restart or a failover does to each connection."""
    network.postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename ~ '_(affairs|app)$'")


def hang_cache(network: Network) -> None:
    assert network.redis.process is not None
    cache = psutil.Process(network.redis.process.pid)
    cache.suspend()
    try:
        with client(network.url(COUNTY), None) as probe:
            wait_until(lambda: probe.get("/readyz").json()["checks"]["cache"] is False, 10, "the cache is missed")
    finally:
        cache.resume()


OUTAGES = (kill_postgres, kill_backends, end_backends, kill_pooler, kill_cache, hang_cache)


def filing_of(network: Network) -> Callable[[], httpx.Response]:
    browser = network.client(COUNTY, network.issuer.citizen("citizen-outages"))
    return lambda: browser.post("/cases", json=filing(), headers={"Idempotency-Key": fresh_key()})


def items_of(network: Network) -> Callable[[], httpx.Response]:
    browser = network.client(COUNTY)
    return lambda: browser.get("/items")


def desk_of(network: Network) -> Callable[[], httpx.Response]:
    browser = network.client(COUNTY, network.issuer.officer("clerk-outages", COUNTY.code))
    return lambda: browser.get("/desk")


def inbox_of(network: Network) -> Callable[[], httpx.Response]:
    relay = network.client(COUNTY, network.issuer.relay("330100"))
    message = {"sequence": 10**12, "kind": "progress", "key": "k", "body": {}}
    return lambda: relay.post("/inbox", json={"sender": "330100", "messages": [message]})


def index_of(network: Network) -> Callable[[], httpx.Response]:
    browser = network.query(network.issuer.citizen("citizen-outages"))
    return lambda: browser.get("/cases")


ASKED = (filing_of, items_of, desk_of, inbox_of, index_of)


@pytest.fixture
def recovered(catalogue: Network) -> Iterator[None]:
    """Whoever comes next finds every site at work: PgBouncer gives each database its own time to be asked again."""
    yield
    sites = {place.name: catalogue.client(place) for place in catalogue.places}
    wait_until(lambda: {site.get("/items").status_code for site in sites.values()} == {200}, 30, "all sites answer")


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_dead_or_hanging_server_is_never_told_as_a_bug(catalogue: Network, outage: Callable[[Network], None]) -> None:
    visitors = [Visitors(asked(catalogue)) for asked in ASKED]
    with visitors[0].asking(), visitors[1].asking(), visitors[2].asking(), visitors[3].asking(), visitors[4].asking():
        outage(catalogue)
    assert [visitor.wrong for visitor in visitors] == [[] for _ in visitors]


def test_identity_says_that_it_is_out_and_is_back(catalogue: Network, identity_site: IdentitySite) -> None:
    """A page that reads the browser's session."""
    browser = client(f"http://127.0.0.1:{identity_site.port}", None)
    browser.headers["cookie"] = "__Host-yiwang-session=" + "x" * 43
    visitors = Visitors(lambda: browser.get("/login"))
    with visitors.asking():
        kill_postgres(catalogue)
        kill_backends(catalogue)
        catalogue.postgres.stop()
        try:
            wait_until(lambda: visitors.heard["out"] > 0, 20, "somebody is told")
        finally:
            catalogue.postgres.start()
    assert visitors.wrong == [] and visitors.heard["out"] > 0
