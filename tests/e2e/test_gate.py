"""The launch gate on a living environment: GO when all is well, and NO-GO for the right reason when it is not."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from infra.engine import REPOSITORY
from loadtests.gate.verdict import Verdict
from loadtests.scenario import Scenario
from loadtests.scenario import load as load_scenario
from monitoring import objectives
from monitoring.objectives import Objectives
from monitoring.prometheus import Prometheus
from tests.support.living import Living
from tests.support.waiting import wait_until
from tools import rehearsal_people
from tools.gate import Judged, run_gate
from tools.watch import await_sight

SPOILED = Path(__file__).parent / "spoiled" / "sitecustomize.py"
FOLDER = "/run/yiwang-spoiled"
DROP_IN = "/run/systemd/system/yiwang-affairs.service.d/spoiled.conf"
RATE, HOLD, RAMP = 4.0, 20.0, 3.0
READY_SECONDS = 60.0

pytestmark = pytest.mark.timeout(240, func_only=True)


def short(hold: float = HOLD) -> Scenario:
    return (
        load_scenario("launch")
        .changed(rate=RATE, hold_seconds=hold)
        .model_copy(update={"ramp_seconds": RAMP, "people": 20})
    )


def limits() -> Objectives:
    """Those of the network. A short hold has fewer requests, and one scrape is more of it."""
    loaded = objectives.load()
    return loaded.model_copy(update={"gate": loaded.gate.model_copy(update={"minimum_requests": 150, "scrapes": 0.7})})


@pytest.fixture(scope="module")
def people(living: Living) -> Iterator[None]:
    """Made once for all runs here, while hosts still burst and others compute: each costs a password's hash."""
    rehearsal_people.prepare(living.engine, short(), print)
    yield
    rehearsal_people.remove(living.engine, print)


@pytest.fixture(scope="module")
def sight(living: Living, people: None, own_speed: None) -> None:
    """What was deployed before is running and has been looked at since: tenants are read, and their readings scraped,
    every half minute, which is longer than a hold here.
    """
    assert living.outputs.prometheus is not None
    await_sight(living.outputs)
    since, live = time.time(), len([tenant for tenant in living.outputs.tenants if tenant.status == "live"])
    with Prometheus(living.outputs.prometheus) as prometheus:
        read = f"count(max by (tenant) (yiwang_tenant_reading_timestamp_seconds) > {since:.0f}) == {live}"
        wait_until(lambda: bool(prometheus.query(read)), 3 * READY_SECONDS, "every live tenant was read and scraped")


@pytest.fixture
def gate(living: Living, sight: None, tmp_path: Path) -> Callable[..., Judged]:
    def run(hold: float = HOLD, say: Callable[[str], None] = print) -> Judged:
        judged = run_gate(living.engine, short(hold), folder=tmp_path, objectives=limits(), say=say)
        print(judged.verdict.verdict, *(reason.sentence for reason in judged.verdict.reasons), sep="\n  ")
        return judged

    return run


def application_hosts(living: Living) -> list[str]:
    return [host.name for cell in living.outputs.cells for host in cell.hosts if host.role == "application"]


@dataclass
class Affairs:
    """affairs on every application host; each test says what it must be like."""

    living: Living
    defect: str = ""

    def be(self, defect: str) -> None:
        """Restarts it with another known defect than it has, or with none."""
        if defect == self.defect:
            return
        self.defect = defect
        restart(self.living, plant(defect) if defect else f"rm -rf {FOLDER} {DROP_IN}")


@pytest.fixture(scope="module")
def affairs(living: Living, people: None, own_speed: None) -> Iterator[Affairs]:
    deployed = Affairs(living)
    yield deployed
    deployed.be("")


def plant(defect: str) -> str:
    module = SPOILED.read_text()
    unit = f"[Service]\nEnvironment=PYTHONPATH={FOLDER}:/opt/yiwang/current/lib YIWANG_SPOILED={defect}\n"
    return (
        f"mkdir -p {FOLDER} {Path(DROP_IN).parent} && cat > {FOLDER}/sitecustomize.py <<'MODULE'\n{module}MODULE\n"
        f"cat > {DROP_IN} <<'UNIT'\n{unit}UNIT\n"
    )


def restart(living: Living, change: str) -> None:
    """Changes every application host and restarts its affairs, all at once."""
    hosts = application_hosts(living)
    with living.life.bursting(), ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(lambda name: restart_one(living, name, change), hosts))


def restart_one(living: Living, name: str, change: str) -> None:
    """Waits until affairs is ready again and the gateways know."""
    done = living.on_host(name, f"{change}\nsystemctl daemon-reload && systemctl restart yiwang-affairs")
    assert done.returncode == 0, done.stderr

    def ready() -> bool:
        return living.on_host(name, "curl -fsS -o /dev/null http://127.0.0.1:8001/readyz").returncode == 0

    wait_until(ready, READY_SECONDS, f"affairs on {name} is ready", every=0.5)
    assert living.outputs.prometheus is not None
    with Prometheus(living.outputs.prometheus) as prometheus:
        up = f'min(haproxy_server_status{{proxy="affairs", server="{name}", state="UP"}})'

        def known() -> bool:
            return [sample.value for sample in prometheus.query(up)] == [1]

        wait_until(known, READY_SECONDS, f"gateways take affairs on {name} for healthy", every=0.5)


