"""What the load generator costs beside Locust alone: `python -m tests.benchmarks.generator`.

Both send to the same HAProxy, which answers from a file at once, over kept connections and in turn: a bare
`FastHttpUser` session that sends one request after another and looks at nothing; and a visit of ours, with its token,
the check of each answer by the service's own schema, and its place in Locust's statistics and in the tally. Figures
are CPU of the one process that sends; `ratio` is requests a second of a core, ours to bare, the median of the rounds'.
"""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import argparse  # noqa: E402 - what is imported after the patch works with gevent
import json  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

from locust import FastHttpUser  # noqa: E402
from locust.env import Environment  # noqa: E402

from loadtests.generator import Generator, Share, Window  # noqa: E402
from loadtests.rehearsal import Kit  # noqa: E402
from loadtests.scenario import Scenario  # noqa: E402
from loadtests.visit import Token, Visit  # noqa: E402
from services.affairs.schema import Item  # noqa: E402
from tests.integration.backends import free_port, listening, start, stop  # noqa: E402
from tests.integration.load_province import ITEM, PLACES, an_item, kit  # noqa: E402
from tests.support.waiting import wait_until  # noqa: E402

REQUESTS = 2000
CONFIGURATION = """
defaults
  mode http
  timeout client 30s
  timeout connect 1s
  timeout server 30s
frontend items
  bind 127.0.0.1:{port}
  http-request return status 200 content-type application/json file {file}
"""
SCENARIO = {
    "name": "bench",
    "description": "visits that are made by hand",
    "rate": 1,
    "ramp_seconds": 0,
    "hold_seconds": 3600,
    "people": 8,
    "journeys": [{"journey": "citizen", "share": 1}],
}


class Bare(FastHttpUser):
    host = "http://127.0.0.1"


def bare(environment: Environment, url: str) -> Callable[[], None]:
    user = Bare(environment)

    def get() -> None:
        user.client.get(url, name="bare")

    return get


def ours(environment: Environment, kit: Kit, url: str) -> Callable[[], None]:
    generator = Generator(environment, kit, Scenario.model_validate(SCENARIO), Share())
    generator.window = Window(0, 0, time.time() + 3600)
    visit: Visit = generator.new_visit("citizen", generator.citizens[0], 0.0, True)
    visit.use(Token(kit.tenants[0], "a token", "", time.monotonic() + 3600))

    def step() -> None:
        visit.step("item", kit.tenants[0], "GET", url, Item, lambda item: None)

    return step


def cpu_of(send: Callable[[], None]) -> float:
    """Microseconds of CPU a request."""
    before = time.process_time()
    for _ in range(REQUESTS):
        send()
    return (time.process_time() - before) / REQUESTS * 1e6


def measure(folder: Path, rounds: int) -> dict[str, object]:
    port = free_port()
    answer, configuration = folder / "item.json", folder / "haproxy.cfg"
    answer.write_text(json.dumps(an_item(), ensure_ascii=False))
    configuration.write_text(CONFIGURATION.format(port=port, file=answer))
    server = start(["/usr/sbin/haproxy", "-db", "-f", configuration], folder / "haproxy.log")
    try:
        wait_until(lambda: listening(port), 10, "HAProxy listens")
        url = f"http://127.0.0.1:{port}/{next(iter(PLACES))}/api/affairs/items/{ITEM}"
        environment = Environment(user_classes=[Bare])
        environment.create_local_runner()
        senders = {"bare": bare(environment, url), "ours": ours(environment, kit(port), url)}
        costs: dict[str, list[float]] = {name: [] for name in senders}
        for send in senders.values():
            cpu_of(send)
        for _ in range(rounds):
            for name, send in senders.items():
                costs[name].append(cpu_of(send))
    finally:
        stop(server)
    ratios = [bare / ours for bare, ours in zip(costs["bare"], costs["ours"], strict=True)]
    return {
        "microseconds_of_cpu_a_request": {name: round(statistics.median(used)) for name, used in costs.items()},
        "requests_per_second_of_a_core": {name: round(1e6 / statistics.median(used)) for name, used in costs.items()},
        "ratio": round(statistics.median(ratios), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yiwang-bench-") as folder:
        print(json.dumps(measure(Path(folder), given.rounds), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
