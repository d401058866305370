"""One environment for all tests of the cloud; whatever an earlier run left is removed first."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.folder import cache
from infra.local.cloud.certificates import self_signed
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.records import Record
from infra.local.cloud.specs.balancers import (
    Action,
    BalancerSpec,
    Condition,
    HealthCheck,
    ListenerRuleSpec,
    ListenerSpec,
    Server,
    ServerGroupSpec,
    ZoneMapping,
)
from infra.local.cloud.specs.certificates import CertificateSpec
from infra.local.cloud.specs.firewall import SecurityRuleSpec
from infra.local.cloud.specs.zones import PublicDomainSpec, PublicRecordSpec
from infra.local.images import build_images
from tests.integration.cloud.site import BALANCED_PORT, ENVIRONMENT, SITE_PORT, SUFFIX, Site, build, owner


@pytest.fixture(scope="session")
def its_turn() -> Iterator[None]:
    """The environment has one name, one network and one port: another run's is waited for, not destroyed."""
    with (Path(tempfile.gettempdir()) / f"yiwang-{ENVIRONMENT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def site(its_turn: None) -> Iterator[Site]:
    build_images(cache(), lambda line: None)
    folder = Path(tempfile.gettempdir()) / f"yiwang-{ENVIRONMENT}"
    Cloud(folder / "cloud", ENVIRONMENT).destroy()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id")]
    subprocess.run(key, check=True)
    for name in ("objects", "sites"):
        domain = f"{name}.{ENVIRONMENT}.localhost"
        certificate, private = self_signed("127.0.0.1", domain, f"*.{domain}")
        (folder / f"{name}.pem").write_text(certificate)
        (folder / f"{name}.key").write_text(private)
    made = build(folder)
    yield made
    made.cloud.destroy()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def gateway(site: Site) -> Record[Any]:
    return site.host("gateway", "gateway")


@pytest.fixture(scope="session")
def application(site: Site) -> Record[Any]:
    return site.host("application", "application", "ecs.g7.xlarge")


@pytest.fixture(scope="session")
def stranger(site: Site) -> Record[Any]:
    return site.host("stranger", "stranger")


@pytest.fixture(scope="session")
def database(site: Site) -> Record[Any]:
    return site.database()


@pytest.fixture(scope="session")
def redis_cache(site: Site) -> Record[Any]:
    return site.cache()


@pytest.fixture(scope="session")
def balancer(site: Site, gateway: Record[Any], stranger: Record[Any]) -> Record[Any]:
    """A balancer before two hosts that serve their own name."""
    for name in ("gateway", "stranger"):
        rule = SecurityRuleSpec(
            site.groups[name].id, "ingress", "tcp", f"{BALANCED_PORT}/{BALANCED_PORT}", cidr_ip="10.213.0.0/20"
        )
        site.cloud.security_rules.create(owner(f"balancer-to-{name}"), rule)
        site.on(name, "sh", "-c", f"mkdir -p /srv && echo {name} > /srv/index.html && echo ok > /srv/alive")
        site.listen(name, BALANCED_PORT)
    mappings = tuple(ZoneMapping(switch.spec.zone_id, switch.id) for switch in site.switches)
    made = site.cloud.balancers.create(owner("balancer"), BalancerSpec(site.network.id, "balancer", mappings))
    check = HealthCheck(path="/alive", interval=1, timeout=2, healthy_threshold=2, unhealthy_threshold=2)
    servers = tuple(Server(host.id, BALANCED_PORT) for host in (gateway, stranger))
    group = site.cloud.server_groups.create(
        owner("servers"), ServerGroupSpec(site.network.id, "servers", servers=servers, health_check=check)
    )
    pem = (site.folder / "sites.pem").read_text(), (site.folder / "sites.key").read_text()
    certificate = site.cloud.certificates.create(owner("certificate"), CertificateSpec("sites", *pem))
    listener = site.cloud.listeners.create(
        owner("listener"), ListenerSpec(made.id, SITE_PORT, "HTTPS", (certificate.id,), group.id)
    )
    teapot = Action("FixedResponse", http_code=418, content='{"short": "and stout"}')
    rule_spec = ListenerRuleSpec(listener.id, 1, "teapot", (Condition("Path", ("/teapot*",)),), teapot)
    site.cloud.listener_rules.create(owner("teapot"), rule_spec)
    site.cloud.public_domains.create(owner("domain"), PublicDomainSpec(SUFFIX))
    record = PublicRecordSpec(SUFFIX, "xihu", "CNAME", made.attributes["dns_name"])
    site.cloud.public_records.create(owner("xihu"), record)
    return made
