"""The front door: the machine's loopback stands for the internet.

There is one loopback and there are several balancers, so it reads the TLS server name and passes the connection,
unopened, to the balancer that the public record of that name points to (or to the object store).
"""

from __future__ import annotations

from pathlib import Path

import psutil

from infra.local.cloud import haproxy
from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import Context, write_atomically
from infra.local.cloud.errors import CloudError
from infra.local.cloud.zones import public_names, resolve, service_names
from infra.local.images import CLOUD_IMAGE


class FrontDoor:
    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def container_name(self) -> str:
        return self._context.containers.name("front-door")

    def sites(self) -> tuple[dict[str, str], dict[str, str]]:
        """Server names to addresses inside the network, and suffixes (of wildcard records) to addresses."""
        public, services = public_names(self._context), service_names(self._context)
        names, store = public + services, self._context.object_domain
        exact, suffixes = {}, {}
        shown = {record.name for record in public if record.type in ("A", "CNAME")} | {store, f"*.{store}"}
        for name in sorted(shown):
            addresses = resolve(name, names)
            if addresses and name.startswith("*."):
                suffixes[name[1:]] = addresses[0]
            elif addresses:
                exact[name] = addresses[0]
        return exact, suffixes

    def renew(self, seen: Seen | None = None) -> bool:
        with self._context.store.lock("front-door"):
            if self._context.vpc is None or not self._context.store.count("PublicRecord"):
                self._context.containers.remove(self.container_name)
                return False
            changed = self._write()
            made = False
            if not changed or haproxy.serves(self.folder) is None:  # most changes are a name more to one that runs
                present = seen or self._context.containers.look(self.container_name)
                if present is None or not present.alive:
                    self._refuse_taken_port()
                made = self._context.containers.ensure(self._container(), present)
            told = haproxy.take_up(self.folder, self._reload, self._run_anew, "the front door")
            if made:
                haproxy.wait_for_port("127.0.0.1", self._context.settings.site_port, "the front door")
            return changed or made or told

    def _run_anew(self) -> None:
        self._context.containers.ensure(self._container(), fresh=True)

    def _reload(self) -> None:
        self._context.containers.signal(self.container_name, "USR2")

    @property
    def folder(self) -> Path:
        return self._context.folder("front-door")

    def _write(self) -> bool:
        exact, suffixes = self.sites()
        write_atomically(self.folder / "sites.map", _map(exact))
        write_atomically(self.folder / "suffixes.map", _map(suffixes))
        settings = self._context.settings
        store = settings.object_port or (443 if settings.object_certificate else 80)
        text = _TEMPLATE.format(port=settings.site_port, object_store=self._context.object_store, object_port=store)
        return haproxy.write(self.folder, text)

    def _container(self) -> Container:
        # Shares the machine's network, so no address of its own.
        options = ("--network", "host", *haproxy.volumes(self.folder))
        labels = (("yiwang.service", "front-door"),)
        return Container(
            self.container_name, (CLOUD_IMAGE,), options, haproxy.COMMAND, labels, cores=0.5, memory_mib=128
        )

    def _refuse_taken_port(self) -> None:
        port = self._context.settings.site_port
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr:
                continue
            if connection.laddr.port == port and connection.laddr.ip in ("127.0.0.1", "0.0.0.0", "::", "::1"):  # noqa: S104
                message = f"port {port} of the machine is taken by {_holder(connection.pid)}: end it or choose another"
                raise CloudError("Machine.PortTaken", f"{message} (site_port)")


def _holder(process: int | None) -> str:
    try:
        return f"{psutil.Process(process).name()} (process {process})" if process else "another program"
    except psutil.Error:
        return f"process {process}"


def _map(entries: dict[str, str]) -> str:
    return "".join(f"{name} {address}\n" for name, address in sorted(entries.items()))


_TEMPLATE = """\
global
  log stdout format raw local0 notice
  maxconn 4000
  hard-stop-after 60s

defaults
  mode tcp
  log global
  timeout connect 5s
  timeout client 10m
  timeout server 10m

frontend front_door
  bind 127.0.0.1:{port}
  bind [::1]:{port}
  tcp-request inspect-delay 5s
  tcp-request content set-var(sess.site) req.ssl_sni,lower,map_str(/settings/sites.map)
  tcp-request content set-var(sess.site) req.ssl_sni,lower,map_end(/settings/suffixes.map) \
if !{{ var(sess.site) -m found }}
  tcp-request content reject if {{ req.ssl_hello_type 1 }} !{{ var(sess.site) -m found }}
  tcp-request content set-dst var(sess.site)
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  tcp-request content reject
  use_backend object_store if {{ var(sess.site) -m str {object_store} }}
  default_backend balancers

backend balancers
  server site 0.0.0.0:{port}

backend object_store
  server store {object_store}:{object_port}
"""
