"""Services as processes of their own, as a host starts them, with no database behind them: what such a process tells of
itself before anybody has asked it anything, and after."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from infra.services import CORE, GIVEN, SERVICES, made_for_tenants
from tests.integration.backends import free_port, listening, start, stop
from tests.support.waiting import wait_until
from tests.unit.services.test_kernel import TENANT, network

REPOSITORY = Path(__file__).resolve().parents[2]
CELLS = {service.name: CORE if service.cells == "core" else "cell-a" for service in SERVICES}
FIRST, SECOND, NEW = "330106", "330112", "330127"

Labels = dict[str, str]
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Sample:
    name: str
    labels: Labels
    value: float

    @property
    def series(self) -> str:
        """As it is written in an exposition, and in a test of rules."""
        return f"{self.name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in self.labels.items())}}}"


def parsed(exposition: str) -> list[Sample]:
    matches = (SAMPLE.match(line) for line in exposition.splitlines() if line and line[0] != "#")
    return [Sample(match[1], dict(LABEL.findall(match[2] or "")), float(match[3])) for match in matches if match]


def site(code: str) -> str:
    return f"{code}.example"


@dataclass
class Fresh:
    """A service that has just started; its database refuses every connection."""

    folder: Path
    service: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True)
        secrets: dict[str, Any] = {"signing_key": "11" * 32, "tenants": {}}
        unused = ("database_password", *GIVEN, *made_for_tenants())
        secrets["tenants"] = {code: dict.fromkeys(unused, "00" * 32) for code in (FIRST, SECOND, NEW)}
        (self.folder / "secrets.json").write_text(json.dumps(secrets))
        self.live(FIRST, SECOND)
        settings = {
            "YIWANG_SERVICE": self.service,
            "YIWANG_CELL": CELLS[self.service],
            "YIWANG_BIND": "127.0.0.1",
            "YIWANG_PORT": str(self.port),
            "YIWANG_TENANTS_FILE": str(self.folder / "tenants.json"),
            "YIWANG_SECRETS_FILE": str(self.folder / "secrets.json"),
            "YIWANG_DATABASE_HOST": "127.0.0.1",
            "YIWANG_DATABASE_PORT": str(free_port()),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.process = start([sys.executable, "-m", f"services.{self.service}"], self.log, **settings)

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def live(self, *codes: str) -> None:
        """Write the tenants file, as the playbook does when a tenant comes."""
        entries = [TENANT | {"code": code, "site": site(code), "database": f"t{code}"} for code in codes]
        written = self.folder / "tenants.new"
        written.write_text(
            json.dumps(network(*entries) | {"issuer": "http://127.0.0.1:9", "query": "http://127.0.0.1:9"})
        )
        written.replace(self.folder / "tenants.json")

    def listens(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log.read_text()[-3000:]
        return listening(self.port)

    def told(self) -> list[Sample]:
        return parsed(httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=30, trust_env=False).text)

    def ask(self, path: str, code: str = FIRST) -> int:
        headers = {"Host": site(code)}
        return httpx.get(
            f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=30, trust_env=False
        ).status_code


@contextlib.contextmanager
def fresh(folder: Path) -> Iterator[dict[str, Fresh]]:
    """One process of each service."""
    services = {name: Fresh(folder / name, name) for name in CELLS}
    try:
        for service in services.values():
            service.start()
        for service in services.values():
            wait_until(service.listens, 60, f"{service.service} listens")
        yield services
    finally:
        for service in services.values():
            if service.process is not None:
                stop(service.process)
