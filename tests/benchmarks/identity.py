"""Log-ins and token refreshes a second beside their limits: `python -m tests.benchmarks.identity`.

The way is the one of production without limits on hosts: client, TLS, HAProxy, uvicorn, PgBouncer, PostgreSQL with
fsync. Everything, the client too, shares this machine's cores. Measurements take turns, and a ratio is the median of
the rounds' ratios, so that what else the machine does falls on both. CPU time is told by process beside the rates: it
says what a figure is made of, and stays about the same on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import psutil
import uvicorn
import uvloop
from argon2 import PasswordHasher
from argon2.low_level import Type

from services.identity.passwords import LANES, MEMORY_KIB, PASSES
from services.identity.protocol.store import new_refresh_token, parts
from services.pages.forms import token_text
from tests.benchmarks.load import SUMMARY, cpu_of, wrk
from tests.integration.backends import POSTGRES_BINARIES, Postgres, free_port, listening, start, stop
from tests.integration.identity_site import PASSWORD, IdentitySite
from tests.integration.network import REPOSITORY
from tests.support.waiting import wait_until

PEOPLE = 64
CLIENT = "330106"
HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, type=Type.ID)
FORM = {"content-type": "application/x-www-form-urlencoded"}


# ---- the peer: a handler that does nothing, on the same server ----


async def bare(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
    await send({"type": "http.response.body", "body": b"x" * 1000})


def serve_bare(port: int) -> None:
    uvicorn.run(
        bare, host="127.0.0.1", port=port, loop="uvloop", http="httptools", lifespan="off", access_log=False, ws="none"
    )


# ---- a client that costs little ----


@dataclass
class Connection:
    """One keep-alive connection that sends requests in turn."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str

    @classmethod
    async def open(cls, site: IdentitySite) -> Connection:
        trust = ssl.create_default_context(cafile=str(site.authority))
        reader, writer = await asyncio.open_connection("localhost", site.tls_port, ssl=trust)
        return cls(reader, writer, f"localhost:{site.tls_port}")

    async def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, bytes]:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {path} HTTP/1.1\r\nhost: {self.host}\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        self.writer.write(head.encode() + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        place = answer.lower().index(b"content-length:") + 15
        length = int(answer[place : answer.index(b"\r\n", place)])
        return int(answer[9:12]), answer, await self.reader.readexactly(length)


async def rate(seconds: float, work: list[Callable[[], Awaitable[None]]]) -> float:
    """How often a second all of these together are done, each in a loop of its own."""
    done = 0
    ends = time.perf_counter() + seconds

    async def loop(action: Callable[[], Awaitable[None]]) -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await action()
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(loop(action) for action in work))
    return done / (time.perf_counter() - started)


# ---- what is measured ----


