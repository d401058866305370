"""CPU of a case's whole way, by process, at the pace of a quiet day: batches are small, and what idles costs too.

Run it with `python -m tests.benchmarks.journey`.

A case is filed at a county, accepted, handed over to the city and decided there; its applicant looks at it at the index
and at the county. Meanwhile each service is watched as a gateway and Prometheus do.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tests.benchmarks.load import CLIENT, cpu_of
from tests.integration.backends import Postgres, Redis
from tests.integration.filings import filing, fresh_key, publish
from tests.integration.issuer import Issuer
from tests.integration.network import CITY, COUNTY, NEIGHBOUR, Network, client
from tests.support.waiting import wait_until

READY_EVERY = 1.0  # two gateways, each every two seconds
METRICS_EVERY = 5.0


class Journeys:
    """Journeys over connections that are kept, as the gateway keeps them."""

    def __init__(self, network: Network) -> None:
        citizen = network.issuer.citizen("citizen-journey")
        self._citizens = {place: network.client(place, citizen) for place in (COUNTY, NEIGHBOUR)}
        self._index = network.query(citizen)
        self._clerks = {
            place: network.client(place, network.issuer.officer(f"clerk-{place.code}", place.code))
            for place in (COUNTY, NEIGHBOUR, CITY)
        }

    def go(self, number: int) -> float:
        """One journey; the seconds from the clerk's press of hand-over to the city's first look that finds the case."""
        place = (COUNTY, NEIGHBOUR)[number % 2]
        citizen, clerk, city = self._citizens[place], self._clerks[place], self._clerks[CITY]
        filed = citizen.post("/cases", json=filing(), headers={"Idempotency-Key": fresh_key()})
        case = f"/cases/{filed.json()['number']}"
        self._good(filed, citizen.get(case), clerk.post(f"{case}/acceptance", json={"accepted": True}))
        self._good(self._index.get("/cases"))
        started = time.monotonic()
        self._good(clerk.post(f"{case}/hand-over", json={"to": CITY.code, "reason": "按权限办理"}))
        wait_until(lambda: city.get(case).status_code == 200, 20, "the case arrives", every=1.0)
        took = time.monotonic() - started
        self._good(city.post(f"{case}/outcome", json={"result": "granted", "text": "准予"}), citizen.get(case))
        return took

    @staticmethod
    def _good(*answers: httpx.Response) -> None:
        for answer in answers:
            assert answer.status_code in (200, 201), answer.text


@contextmanager
def watched(network: Network) -> Iterator[None]:
    """Each service's readiness and metrics are read, as often as on a host."""
    over = threading.Event()
    probes = [client(f"http://127.0.0.1:{running.port}", None) for running in network.running.values()]

    def read(path: str, every: float) -> None:
        while not over.wait(every):
            for probe in probes:
                probe.get(path)

    threads = [
        threading.Thread(target=read, args=about) for about in (("/readyz", READY_EVERY), ("/metrics", METRICS_EVERY))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def paced(go: Callable[[int], float], rate: float, seconds: float) -> list[float]:
    """Journeys that begin at a steady pace; what each gave."""
    started, clock = time.monotonic(), threading.Event()
    with ThreadPoolExecutor(32) as pool:
        going = []
        for number in range(int(rate * seconds)):
            clock.wait(max(0.0, started + number / rate - time.monotonic()))
            going.append(pool.submit(go, number))
        return [journey.result() for journey in going]


def measure(network: Network, rate: float, seconds: float) -> dict[str, object]:
    journeys = Journeys(network)
    paced(journeys.go, rate, 2)
    processes = {name: [psutil.Process(running.process.pid)] for name, running in network.running.items()}
    for name, process in (("PostgreSQL", network.postgres.process), ("PgBouncer", network.pooler.process)):
        assert process is not None
        processes[name] = [psutil.Process(process.pid)]
    with watched(network), cpu_of(processes) as cost:
        hand_overs = paced(journeys.go, rate, seconds)
    milliseconds = {name: used / len(hand_overs) * 1000 for name, used in cost.seconds.items() if name != CLIENT}
    return {
        "journeys": len(hand_overs),
        "rate": rate,
        "hand_over_p50_seconds": round(statistics.median(hand_overs), 2),
        "cpu_milliseconds_a_journey": {name: round(value, 2) for name, value in milliseconds.items()},
        "services_together": round(sum(milliseconds[name] for name in network.running), 2),
    }


@contextmanager
def province() -> Iterator[Network]:
    with tempfile.TemporaryDirectory(prefix="yiwang-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = Postgres(folder, durable=True)
        network = Network(folder, postgres, Redis(folder), Issuer())
        postgres.create()
        postgres.start()
        network.issuer.start()
        network.redis.start()
        network.create()
        network.start("query", "cell-core")
        network.start("affairs", "cell-b")
        network.start("affairs", "cell-a")
        publish(network)
        try:
            yield network
        finally:
            network.stop_all()
            network.redis.stop()
            network.issuer.stop()
            postgres.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=8.0, help="journeys a second")
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    with province() as network:
        print(json.dumps(measure(network, arguments.rate, arguments.seconds), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
