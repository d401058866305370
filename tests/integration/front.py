"""A site's way in as deployed, on loopback: the balancer with TLS, the role's gateway, then services' own servers."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jinja2 import Environment, StrictUndefined

from infra.local.cloud.balancers.configuration import Parts, render
from infra.local.cloud.records import Owner, Record
from infra.local.cloud.specs.balancers import HealthCheck, ListenerSpec, Server, ServerGroupSpec
from infra.services import named
from tests.integration.backends import free_port, listening, start, stop
from tests.integration.network import REPOSITORY
from tests.support.waiting import wait_until

GATEWAY = REPOSITORY / "playbooks/roles/gateway"


@dataclass
class Front:
    """Sites by name (a tenant's is `tenant`, else the service's own) and the port of each service on this machine."""

    folder: Path
    sites: Mapping[str, str]
    services: Mapping[str, int]
    port: int = field(default_factory=free_port)
    gateway_port: int = field(default_factory=free_port)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        public, private = certificate(*{f"*.{site.partition('.')[2]}" for site in self.sites})
        self.authority.write_bytes(public)
        (self.folder / "listener").mkdir(exist_ok=True)
        (self.folder / "listener" / "site.pem").write_bytes(private)
        (self.folder / "sites.map").write_text("".join(f"{site} {target}\n" for site, target in self.sites.items()))
        (self.folder / "limits.map").write_text("".join(f"{site} 1000\n" for site in self.sites))
        for name, text in (("balancer", self._balancer()), ("gateway", self._gateway())):
            (self.folder / f"{name}.cfg").write_text(text)
            command: list[str | Path] = ["/usr/sbin/haproxy", "-db", "-f", self.folder / f"{name}.cfg"]
            self.running.append(start(command, self.folder / f"{name}.log"))
        wait_until(lambda: listening(self.port) and listening(self.gateway_port), 10, "the front listens")

    def stop(self) -> None:
        for process in self.running:
            stop(process)

    def _balancer(self) -> str:
        """As the local cloud writes it, for one group: the gateway."""
        owner, check = Owner("test", "front"), HealthCheck(path="/gateway-healthz", interval=1)
        gateway = Server("127.0.0.1", self.gateway_port, server_type="Ip")
        group = Record(
            "group", "ServerGroup", owner, ServerGroupSpec("vpc", servers=(gateway,), health_check=check), {}
        )
        listener = ListenerSpec("balancer", self.port, certificate_ids=("c",), default_server_group_id="group")
        listeners = [Record("listener", "Listener", owner, listener, {})]
        text = render(Parts(listeners, [], {"group": group}, {}), "127.0.0.1")
        for there, here in (
            ("/settings/", f"{self.folder}/"),
            ("127.0.0.1:8404", f"127.0.0.1:{free_port()}"),
            ("0.0.0.0", "127.0.0.1"),
        ):
            text = text.replace(there, here)
        return text

    def _gateway(self) -> str:
        """As the role writes it, with this folder in place of the host's."""
        template = (GATEWAY / "templates/haproxy.cfg.j2").read_text(encoding="utf-8")
        environment = Environment(trim_blocks=True, undefined=StrictUndefined)  # noqa: S701  as Ansible renders it
        backends = [
            {
                "name": name,
                "port": port,
                "prefix": named(name).prefix,
                "pages": bool(named(name).prefix and named(name).pages),
                "servers": [{"name": "one", "address": "127.0.0.1"}],
            }
            for name, port in sorted(self.services.items(), key=lambda service: -len(named(service[0]).prefix))
        ]
        values: dict[str, Any] = yaml.safe_load((GATEWAY / "defaults/main.yml").read_text(encoding="utf-8"))
        values |= {"gateway_port": self.gateway_port, "gateway_metrics_port": free_port(), "gateway_connections": 500}
        text = environment.from_string(template).render(gateway_backends=backends, **values)
        for there, here in (
            ("/etc/haproxy/", f"{self.folder}/"),
            ("/run/haproxy/admin.sock", f"{self.folder}/gateway.sock"),
            ("    chroot /var/lib/haproxy\n    user haproxy\n    group haproxy\n", ""),
        ):
            text = text.replace(there, here)
        return text


def certificate(*names: str) -> tuple[bytes, bytes]:
    """A certificate for these names that is its own authority, and the same with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name) for dns_name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(Encoding.PEM)
    return public, public + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