def bare_hashes(seconds: float, threads: int = 2) -> float:
    """argon2id alone, with the same parameters, on as many threads."""
    stored = HASHER.hash(PASSWORD)
    ends = time.perf_counter() + seconds
    done = [0] * threads

    def loop(place: int) -> None:
        while time.perf_counter() < ends:
            HASHER.verify(stored, PASSWORD)
            done[place] += 1

    started = time.perf_counter()
    running = [threading.Thread(target=loop, args=(place,)) for place in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(done) / (time.perf_counter() - started)


async def log_ins(site: IdentitySite, seconds: float, at_once: int) -> float:
    browser = "t" * 43
    token = token_text(browser)

    async def person(number: int) -> Callable[[], Awaitable[None]]:
        connection = await Connection.open(site)
        body = urlencode({"csrf": token, "next": "/", "login": f"bench{number}", "password": PASSWORD}).encode()
        headers = FORM | {"cookie": f"__Host-yiwang-form={browser}; __Host-yiwang-device={number:043d}"}

        async def log_in() -> None:
            status, _, answer = await connection.post("/login", body, headers)
            assert status == 303, answer

        return log_in

    return await rate(seconds, [await person(number) for number in range(at_once)])


# wrk's one thread keeps the tokens that are good in a list: taken for a request, the new one put back by its answer.
REFRESH = """
local free = {%s}
wrk.method = "POST"
wrk.headers["content-type"] = "application/x-www-form-urlencoded"
wrk.headers["authorization"] = "%s"
request = function()
  local token = table.remove(free)
  return wrk.format(nil, nil, nil, "grant_type=refresh_token&refresh_token=" .. token)
end
response = function(status, headers, body)
  table.insert(free, string.match(body, '"refresh_token":"([^"]+)"'))
end
"""
FIXED = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/x-www-form-urlencoded"
wrk.headers["authorization"] = "%s"
wrk.body = "%s"
response = function(status, headers, body) end
"""


def load(site: IdentitySite, path: str, script: str, seconds: int, connections: int = 32) -> float:
    """Requests a second by wrk; every one must be answered well."""
    file = site.folder / "load.lua"
    file.write_text(script + SUMMARY)
    got = wrk(f"https://127.0.0.1:{site.tls_port}{path}", file, seconds, connections)
    assert got.refused == got.broken == 0, got
    return got.rate


def rotations_alone(site: IdentitySite, families: list[str], seconds: float) -> float:
    """The refresh's own statement by pgbench, straight at PostgreSQL, one a transaction: what the database costs."""
    script = site.folder / "rotate.sql"
    identifiers = [str(parts(token)[0]) for token in families]
    script.write_text(
        f"\\set n random(1, {len(identifiers)})\n"
        "SELECT * FROM identity.rotate_refresh_token("
        f"(SELECT id FROM bench WHERE n = :n), '{CLIENT}', 'x', 'x', '', interval '2 min');\n"
    )
    values = ",".join(f"({number}, '{identifier}')" for number, identifier in enumerate(identifiers, start=1))
    site.postgres.run(
        "CREATE TABLE IF NOT EXISTS bench (n int PRIMARY KEY, id uuid); TRUNCATE bench;"
        f"INSERT INTO bench VALUES {values}; UPDATE identity.refresh_family SET secret_hash = 'x'",
        "identity",
    )
    command = [
        str(POSTGRES_BINARIES / "pgbench"),
        "-n",
        "-M",
        "prepared",
        "-c",
        "32",
        "-j",
        "1",
        "-T",
        str(int(seconds)),
    ]
    where = ["-h", "127.0.0.1", "-p", str(site.postgres.port), "-U", "postgres", "-f", str(script), "identity"]
    done = subprocess.run([*command, *where], capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("tps")]
    return float(line.split()[2])


def _basic(site: IdentitySite) -> str:
    return "Basic " + base64.b64encode(f"{CLIENT}:{site.client_secrets[CLIENT]}".encode()).decode()


def fill(site: IdentitySite, families: list[str]) -> None:
    """People who can log in, each with a session and a refresh family whose token is known here."""
    stored = HASHER.hash(PASSWORD)
    rows = ",".join(
        f"({number}, '{parts(token)[0]}'::uuid, '\\x{parts(token)[1].hex()}'::bytea)"
        for number, token in enumerate(families)
    )
    site.postgres.run(
        f"""
        CREATE TEMP TABLE b AS SELECT * FROM (VALUES {rows}) AS v (n, family, secret);
        INSERT INTO identity.person (username, name, password_hash)
            SELECT 'bench' || n, '王小明', '{stored}' FROM b ON CONFLICT DO NOTHING;
        CREATE TEMP TABLE p AS SELECT id, username FROM identity.person;
        INSERT INTO identity.role (person_id, tenant, department, role)
            SELECT id, '330106', '行政审批科', 'clerk' FROM p ON CONFLICT DO NOTHING;
        CREATE TEMP TABLE s AS SELECT b.*, gen_random_uuid() AS session, p.id AS person
            FROM b JOIN p ON p.username = 'bench' || b.n;
        INSERT INTO identity.session (id, token_hash, person_id, address, browser, expires_at)
            SELECT session, sha256(session::text::bytea), person, '', '', now() + interval '1 day' FROM s;
        INSERT INTO identity.refresh_family (id, session_id, client_id, scope, secret_hash)
            SELECT family, session, '{CLIENT}', 'openid profile roles', secret FROM s;
        """,
        "identity",
    )


@dataclass
class Figures:
    """Rates by round, and the milliseconds of CPU that one of each took, by server process."""

    watched: dict[str, list[psutil.Process]]
    rounds: dict[str, list[float]] = field(default_factory=dict)
    cost: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(self, name: str, measurement: Callable[[], float], watch: Sequence[str] = ()) -> None:
        """Measure, and keep the CPU of the processes in `watch` ("hashes" is this one)."""
        started = time.perf_counter()
        with cpu_of({group: self.watched[group] for group in watch}) as cpu:
            value = measurement()
        done = value * (time.perf_counter() - started)
        self.rounds.setdefault(name, []).append(value)
        self.cost.setdefault(name, []).append({group: used / done * 1000 for group, used in cpu.seconds.items()})
        print(f"  {name:<24}{value:>9.1f}/s", flush=True)

    def ratio(self, of: str, to: str) -> float:
        return statistics.median(a / b for a, b in zip(self.rounds[of], self.rounds[to], strict=True))

    def cpu(self, name: str) -> dict[str, float]:
        """Median milliseconds for one, by process."""
        rounds = self.cost[name]
        return {group: statistics.median(cost[group] for cost in rounds) for group in rounds[0]}

    def report(self) -> str:
        lines = [f"{'':<24}{'median/s':>10}{'lowest':>9}{'highest':>9}   CPU ms for one, without the client"]
        for name, values in self.rounds.items():
            cpu = self.cpu(name)
            parts_of = " + ".join(f"{group} {used:.3f}" for group, used in cpu.items())
            told = f"{sum(cpu.values()):.3f} = {parts_of}" if cpu else "not told"
            rates = f"{statistics.median(values):>10.1f}{min(values):>9.1f}{max(values):>9.1f}"
            lines.append(f"{name:<24}{rates}   {told}")
        for of, to, target in RATIOS:
            both = self.cpu(of) and self.cpu(to)
            by_cpu = f", {sum(self.cpu(to).values()) / sum(self.cpu(of).values()):.2f} by CPU" if both else ""
            aim = f" (target {target})" if target else ""
            lines.append(f"{of} : {to} = {self.ratio(of, to):.2f} by rate{by_cpu}{aim}")
        return "\n".join(lines)


RATIOS = (
    ("log-ins", "bare argon2id", 0.9),
    ("refreshes", "bare handler", None),
    ("refreshes", "rotations by pgbench", None),
    ("machine tokens", "bare handler", None),
)


WAY = ("haproxy", "service", "pgbouncer", "postgresql")


def watched(site: IdentitySite, peer: subprocess.Popen[bytes]) -> dict[str, list[psutil.Process]]:
    processes = {
        "haproxy": site.gateway,
        "service": site.process,
        "pgbouncer": site.pooler.process,
        "postgresql": site.postgres.process,
        "bare": peer,
    }
    groups = {name: [psutil.Process(process.pid)] for name, process in processes.items() if process}
    return groups | {"hashes": [Myself()]}


class Myself(psutil.Process):
    """This process alone: its children are the servers."""

    def children(self, recursive: bool = False) -> list[psutil.Process]:
        return []


def measure(site: IdentitySite, figures: Figures, rounds: int, seconds: int, at_once: int) -> None:
    basic = _basic(site)
    bare_request = FIXED % (basic, "x" * 100)
    machine = FIXED % (basic, "grant_type=client_credentials&scope=relay")
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        families = [new_refresh_token() for _ in range(PEOPLE)]
        fill(site, families)
        refresh = REFRESH % (",".join(f'"{token}"' for token in families), basic)
        figures.add("bare argon2id", partial(bare_hashes, seconds), ["hashes"])
        uvloop.run(log_ins(site, 1, at_once))  # opens the pools that closed while nobody logged in
        figures.add("log-ins", lambda: uvloop.run(log_ins(site, seconds, at_once)), WAY)
        figures.add("bare handler", partial(load, site, "/bare", bare_request, seconds), ["haproxy", "bare"])
        figures.add("refreshes", partial(load, site, "/token", refresh, seconds), WAY)
        figures.add("machine tokens", partial(load, site, "/token", machine, seconds), WAY)
        figures.add("rotations by pgbench", partial(rotations_alone, site, families, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=8, help="log-ins in flight")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        serve_bare(options.bare)
        return
    with tempfile.TemporaryDirectory(prefix="yiwang-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = Postgres(folder, durable=True)
        postgres.create()
        postgres.start()
        site = IdentitySite(folder / "identity", postgres, bare_port=free_port())
        site.create()
        command = [sys.executable, "-m", "tests.benchmarks.identity", "--bare", str(site.bare_port)]
        peer = start(command, folder / "bare.log", PYTHONPATH=str(REPOSITORY))
        try:
            site.start()
            wait_until(lambda: listening(site.bare_port or 0), 20, "the bare handler listens")
            print(f"{os.cpu_count()} cores; {PEOPLE} connections for tokens, {options.at_once} for log-ins", flush=True)
            measure(site, Figures(watched(site, peer)), rounds=1, seconds=1, at_once=options.at_once)
            print("warm; now it counts", flush=True)
            figures = Figures(watched(site, peer))
            measure(site, figures, options.rounds, options.seconds, options.at_once)
            print(figures.report())
        finally:
            site.stop()
            stop(peer)
            postgres.stop()


if __name__ == "__main__":
    main()
