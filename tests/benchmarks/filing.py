"""Filings a second through client → TLS HAProxy → uvicorn → PgBouncer → PostgreSQL.

Run it with `python -m tests.benchmarks.filing`.

Beside it, in the same run and interleaved, what the same database can do at most: pgbench committing the same rows
as one statement, prepared, straight to PostgreSQL; and what the same server can do at most: a handler that answers
at once, behind the same HAProxy. One tenant's database, then fourteen. fsync is on. The client runs on the same
cores. Figures are medians; `ratio` is filings to pgbench. On a machine that others use at the same time, the rates
say little; `cpu_ratio`, the CPU of a transaction of pgbench to that of a filing with all its parts and clients, holds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from tests.benchmarks.load import CLIENT, SUMMARY, Front, Load, cpu_of, memory_of, wrk
from tests.integration.backends import Postgres, Redis, free_port, start, stop
from tests.integration.filings import FORM, ITEM, STANDARD
from tests.integration.issuer import Issuer
from tests.integration.network import COUNTY, REPOSITORY, Network, Place

PEOPLE = 200
CONNECTIONS = 64

# The peer: the same three rows as three plain inserts in one function, the fastest way that SQL has.
PEER = """
CREATE OR REPLACE FUNCTION affairs.peer_file(person text, filing_key text, case_number text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO affairs.cases (number, version, status, holder, path, item, item_name, item_version, basis,
        promised_working_days, applicant, applicant_name, applicant_phone, form, filed_at, accept_by, changed_at,
        steps, check_code_hash, idempotency_key, request_digest)
    VALUES (case_number, 1, 'filed', '330106', ARRAY['330106'], '000101', '公共场所卫生许可', 1,
        '《公共场所卫生管理条例》第四条', 5, person, '张三', '13800000000', '{form}', now(), '2030-01-01', now(),
        '[{{"version": 1, "tenant": "330106", "status": "filed", "at": "2030-01-01T00:00:00Z"}}]',
        sha256('x'), filing_key, sha256('y'))
    ON CONFLICT (applicant, idempotency_key) DO NOTHING;
    INSERT INTO affairs.traces (number, at, action, actor, actor_name, department, basis, details,
        seconds_since_change)
    VALUES (case_number, now(), 'filed', person, '张三', '', '《公共场所卫生管理条例》第四条', '', 0);
    INSERT INTO affairs.outbox (destination, kind, key, body) VALUES ('query', 'case', case_number, '{message}');
END $$"""
PEER_CALL = """
\\set person random(1, 200)
SELECT affairs.peer_file('person-' || :person, gen_random_uuid()::text, gen_random_uuid()::text);
"""

REQUESTS = """
local tokens = {tokens}
local hosts = {hosts}
local body = [[{body}]]
local n = 0
request = function()
  n = n + 1
  return wrk.format("POST", "/api/affairs/cases", {{
    ["Host"] = hosts[n % #hosts + 1],
    ["Authorization"] = "Bearer " .. tokens[n % #tokens + 1],
    ["Content-Type"] = "application/json",
    ["Idempotency-Key"] = "{run}-" .. n,
  }}, body)
end
"""


@dataclass(frozen=True)
class Figures:
    filings: list[Load]
    peer: list[float]
    bare: list[Load]
    microseconds: dict[str, float]
    peer_microseconds: float
    memory: list[float]


class Bench:
    """The stack for one measurement: databases of so many tenants, so many service processes."""

    def __init__(self, folder: Path, tenants: int, processes: int) -> None:
        self.folder = folder
        self.postgres = Postgres(folder, durable=True, settings={"shared_buffers": "512MB", "max_wal_size": "4GB"})
        self.places = tuple(
            replace(COUNTY, code=f"3301{number:02d}", name=f"县{number}", address=f"127.0.33.{number + 20}")
            for number in range(6, 6 + tenants)
        )
        self.issuer = Issuer()
        self.network = Network(folder, self.postgres, Redis(folder), self.issuer, places=self.places)
        self.ports = [free_port() for _ in range(processes)]
        self.front = Front(folder, self.ports)
        self.bare_port = free_port()
        self.bare_front = Front(folder, [self.bare_port])

    @contextmanager
    def running(self) -> Iterator[None]:
        self.postgres.create()
        self.postgres.start()
        self.issuer.start()
        self.network.redis.start()
        self.network.create()
        for place in self.places:
            self._prepare(place)
        for number, port in enumerate(self.ports):
            # by the socket, as on a host
            socket = {"YIWANG_DATABASE_HOST": str(self.folder)}
            self.network.start("affairs", "cell-a", port, name=f"affairs-{number}", **socket)
        command = [sys.executable, "-m", "uvicorn", "--port", str(self.bare_port), "--no-access-log"]
        more = ["--log-level", "error", "--lifespan", "off", "tests.benchmarks.filing:bare"]
        bare = start([*command, *more], self.folder / "bare.log", PYTHONPATH=str(REPOSITORY))
        self.front.start()
        self.bare_front.start()
        try:
            yield
        finally:
            for front in (self.front, self.bare_front):
                front.stop()
            stop(bare)
            self.network.stop_all()
            self.network.redis.stop()
            self.issuer.stop()
            self.postgres.stop()

    def _prepare(self, place: Place) -> None:
        standard = json.dumps(STANDARD | {"code": ITEM, "version": 1, "published_at": "2026-01-01T00:00:00Z"})
        message = json.dumps({"number": "0" * 22, "steps": [], "check_code_hash": "0" * 64} | STANDARD)
        self.postgres.run(
            f"INSERT INTO affairs.standards VALUES ('{ITEM}', 1, '{standard}', now());"
            + PEER.format(form=json.dumps(FORM), message=message[:600]),
            place_database(place),
        )

    def file(self, run: str, seconds: int) -> Load:
        """Filings by two hundred people at all the tenants in turn."""
        tokens = [self.issuer.citizen(f"person-{number}") for number in range(PEOPLE)]
        body = {"item": ITEM, "form": FORM, "applicant": {"name": "张三", "phone": "13800000000"}}
        script = self.folder / "filing.lua"
        script.write_text(
            REQUESTS.format(
                tokens=lua_list(tokens),
                hosts=lua_list([place.address for place in self.places]),
                body=json.dumps(body, ensure_ascii=False),
                run=run,
            )
            + SUMMARY
        )
        return wrk(self.front.url, script, seconds, CONNECTIONS)

    def bare_handler(self, seconds: int) -> Load:
        script = self.folder / "bare.lua"
        script.write_text('wrk.method = "POST"\nwrk.body = "{}"\n' + SUMMARY)
        return wrk(self.bare_front.url, script, seconds, CONNECTIONS)

    def pgbench(self, seconds: int) -> float:
        """Transactions a second, over all the databases at once."""
        script = self.folder / "peer.sql"
        script.write_text(PEER_CALL)
        clients = max(1, CONNECTIONS // len(self.places))
        command = [
            "pgbench",
            "-n",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.postgres.port),
            "-U",
            "postgres",
            "-M",
            "prepared",
        ]
        command += ["-c", str(clients), "-T", str(seconds), "-f", str(script)]
        running = [
            subprocess.Popen([*command, place_database(place)], stdout=subprocess.PIPE, text=True)
            for place in self.places
        ]
        outputs = [process.communicate()[0] for process in running]
        return sum(float(output.rpartition("tps = ")[2].split()[0]) for output in outputs)

    def empty(self) -> None:
        """Every round starts from the same small tables."""
        for place in self.places:
            self.postgres.run(
                "TRUNCATE affairs.cases, affairs.traces, affairs.outbox; CHECKPOINT", place_database(place)
            )

    def measure(self, rounds: int, seconds: int) -> Figures:
        filings, peer, bare = [], [], []
        services = [psutil.Process(running.process.pid) for running in self.network.running.values()]
        watched = {
            "Python": services,
            "PostgreSQL": [_process(self.postgres.process)],
            "PgBouncer": [_process(self.network.pooler.process)],
            "HAProxy": [_process(self.front.process)],
        }
        self.file("warming", 2)
        spent: dict[str, list[float]] = {name: [] for name in [*watched, CLIENT]}
        peer_spent = []
        for number in range(rounds):
            self.empty()
            with cpu_of({"PostgreSQL": watched["PostgreSQL"]}) as cost:
                peer.append(self.pgbench(seconds))
            peer_spent.append(sum(cost.seconds.values()) / (peer[-1] * seconds) * 1e6)
            self.empty()
            with cpu_of(watched) as cost:
                load = self.file(f"round{number}", seconds)
            filings.append(load)
            bare.append(self.bare_handler(seconds))
            for name, used in cost.seconds.items():
                spent[name].append(used / load.requests * 1e6)
        microseconds = {name: statistics.median(used) for name, used in spent.items()}
        memory = [memory_of(service) for service in services]
        return Figures(filings, peer, bare, microseconds, statistics.median(peer_spent), memory)


async def bare(scope: dict[str, object], receive: object, send: object) -> None:
    """The handler that does nothing, for the server's own limit."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"{}"})  # type: ignore[operator]


def _process(process: subprocess.Popen[bytes] | None) -> psutil.Process:
    assert process is not None
    return psutil.Process(process.pid)


def place_database(place: Place) -> str:
    return f"t{place.code}"


def lua_list(values: list[str]) -> str:
    return "{" + ", ".join(f'"{value}"' for value in values) + "}"


def report(tenants: int, processes: int, figures: Figures) -> dict[str, object]:
    filings = statistics.median(load.rate for load in figures.filings)
    peer = statistics.median(figures.peer)
    bare_rate = statistics.median(load.rate for load in figures.bare)
    return {
        "databases": tenants,
        "processes": processes,
        "filings_per_second": round(filings),
        "pgbench_per_second": round(peer),
        "ratio": round(filings / peer, 2),
        "bare_handler_per_second": round(bare_rate),
        "ratio_to_bare": round(filings / bare_rate, 2),
        "refused": sum(load.refused + load.broken for load in figures.filings),
        "p50_ms": round(statistics.median(load.p50 for load in figures.filings), 1),
        "p99_ms": round(statistics.median(load.p99 for load in figures.filings), 1),
        "cpu_microseconds_a_filing": {name: round(value) for name, value in figures.microseconds.items()},
        "cpu_microseconds_a_pgbench_transaction": round(figures.peer_microseconds),
        "cpu_ratio": round(figures.peer_microseconds / sum(figures.microseconds.values()), 2),
        "memory_mb": [round(value) for value in figures.memory],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--databases", type=int, nargs="+", default=[1, 14])
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    for tenants in arguments.databases:
        with tempfile.TemporaryDirectory(prefix="yiwang-bench-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o755)
            bench = Bench(Path(folder), tenants, arguments.processes)
            with bench.running():
                figures = bench.measure(arguments.rounds, arguments.seconds)
        print(json.dumps(report(tenants, arguments.processes, figures), ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
