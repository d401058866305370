"""What everybody meets at a gateway host of the tenants' cell: a refusal, a limit, a host that is about to leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from typer.testing import CliRunner

from infra.outputs import HostOutputs
from tests.e2e.databases import cell_of
from tests.support.living import CITY, XIHU, Living
from tests.support.waiting import wait_until
from tools import cli

PORT, METRICS_PORT, PORTAL_PORT = 8080, 8405, 8002
FIGURES = ("/metrics", "/metrics/", "/%6detrics", "/metrics?x", "/healthz", "/readyz")
LIMITS = "/etc/haproxy/limits.map"
SECONDS_COUNTED = 10
"""A gateway counts a site's requests over so many seconds."""


def hosts(living: Living, cell: str, role: str) -> list[HostOutputs]:
    return [host for host in cell_of(living, cell).hosts if host.role == role]


def gateways(living: Living) -> list[HostOutputs]:
    """Those of the cell that serves the tenants."""
    return hosts(living, "cell-a", "gateway")


def site(living: Living, code: str) -> str:
    return next(tenant.site for tenant in living.outputs.tenants if tenant.code == code)


def ask(
    host: HostOutputs, named: str, path: str = "/", port: int = PORT, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """One request for the site `named`, straight to a host."""
    url = f"http://{host.address}:{port}{path}"
    return httpx.get(url, headers={"Host": named, **(headers or {})}, timeout=30, trust_env=False)


def order(living: Living, gateway: HostOutputs, command: str) -> str:
    """What the running HAProxy of a gateway answers to its operator."""
    ran = living.on_host(gateway.name, f"echo '{command}' | nc -U -N /run/haproxy/admin.sock")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_an_unknown_host_is_misdirected_and_a_request_keeps_its_id(living: Living) -> None:
    gateway = gateways(living)[0]
    refused = ask(gateway, "nobody.localhost", headers={"X-Request-Id": "abcdef-0123"})
    assert (refused.status_code, refused.json()["status"]) == (421, 421)
    assert refused.headers["x-request-id"] == "abcdef-0123"
    assert refused.headers["content-type"] == "application/problem+json"
    served = ask(gateway, f"{site(living, XIHU)}:{living.outputs.foundation.site_port}")
    assert served.status_code == 200
    assert len(served.headers["x-request-id"]) == 36, "a request without an id is given one"


@contextmanager
def limited(living: Living, gateway: HostOutputs, named: str, per_second: int) -> Iterator[None]:
    """Another limit for a site in the memory of a running gateway, as if the tenant's setting were so low."""
    told = order(living, gateway, f"get map {LIMITS} {named}")
    before = next(tenant.settings.requests_per_second for tenant in living.outputs.tenants if tenant.site == named)
    assert f'value="{before}"' in told, f"the tenant's setting is not what the gateway goes by: {told}"
    order(living, gateway, f"set map {LIMITS} {named} {per_second}")
    try:
        yield
    finally:
        order(living, gateway, f"set map {LIMITS} {named} {before}")


def test_a_tenant_over_its_limit_is_slowed_and_its_neighbour_is_not(living: Living) -> None:
    gateway = gateways(living)[0]
    city, neighbour = site(living, CITY), site(living, XIHU)

    def statuses(count: int) -> set[int]:
        return {ask(gateway, city, "/progress").status_code for _ in range(count)}

    assert statuses(SECONDS_COUNTED + 1) == {200}
    with limited(living, gateway, city, 1):
        assert statuses(1) == {429}
        assert ask(gateway, city).headers["retry-after"] == "1"
        assert ask(gateway, neighbour, "/progress").status_code == 200
    assert statuses(1) == {200}


def test_a_drained_gateway_fails_its_health_check_and_goes_on_answering(living: Living) -> None:
    gateway = gateways(living)[0]

    def health() -> int:
        return ask(gateway, "any", "/gateway-healthz").status_code

    assert health() == 200
    order(living, gateway, "set server self/self state maint")
    try:
        assert health() == 503
        assert ask(gateway, site(living, XIHU)).status_code == 200
    finally:
        order(living, gateway, "set server self/self state ready")
    assert health() == 200


def test_the_public_sees_no_figures(living: Living) -> None:
    gateway, core = gateways(living)[0], hosts(living, "cell-core", "gateway")[0]
    query = f"query.{living.outputs.foundation.site_suffix}"
    for path in FIGURES:
        refused = ask(gateway, site(living, XIHU), path)
        assert (refused.status_code, refused.json()["title"]) == (404, "There is nothing here."), path
    assert {ask(core, query, path).status_code for path in ("/metrics", "/%6detrics", "/healthz")} == {404}
    assert ask(core, query, "/readyz").status_code == 200, "a core service may be asked whether it is ready"


def test_whoever_is_inside_sees_the_figures(living: Living) -> None:
    """The twin of the test above: under each of these names there is something to hide."""
    application = hosts(living, "cell-a", "application")[0]
    for path in FIGURES:
        answer = ask(application, site(living, XIHU), path, PORTAL_PORT)
        # a slash at the end is answered with the way to the name without it
        assert answer.status_code == (307 if path.endswith("/") else 200), path


@contextmanager
def without_portal(living: Living) -> Iterator[None]:
    """The portal of the cell stopped everywhere; at the end it is back, and every gateway knows."""
    applications = hosts(living, "cell-a", "application")
    names = [host.name for host in applications]

    def everywhere(command: str) -> None:
        with ThreadPoolExecutor(len(names)) as pool:
            assert {done.returncode for done in pool.map(lambda name: living.on_host(name, command), names)} == {0}

    def ready() -> bool:
        try:
            return all(ask(host, "any", "/readyz", PORTAL_PORT).status_code == 200 for host in applications)
        except httpx.TransportError:
            return False

    def known() -> bool:
        told = [ask(gateway, "any", "/metrics", METRICS_PORT).text for gateway in gateways(living)]
        up = 'haproxy_server_status{{proxy="portal",server="{}",state="UP"}} 1'
        return all(up.format(name) in text for text in told for name in names)

    everywhere("systemctl stop yiwang-portal")
    try:
        yield
    finally:
        everywhere("systemctl start yiwang-portal")
        wait_until(ready, 60, "the portal is ready on every host", every=0.25)
        wait_until(known, 30, "gateways take the portal for healthy", every=0.25)


@pytest.mark.timeout(120)
def test_without_any_service_the_gateway_says_when_to_come_again(living: Living) -> None:
    with without_portal(living):
        answers = [ask(gateway, site(living, XIHU)) for gateway in gateways(living)]
    assert {answer.status_code for answer in answers} == {503}
    assert {answer.headers["retry-after"] for answer in answers} == {"2"}
    assert {answer.headers["content-type"] for answer in answers} == {"text/html; charset=utf-8"}
    assert all("服务正在恢复" in answer.text for answer in answers)
    assert ask(gateways(living)[0], site(living, XIHU)).status_code == 200


def test_the_logs_of_gateways_are_among_every_hosts(living: Living) -> None:
    """As `make logs` shows them: each line after its host's name, and no line of a journal that has no such unit."""
    told = CliRunner().invoke(cli.app, ["logs", living.name, "--no-follow", "--lines", "200"])
    assert told.exit_code == 0, told.output
    assert {line.split()[0] for line in told.output.splitlines()} == {
        host.name for cell in living.outputs.cells for host in cell.hosts
    }
    for complaint in ("Failed to add filter", "No entries", "(metrics/HTTP)", "pgbouncer access from unix socket"):
        assert complaint not in told.output
