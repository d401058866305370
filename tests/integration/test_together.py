"""Several modules as one process group: each answers on its own port, with its own metrics, and they end together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.integration.backends import free_port
from tests.support.waiting import wait_until

MODULES = ("affairs", "portal")
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Group:
    process: subprocess.Popen[bytes]
    ports: dict[str, int]

    def get(self, module: str, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.ports[module]}{path}", timeout=5)

    def serves(self) -> bool:
        try:
            return all(self.get(module, "/healthz").status_code == 200 for module in self.ports)
        except httpx.TransportError:
            return False

    def children(self) -> list[int]:
        own = Path(f"/proc/{self.process.pid}")
        return [int(child) for child in (own / "task" / own.name / "children").read_text().split()]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Group]:
    network = {"schema_version": 1, "environment": "test", "issuer": NOWHERE, "query": NOWHERE, "tenants": [],
               "object_endpoint": NOWHERE, "object_region": "local"}  # fmt: skip
    (tmp_path / "tenants.json").write_text(json.dumps(network))
    (tmp_path / "secrets.json").write_text("{}")
    ports = {module: free_port() for module in MODULES}
    for module, port in ports.items():
        settings = {"SERVICE": module, "CELL": "cell-a", "PORT": port, "BIND": "127.0.0.1",
                    "TENANTS_FILE": tmp_path / "tenants.json", "SECRETS_FILE": tmp_path / "secrets.json"}  # fmt: skip
        (tmp_path / f"{module}.env").write_text("".join(f"YIWANG_{name}={value}\n" for name, value in settings.items()))
    process = subprocess.Popen(
        [sys.executable, "-m", "services.together", *MODULES],
        env={**os.environ, "YIWANG_ENV_FOLDER": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    made = Group(process, ports)
    try:
        wait_until(made.serves, 60, "modules that answer")
        yield made
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(30)


def asked(group: Group, module: str) -> float:
    """Requests that the module has counted, but for those for its metrics and health."""
    counts = re.findall(r"^yiwang_request_seconds_count\{.*\} (\S+)", group.get(module, "/metrics").text, re.MULTILINE)
    return sum(map(float, counts))


def test_each_answers_for_itself_and_they_end_when_told(group: Group) -> None:
    titles = {module: group.get(module, "/openapi.json").json()["info"]["title"] for module in MODULES}
    assert titles == {"affairs": "Affairs", "portal": "Portal"}
    before = {module: asked(group, module) for module in MODULES}
    for _ in range(3):
        group.get("affairs", "/api/affairs/items")
    assert asked(group, "affairs") == before["affairs"] + 3
    assert asked(group, "portal") == before["portal"], "what another module is asked is not counted here"
    group.process.terminate()
    assert group.process.wait(30) == 0


def test_when_a_module_ends_all_do_so_that_the_unit_starts_them_again(group: Group) -> None:
    first, second = group.children()
    os.kill(second, signal.SIGKILL)
    assert group.process.wait(30) == 1
    assert not Path(f"/proc/{first}").exists()


def test_what_they_share_of_memory_is_there_once(group: Group) -> None:
    def kib(pid: int, name: str) -> int:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        match = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        assert match
        return int(match[1])

    for child in group.children():
        own = kib(child, "Private_Dirty") + kib(child, "Private_Clean")
        assert own < 0.6 * kib(child, "Rss"), "alone nearly all of it would be its own"
