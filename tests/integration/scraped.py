"""A real Prometheus, with its real configuration, that scrapes a small province's worth of targets: one HTTP server in
place of all exporters, which shows what a test wants them to show."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ruamel.yaml import YAML

from infra.outputs import EnvironmentOutputs
from monitoring.jobs import targets
from monitoring.objectives import load
from monitoring.prometheus import Prometheus, PrometheusError
from monitoring.render import files
from services.kernel.telemetry import BUCKETS
from tests.integration.backends import free_port, start, stop
from tests.support.waiting import wait_until

INTERVAL = "1s"
GIB = 1024**3


@dataclass
class Exporters:
    """What each target shows: `counters` by (host, job), series → value; `cpu` by host; `silent` ones answer 503."""

    outputs: EnvironmentOutputs
    counters: dict[tuple[str, str], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(lambda: 0.25))
    silent: set[tuple[str, str]] = field(default_factory=set)
    began: float = field(default_factory=time.time)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, host: str, job: str, series: str, count: float) -> None:
        with self.lock:
            shown = self.counters[(host, job)]
            shown[series] = shown.get(series, 0) + count

    def requests(self, host: str, job: str, good: int, failed: int = 0, slow: int = 0, tenant: str = "330106") -> None:
        """As a service counts them: `slow` of them took two seconds, the others 20 ms."""
        self.add(host, job, f'yiwang_requests_total{{tenant="{tenant}",outcome="ok"}}', good)
        if failed:
            self.add(host, job, f'yiwang_requests_total{{tenant="{tenant}",outcome="failed"}}', failed)
        for bound in (*BUCKETS, float("inf")):
            within = good + failed - (slow if bound < 2 else 0) if bound >= 0.02 else 0
            label = "+Inf" if bound == float("inf") else str(bound)
            self.add(host, job, f'yiwang_request_seconds_bucket{{route="POST /api",le="{label}"}}', within)
        self.add(host, job, 'yiwang_request_seconds_count{route="POST /api"}', good + failed)

    def answered(self, gateway: str, service: str, good: int, failed: int = 0) -> None:
        """As HAProxy counts answers: every code from the start."""
        for code, count in (("2xx", good), ("4xx", 0), ("5xx", failed)):
            series = f'haproxy_backend_http_responses_total{{proxy="{service}",code="{code}"}}'
            self.add(gateway, "gateway", series, count)

    def exposition(self, host: str, job: str) -> str:
        with self.lock:
            lines = [f"{series} {value}" for series, value in self.counters[(host, job)].items()]
        return "\n".join([*lines, *self._standing(host, job)]) + "\n"

    def _standing(self, host: str, job: str) -> Iterator[str]:
        """What is shown without anybody doing anything."""
        if job == "host":
            age = time.time() - self.began
            yield f'node_cpu_seconds_total{{cpu="0",mode="idle"}} {age * (1 - self.cpu[host])}'
            yield f'node_cpu_seconds_total{{cpu="0",mode="user"}} {age * self.cpu[host]}'
            yield from ("node_memory_MemTotal_bytes 1000", "node_memory_MemAvailable_bytes 600")
            for what, value in (("size", 1000), ("free", 900), ("avail", 900)):
                yield f'node_filesystem_{what}_bytes{{device="/dev/vda",fstype="ext4",mountpoint="/"}} {value}'
        elif job in ("affairs", "portal", "identity", "query"):
            yield "yiwang_requests_in_flight 0"
        elif job == "gateway":
            yield from _gateway(host)
        elif job == "pgbouncer":
            yield "pgbouncer_up 1"
        elif job == "tenants":
            for tenant in self.outputs.tenants:
                yield f'yiwang_tenant_index_lag_seconds{{tenant="{tenant.code}"}} 1.5'
                yield f'yiwang_tenant_reading_timestamp_seconds{{tenant="{tenant.code}"}} {time.time()}'
        elif job == "database":
            yield from ("pg_up 1", "pg_settings_max_connections 400")
            for name in ("t330100", "t330106"):
                yield f'pg_stat_database_numbackends{{datname="{name}",datid="1"}} 6'
                yield f'pg_database_size_bytes{{datname="{name}"}} {GIB}'
        elif job == "cache":
            yield from ("redis_up 1", "redis_memory_used_bytes 100", "redis_memory_max_bytes 400")


def _gateway(host: str) -> Iterator[str]:
    services = ("affairs", "portal") if host.startswith("cell-a") else ("identity", "query")
    for service in services:
        yield f'haproxy_backend_current_queue{{proxy="{service}"}} 0'
        for state in ("UP", "DOWN"):
            up = int(state == "UP")
            yield f'haproxy_server_status{{proxy="{service}",server="one",state="{state}"}} {up}'
            yield f'haproxy_server_status{{proxy="{service}",server="one:unchecked",state="{state}"}} {1 - up}'


@dataclass
class Scraped:
    """The running pair."""

    exporters: Exporters
    prometheus: Prometheus
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = start(
            [
                "/usr/bin/prometheus",
                f"--config.file={self.folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--log.level=warn",
            ],
            self.folder / "prometheus.log",
        )

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)

    def value(self, expression: str) -> float | None:
        """None also while Prometheus does not answer, as right after its start."""
        with suppress(PrometheusError):
            samples = self.prometheus.query(expression)
            return samples[0].value if samples else None
        return None

    def await_value(self, expression: str, wanted: float) -> None:
        wait_until(lambda: self.value(expression) == wanted, 30, f"{expression} is {wanted}")

    def await_scrapes(self, count: int) -> float:
        """The time by which every target has been scraped so many times more."""
        since = time.time()

        def scraped() -> bool:
            # a scrape that failed, as on a busy machine, is none, and none may be missing at the end
            window = f"{max(int(time.time() - since), 1)}s"
            speaking = (self.value("count(up)") or 0) - len(self.exporters.silent)
            often = self.value(f"count(sum_over_time(up[{window}]) >= {count})") or 0
            return time.time() - since > count and min(often, self.value("sum(up)") or 0) >= max(speaking, 1)

        wait_until(scraped, 60, f"{count} scrapes")
        return time.time()


@contextmanager
def scraped(outputs: EnvironmentOutputs, folder: Path) -> Iterator[Scraped]:
    exporters = Exporters(outputs)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(exporters))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    _configure(outputs, folder, server.server_port)
    port = free_port()
    pair = Scraped(exporters, Prometheus(f"http://127.0.0.1:{port}"), folder, port)
    pair.start()
    try:
        yield pair
    finally:
        pair.stop()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(exporters: Exporters) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host, job = self.path.strip("/").split("?")[0].split("/")
            body = exporters.exposition(host, job).encode()
            self.send_response(503 if (host, job) in exporters.silent else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    return Handler


def _configure(outputs: EnvironmentOutputs, folder: Path, port: int) -> None:
    """The configuration that a monitoring host gets; only pace and addresses differ."""
    yaml = YAML()
    document = yaml.load(files(outputs, load())["prometheus.yml"])
    document["global"] |= {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL}
    del document["rule_files"], document["alerting"]
    groups: dict[str, list[dict[str, object]]] = defaultdict(list)
    for target in targets(outputs):
        labels = {**target.labels, "__metrics_path__": f"/{target.labels['host']}/{target.job}"}
        groups[target.job].append({"targets": [f"127.0.0.1:{port}"], "labels": labels})
    (folder / "targets").mkdir()
    for job in document["scrape_configs"]:
        job |= {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL}
        (folder / "targets" / f"{job['job_name']}.json").write_text(json.dumps(groups[job["job_name"]]))
    with (folder / "prometheus.yml").open("w") as file:
        yaml.dump(document, file)
