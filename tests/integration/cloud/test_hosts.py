"""Hosts: rules that block, limits that hold, log-in by key, drift that is seen."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Template

from infra.local.cloud.errors import CloudError
from infra.local.cloud.records import Record
from infra.local.cloud.specs.firewall import SecurityRuleSpec
from infra.local.cloud.specs.hosts import HostSpec
from infra.local.cloud.specs.networks import NetworkSpec, SwitchSpec
from tests.integration.cloud.site import ENVIRONMENT, Site, containers, owner
from tests.support.waiting import wait_until


def allow_gateway(site: Site) -> Record[Any]:
    application, gateway = site.groups["application"], site.groups["gateway"]
    rule = SecurityRuleSpec(application.id, "ingress", "tcp", "8001/8001", source_security_group_id=gateway.id)
    return site.cloud.security_rules.create(owner("gateway-to-application"), rule)


def only_the_gateway_gets_in(site: Site, application: Record[Any]) -> bool:
    address = application.attributes["address"]
    return site.reaches("gateway", address, 8001) and not site.reaches("stranger", address, 8001)


def test_security_group_lets_in_whom_a_rule_names_also_after_a_restart(
    site: Site, gateway: Record[Any], application: Record[Any], stranger: Record[Any]
) -> None:
    rule = allow_gateway(site)
    site.listen("application", 8001)
    wait_until(lambda: only_the_gateway_gets_in(site, application), 30, "the gateway reaches port 8001")
    assert not site.reaches("gateway", application.attributes["address"], 22)

    restart = ["podman", "restart", "--time", "0", f"yw-{ENVIRONMENT}-application"]
    # Where podman is called, the container's monitor stays, and leaves a file when memory runs out.
    subprocess.run(restart, check=True, capture_output=True, cwd="/run")
    site.listen("application", 8001)
    wait_until(lambda: only_the_gateway_gets_in(site, application), 30, "the same after a restart")

    # The twin: without its rule the same check must fail.
    site.cloud.security_rules.delete(rule.id)
    assert not only_the_gateway_gets_in(site, application)


def test_log_in_by_key_and_the_host_key_outlives_the_container(site: Site, gateway: Record[Any]) -> None:
    known_hosts = site.folder / "known_hosts"

    def log_in(user: str) -> str:
        options = ["-i", str(site.folder / "id"), "-o", f"UserKnownHostsFile={known_hosts}", "-o", "BatchMode=yes"]
        options += ["-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR"]
        command = ["ssh", *options, f"{user}@{gateway.attributes['address']}", "hostname; id -un"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    wait_until(lambda: log_in("root") == "gateway\nroot\n", 30, "root logs in")
    assert log_in("ecs-user") == "gateway\necs-user\n"
    subprocess.run(["podman", "rm", "-f", "-t", "0", f"yw-{ENVIRONMENT}-gateway"], check=True, capture_output=True)
    assert site.cloud.hosts.read(gateway.id) is None
    again = site.cloud.hosts.create(gateway.owner, gateway.spec)
    assert (again.id, again.attributes["address"]) == (gateway.id, gateway.attributes["address"])
    wait_until(lambda: log_in("root") == "gateway\nroot\n", 30, "the same key answers")


def test_limits_are_those_of_the_type_and_hand_made_ones_are_seen(site: Site, application: Record[Any]) -> None:
    burn = "import time; end=time.time()+1.5\nwhile time.time()<end: pass\nprint(time.process_time()/1.5)"
    assert float(site.on("application", "python3", "-c", burn).stdout) < 0.3
    hungry = "print(len(bytearray(1200 * 2**20)))"
    assert site.on("application", "python3", "-c", hungry, check=False).returncode == 137

    name = f"yw-{ENVIRONMENT}-application"
    site.cloud.hosts.context.containers.set_limits(name, 1.0, 2048)
    # The twin: without its limit the hungry one lives (how much of a core one gets depends on the machine's others).
    assert site.on("application", "python3", "-c", hungry, check=False).returncode == 0
    seen = site.cloud.hosts.read(application.id)
    assert seen is not None
    assert seen.spec.instance_type == "custom-1-cores-2048-MiB"
    site.cloud.hosts.update(application.id, application.spec)
    assert site.cloud.hosts.read(application.id) == application


def test_a_change_of_type_applies_without_a_restart(site: Site, stranger: Record[Any]) -> None:
    larger = dataclasses.replace(stranger.spec, instance_type="ecs.c7.2xlarge")
    site.cloud.hosts.update(stranger.id, larger)
    seen = site.cloud.hosts.read(stranger.id)
    assert seen is not None
    assert seen.spec == larger
    site.cloud.hosts.update(stranger.id, stranger.spec)


CREATE = """
import sys
from pathlib import Path
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.records import Owner
from infra.local.cloud.specs.hosts import HostSpec
cloud = Cloud(Path(sys.argv[1]), sys.argv[2])
spec = HostSpec("twin", "ecs.c7.large", sys.argv[3], (sys.argv[4],), "key")
print(cloud.hosts.create(Owner("{0}.foundation".format(sys.argv[2]), "twin"), spec).id)
"""


def test_two_processes_that_create_the_same_make_one(site: Site) -> None:
    root = str(site.folder / "cloud")
    arguments = [sys.executable, "-c", CREATE, root, ENVIRONMENT, site.switches[0].id, site.groups["gateway"].id]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ids = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(ids) == 1
    assert containers().count(f"yw-{ENVIRONMENT}-twin") == 1
    site.cloud.hosts.delete(ids.pop())
    assert f"yw-{ENVIRONMENT}-twin" not in containers()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"instance_type": "ecs.huge"}, "InvalidInstanceType.ValueNotSupported"),
        ({"security_group_ids": ()}, "InvalidSecurityGroupId"),
        ({"security_group_ids": ("sg-none",)}, "InvalidSecurityGroupId.NotFound"),
        ({"switch_id": "vsw-none"}, "InvalidVSwitchId.NotFound"),
        ({"key_name": "none"}, "InvalidKeyPairName.NotFound"),
        ({"name": "Not A Name"}, "InvalidHostName.Malformed"),
        ({"private_ip": "10.1.1.1"}, "InvalidPrivateIpAddress.Malformed"),
    ],
)
def test_a_refused_host_leaves_nothing(site: Site, change: dict[str, Any], code: str) -> None:
    spec = HostSpec("refused", "ecs.c7.large", site.switches[0].id, (site.groups["gateway"].id,), "key")
    with pytest.raises(CloudError) as refusal:
        site.cloud.hosts.create(owner("refused"), dataclasses.replace(spec, **change))
    assert refusal.value.code == code
    assert site.cloud.hosts.read(site.cloud.hosts.identity(owner("refused"))) is None
    assert f"yw-{ENVIRONMENT}-refused" not in containers()


def test_overlaps_and_dependants_are_refused(site: Site, tmp_path: Path) -> None:
    from infra.local.cloud.cloud import Cloud

    other = Cloud(tmp_path / "cloud", "test-overlap")
    with pytest.raises(CloudError, match=f"overlaps .*yw-{ENVIRONMENT}") as refusal:
        other.networks.create(owner("network"), NetworkSpec("10.213.128.0/20"))
    assert refusal.value.code == "InvalidCidrBlock.Overlapped"
    with pytest.raises(CloudError) as refusal:
        site.cloud.switches.create(owner("twice"), SwitchSpec(site.network.id, "10.213.8.0/24", "cn-hangzhou-h"))
    assert refusal.value.code == "InvalidCidrBlock.Overlapped"
    with pytest.raises(CloudError) as refusal:
        site.cloud.networks.delete(site.network.id)
    assert refusal.value.code == "DependencyViolation"


PLAIN = """
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
frontend metrics
    bind :8405
    http-request return status 200