def reasons(verdict: Verdict) -> set[str]:
    return {reason.limit for reason in verdict.reasons}


def test_a_healthy_environment_is_a_go_and_says_so_as_a_metric(
    living: Living, affairs: Affairs, gate: Callable[..., Judged], tmp_path: Path
) -> None:
    affairs.be("")
    judged = gate()
    if judged.verdict.verdict == "UNSURE":  # too noisy to tell: once more, then it must be
        judged = gate()
    assert judged.verdict.verdict == "GO", judged.verdict.reasons
    assert judged.unpublished == ""
    assert judged.page.stat().st_size < 1_000_000
    assert living.outputs.receiver is not None and living.outputs.prometheus is not None
    told = httpx.get(f"{living.outputs.receiver}/verdicts", timeout=10, trust_env=False).text
    assert '"GO"' in told
    with Prometheus(living.outputs.prometheus) as prometheus:
        metric = 'yiwang_gate_verdict{scenario="launch"}'
        wait_until(lambda: [sample.value for sample in prometheus.query(metric)] == [1], 30, "the verdict is a metric")


def test_affairs_slower_by_300_ms_is_a_no_go_for_its_latency(affairs: Affairs, gate: Callable[..., Judged]) -> None:
    affairs.be("slow")
    verdict = gate().verdict
    assert verdict.verdict == "NO-GO"
    assert "latency of affairs, as people saw it" in reasons(verdict)
    assert {reason.component for reason in verdict.reasons if reason.kind == "promise"} <= {
        "affairs",
        "affairs at cell-a",
    }


def test_affairs_that_answers_500_to_2_percent_is_a_no_go_for_its_availability(
    affairs: Affairs, gate: Callable[..., Judged]
) -> None:
    affairs.be("failing")
    verdict = gate().verdict
    assert verdict.verdict == "NO-GO"
    assert reasons(verdict) >= {
        "availability of affairs, as people saw it",
        "availability of affairs, as it saw itself",
        "availability of affairs, as the gateway saw it",
    }
    assert "right answers of affairs" not in reasons(verdict)


def test_affairs_that_answers_200_with_a_wrong_body_is_a_no_go_for_its_answers(
    affairs: Affairs, gate: Callable[..., Judged]
) -> None:
    """Nothing but the journeys' own check of each answer sees it."""
    affairs.be("wrong")
    verdict = gate().verdict
    assert verdict.verdict == "NO-GO"
    # journeys end where an answer is wrong, so there may be too few requests as well
    promises = [reason.limit for reason in verdict.reasons if reason.kind == "promise"]
    assert promises[0] in ("right answers of affairs", "right answers of a tenant, as people saw them")
    assert "right answers of affairs" in promises
    assert not reasons(verdict) & {
        "availability of affairs, as people saw it",
        "availability of affairs, as it saw itself",
    }


# ---- without sight ----


def when_it_holds(living: Living, host: str, command: str) -> Callable[[str], None]:
    """A `say` that, once the hold goes on, has a host run a command."""
    begun = threading.Event()

    def say(line: str) -> None:
        print(line)
        if "(hold)" in line and not begun.is_set():
            begun.set()
            assert living.on_host(host, command).returncode == 0

    return say


def test_a_target_that_vanishes_in_mid_run_is_a_no_go_that_names_it(
    living: Living, affairs: Affairs, gate: Callable[..., Judged]
) -> None:
    affairs.be("")
    host, unit = "cell-a-gateway-2", "prometheus-node-exporter"
    try:
        verdict = gate(say=when_it_holds(living, host, f"systemctl stop {unit}")).verdict
    finally:
        living.on_host(host, f"systemctl start {unit}")
    assert verdict.verdict == "NO-GO"
    assert verdict.reasons[0].component == f"{host} host"
    assert "in the middle of the hold" in verdict.reasons[0].sentence


def test_prometheus_down_during_a_gate_is_a_no_go_and_before_it_no_load_is_sent(
    living: Living, gate: Callable[..., Judged]
) -> None:
    host = next(host.name for cell in living.outputs.cells for host in cell.hosts if host.role == "monitoring")
    try:
        during = gate(hold=15, say=when_it_holds(living, host, "systemctl stop prometheus"))
        before = gate()
    finally:
        living.on_host(host, "systemctl start prometheus")
    assert living.outputs.prometheus is not None
    for judged in (during, before):
        assert judged.verdict.verdict == "NO-GO"
        assert judged.verdict.reasons[0].component == "prometheus"
        assert living.outputs.prometheus in judged.verdict.reasons[0].sentence
    assert during.load is not None
    assert before.load is None


def test_the_documented_native_command_works_as_typed(living: Living, people: None, tmp_path: Path) -> None:
    file = tmp_path / "short.json"
    file.write_text(short(10.0).model_dump_json())
    typed = f"""
        eval "$(.venv/bin/yiwang env {living.name})"
        YIWANG_SCENARIO={file} YIWANG_RATE=1 locust -f loadtests/locustfile.py --headless --only-summary
    """
    done = subprocess.run(["sh", "-ec", typed], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "citizen.file" in done.stdout + done.stderr
