"""What every measurement needs: a TLS front, a load from wrk, and the CPU that processes used."""

from __future__ import annotations

import json
import re
import resource
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.integration.backends import free_port, listening, start, stop
from tests.support.waiting import wait_until

SUMMARY = """
done = function(summary, latency, requests)
  local shape = 'SUMMARY {"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "p50": %f, "p99": %f}\\n'
  io.write(string.format(shape,
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load got: `refused` answered with 4xx or 5xx, `broken` without an answer; latencies in milliseconds."""

    requests: int
    seconds: float
    refused: int
    broken: int
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        return (self.requests - self.refused) / self.seconds


def wrk(url: str, script: Path, seconds: int, connections: int = 64) -> Load:
    """Load from one thread of wrk; the script makes the requests and ends with `SUMMARY`."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = re.search(r"SUMMARY (\{.*\})", done.stdout)
    assert summary, done.stdout + done.stderr
    return Load(**json.loads(summary.group(1)))


@dataclass
class Front:
    """One HAProxy that ends TLS, before one or more servers."""

    folder: Path
    servers: Sequence[int]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        pem = certificate(self.folder)
        servers = "\n".join(f"  server s{port} 127.0.0.1:{port}" for port in self.servers)
        configuration = self.folder / f"haproxy-{self.port}.cfg"
        configuration.write_text(
            f"""global
  nbthread 1
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend front
  bind 127.0.0.1:{self.port} ssl crt {pem}
  default_backend services
backend services
{servers}
"""
        )
        self.process = start(["/usr/sbin/haproxy", "-db", "-f", str(configuration)], self.folder / "haproxy.log")
        wait_until(lambda: listening(self.port), 10, "HAProxy listens")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def stop(self) -> None:
        if self.process:
            stop(self.process)


def certificate(folder: Path) -> Path:
    """A P-256 certificate for loopback, with its key, made once a folder."""
    pem = folder / "front.pem"
    if not pem.exists():
        key, crt = folder / "front.key", folder / "front.crt"
        request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        files = ["-keyout", str(key), "-out", str(crt), "-days", "2", "-subj", "/CN=127.0.0.1"]
        subprocess.run([*request, *files], check=True, capture_output=True)
        pem.write_bytes(crt.read_bytes() + key.read_bytes())
    return pem


@dataclass
class Cost:
    """CPU seconds by name of what was watched."""

    seconds: dict[str, float] = field(default_factory=dict)


CLIENT = "client"


@contextmanager
def cpu_of(processes: Mapping[str, Sequence[psutil.Process]]) -> Iterator[Cost]:
    """CPU that groups of processes, with their children, use in the block; and the load's own that ends in it."""
    cost = Cost()
    clients = _ended_children()
    before = {name: _cpu(group) for name, group in processes.items()}
    yield cost
    for name, group in processes.items():
        cost.seconds[name] = _cpu(group) - before[name]
    cost.seconds[CLIENT] = _ended_children() - clients


def _ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _cpu(group: Sequence[psutil.Process]) -> float:
    """CPU seconds of processes, of their children, and of children that have ended."""
    used = 0.0
    for parent in group:
        times = parent.cpu_times()
        used += times.user + times.system + times.children_user + times.children_system
        for child in parent.children(recursive=True):
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            used += times.user + times.system
    return used


def memory_of(process: psutil.Process) -> float:
    """Private memory in MB."""
    return float(process.memory_full_info().uss) / 1e6
