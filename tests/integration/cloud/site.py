"""One small environment of the local cloud, and the clients that the tests look at it with."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pg8000.native
from botocore.config import Config

from infra.local.cloud.cloud import Cloud
from infra.local.cloud.records import Owner, Record
from infra.local.cloud.settings import CloudSettings
from infra.local.cloud.specs.buckets import AccessKeySpec, BucketSpec, PolicyAttachmentSpec, PolicySpec, UserSpec
from infra.local.cloud.specs.caches import CacheSpec
from infra.local.cloud.specs.databases import DatabaseAccountSpec, DatabaseInstanceSpec, DatabaseSpec, GrantSpec
from infra.local.cloud.specs.firewall import SecurityGroupSpec
from infra.local.cloud.specs.hosts import HostSpec, KeyPairSpec
from infra.local.cloud.specs.networks import NetworkSpec, SwitchSpec
from tests.support.waiting import wait_until

ENVIRONMENT = "test-cloud"
CIDR = "10.213.0.0/16"
SITE_PORT = 18943
SUFFIX = f"sites.{ENVIRONMENT}.localhost"
BALANCED_PORT = 8080  # where the hosts behind the balancer listen
PASSWORD = "Correct-Horse-9"


def owner(name: str) -> Owner:
    return Owner(f"{ENVIRONMENT}.foundation", name)


@dataclass
class Site:
    """The environment's parts by name; `cloud` is what is under test."""

    cloud: Cloud
    folder: Path
    network: Record[Any]
    switches: list[Record[Any]]
    groups: dict[str, Record[Any]]

    def known(self, kind: str, physical: str) -> Record[Any]:
        """A thing that must be there, by the cloud's own name for it."""
        record = self.cloud.kind(kind).find(physical)
        assert record is not None, f"{kind} {physical}"
        return record

    # --- hosts

    def host(self, name: str, group: str, instance_type: str = "ecs.c7.xlarge") -> Record[Any]:
        spec = HostSpec(name, instance_type, self.switches[0].id, (self.groups[group].id,), "key")
        return self.cloud.hosts.create(owner(name), spec)

    def on(self, host: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command on a host."""
        name = f"yw-{ENVIRONMENT}-{host}"
        return subprocess.run(["podman", "exec", name, *command], capture_output=True, text=True, check=check)

    def listen(self, host: str, port: int, folder: str = "/srv") -> None:
        """Serve files over HTTP on a host, from then on."""
        booted = ("systemctl", "is-active", "multi-user.target")
        wait_until(lambda: self.on(host, *booted, check=False).returncode == 0, 60, f"{host} has booted")
        serve = f"systemctl stop web-{port}; systemd-run --unit web-{port} python3 -m http.server {port} -d {folder}"
        self.on(host, "sh", "-c", serve)

    def reaches(self, host: str, address: str, port: int) -> bool:
        """Whether a TCP connection from a host is taken."""
        return self.on(host, "nc", "-z", "-w", "1", address, str(port), check=False).returncode == 0

    def resolves(self, host: str, name: str) -> str:
        script = "import socket,sys; print(socket.gethostbyname(sys.argv[1]))"
        return self.on(host, "python3", "-c", script, name, check=False).stdout.strip()

    # --- databases

    def database(self) -> Record[Any]:
        switches = tuple(switch.id for switch in self.switches)
        groups = (self.groups["application"].id,)
        spec = DatabaseInstanceSpec("pg.n2.2c.2m", switch_ids=switches, security_group_ids=groups)
        return self.cloud.database_instances.create(owner("database"), spec)

    def account(self, instance: str, name: str, kind: str = "Normal") -> Record[Any]:
        return self.cloud.database_accounts.create(owner(name), DatabaseAccountSpec(instance, name, kind, PASSWORD))

    def tenant_database(self, instance: str, code: str) -> None:
        """A database with an account that owns it."""
        self.account(instance, f"{code}_owner")
        self.cloud.databases.create(owner(code), DatabaseSpec(instance, code))
        grant = GrantSpec(instance, f"{code}_owner", database_names=(code,))
        self.cloud.grants.create(owner(f"{code}-grant"), grant)

    def connect(self, instance: Record[Any], account: str, database: str) -> pg8000.native.Connection:
        return pg8000.native.Connection(account, instance.attributes["address"], database, 5432, PASSWORD, timeout=10)

    def cache(self) -> Record[Any]:
        groups = (self.groups["application"].id,)
        spec = CacheSpec("redis.shard.small.2.ce", switch_id=self.switches[0].id, security_group_ids=groups)
        return self.cloud.caches.create(owner("cache"), spec)

    # --- objects

    def bucket(self) -> str:
        name = f"yw-{ENVIRONMENT}-objects"
        self.cloud.buckets.create(owner("bucket"), BucketSpec(name, force_destroy=True))
        return name

    def key(self, user: str, document: str) -> Record[Any]:
        """A user with one policy and one access key."""
        self.cloud.users.create(owner(f"user-{user}"), UserSpec(user))
        self.cloud.policies.create(owner(f"policy-{user}"), PolicySpec(user, document))
        self.cloud.policy_attachments.create(owner(f"attachment-{user}"), PolicyAttachmentSpec(user, user))
        return self.cloud.access_keys.create(owner(f"key-{user}"), AccessKeySpec(user))

    def objects(self, key: Record[Any], **settings: Any) -> Any:
        """An S3 client with a key, set as OSS wants it unless `settings` say otherwise."""
        wanted = {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "virtual"},
            "retries": {"max_attempts": 1},
        }
        return boto3.client(
            "s3",
            endpoint_url=self.cloud.object_endpoint,
            region_name="cn-hangzhou",
            verify=str(self.folder / "objects.pem"),
            aws_access_key_id=key.attributes["access_key_id"],
            aws_secret_access_key=key.attributes["secret_access_key"],
            config=Config(**{**wanted, **settings}),
        )


def build(folder: Path) -> Site:
    """Network, vSwitches, groups, key pair; hosts and services are made by the tests that need them."""
    cloud = Cloud(folder / "cloud", ENVIRONMENT)
    cloud.configure(
        CloudSettings(
            site_port=SITE_PORT,
            object_domain=f"objects.{ENVIRONMENT}.localhost",
            object_certificate=str(folder / "objects.pem"),
            object_key=str(folder / "objects.key"),
        )
    )
    network = cloud.networks.create(owner("network"), NetworkSpec(CIDR))
    switches = [
        cloud.switches.create(owner("h"), SwitchSpec(network.id, "10.213.0.0/20", "cn-hangzhou-h")),
        cloud.switches.create(owner("i"), SwitchSpec(network.id, "10.213.16.0/20", "cn-hangzhou-i")),
    ]
    groups = {
        name: cloud.security_groups.create(
            owner(name), SecurityGroupSpec(network.id, name, "", "enterprise", inner_access_policy="Drop")
        )
        for name in ("gateway", "application", "stranger")
    }
    key = (folder / "id.pub").read_text()
    cloud.key_pairs.create(owner("key"), KeyPairSpec("key", key))
    return Site(cloud, folder, network, switches, groups)


@contextmanager
def resolving(suffix: str, address: str) -> Iterator[None]:
    """Names under `suffix` have `address` in this process, as the name server tells hosts."""
    real = socket.getaddrinfo

    def patched(host: Any, *arguments: Any, **keywords: Any) -> Any:
        inside = isinstance(host, str) and (host == suffix or host.endswith(f".{suffix}"))
        return real(address if inside else host, *arguments, **keywords)

    socket.getaddrinfo = patched
    try:
        yield
    finally:
        socket.getaddrinfo = real


def containers() -> list[str]:
    listing = ["podman", "ps", "--all", "--format", "{{.Names}}", "--filter", f"label=yiwang.environment={ENVIRONMENT}"]
    return subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