"""


def test_a_killed_master_of_haproxy_is_back_in_seconds(site: Site, gateway: Record[Any]) -> None:
    """Its workers end with it, and in a container nobody tells systemd so, which would wait for them for 90 seconds."""
    unit = Path("playbooks/roles/gateway/templates/yiwang.conf.j2").read_text()
    files = {
        "/etc/systemd/system/haproxy.service.d/yiwang.conf": Template(unit).render(gateway_connections=1000),
        "/etc/haproxy/haproxy.cfg": PLAIN,
    }
    for path, text in files.items():
        site.on("gateway", "sh", "-c", 'mkdir -p "${1%/*}"; printf "%s" "$2" > "$1"', "sh", path, text)
    site.on("gateway", "sh", "-c", "systemctl daemon-reload; systemctl restart haproxy")

    def master() -> str:
        return site.on("gateway", "systemctl", "show", "-P", "MainPID", "haproxy").stdout.strip()

    def answers() -> bool:
        return site.on("gateway", "curl", "-sf", "-o", "/dev/null", "localhost:8405", check=False).returncode == 0

    wait_until(answers, 10, "haproxy answers")
    killed = master()
    site.on("gateway", "kill", "-KILL", killed)
    wait_until(lambda: master() not in ("0", killed) and answers(), 15, "haproxy is back")
    site.on("gateway", "systemctl", "stop", "haproxy")
