"""Balancers themselves: each an HAProxy that serves its listeners."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping
from typing import Any

from infra.local.cloud import haproxy
from infra.local.cloud.balancers.configuration import Parts, parts_of, render
from infra.local.cloud.container_kind import ContainerKind
from infra.local.cloud.containers import Container, Seen
from infra.local.cloud.context import write_atomically
from infra.local.cloud.errors import CloudError, refuse
from infra.local.cloud.records import Record
from infra.local.cloud.specs.balancers import EDITIONS, BalancerSpec, zones_fault


class Balancers(ContainerKind[BalancerSpec]):
    """A balancer serves what other kinds say: it is run once its record stands, and renewed with each of theirs."""

    name = "Balancer"
    prefix = "alb"
    spec_type = BalancerSpec
    quota = 60
    not_found = "ResourceNotFound.LoadBalancer"
    word = "balancer"
    folder_name = "balancers"
    alive, dead = "Active", "Inactive"
    protection_code = "ResourceInConfiguring.DeletionProtection"
    limits = (0.75, 160)

    def further_targets(self, spec: BalancerSpec) -> tuple[str, ...]:
        return tuple(mapping.switch_id for mapping in spec.zone_mappings)

    def check(self, record: Record[BalancerSpec]) -> None:
        spec, owner = record.spec, record.owner.name
        fault = zones_fault(mapping.zone_id for mapping in spec.zone_mappings)
        refuse("IllegalParam.ZoneMappings", f"balancer {owner}", fault)
        if spec.edition not in EDITIONS:
            raise CloudError("IllegalParam.LoadBalancerEdition", f"balancer {owner}: {spec.edition!r}")

    def attributes(self, record: Record[BalancerSpec]) -> Mapping[str, Any]:
        dns_name = f"{record.id}.{self.context.settings.region}.alb.{self.context.domain}"
        return self.placed(record, record.spec.zone_mappings[0].switch_id, dns_name)

    def realise(self, record: Record[BalancerSpec]) -> Mapping[str, Any]:
        return self.attributes(record)

    def after_change(self, record: Record[BalancerSpec]) -> None:
        self.context.renew_firewall()
        self.context.renew_balancers()
        self.context.renew_names()
        self.context.renew_front_door()

    def withdraw(self, record: Record[BalancerSpec]) -> None:
        with self.store.lock(f"balancer-{record.id}"):
            # Renewals for a server group that goes at the same time wait for the lock, then leave this one alone.
            self._save(dataclasses.replace(record, ready=False))
            super().withdraw(record)

    def health(self, key: str) -> dict[str, dict[str, str]]:
        """Server group → server → state as HAProxy sees it (UP, DOWN, `no check` …)."""
        record = self.require(key)
        answer = haproxy.ask(self.folder(record), "show stat")
        if answer is None:
            raise CloudError("ServiceUnavailable", f"balancer {record.owner.name} does not answer: {key}")
        states: dict[str, dict[str, str]] = {}
        for row in csv.DictReader(answer.removeprefix("# ").splitlines()):
            if row["svname"] not in ("FRONTEND", "BACKEND") and not row["pxname"].endswith("_open"):
                states.setdefault(row["pxname"], {})[row["svname"]] = row["status"]
        return states

    # --- the container

    def renew(self) -> None:
        """Tell each balancer what it serves by now."""
        for balancer in self.list():
            if "address" in balancer.attributes:
                self.run(balancer)

    def run(self, record: Record[BalancerSpec], seen: Seen | None = None) -> bool:
        """Write its configuration and certificates; reload where they changed, listening sockets kept."""
        with self.store.lock(f"balancer-{record.id}"):
            current = self.store.get(record.id)
            if current is None or not current.ready:
                return False
            parts = parts_of(self.context, record.id)
            changed = self._write(record, parts)
            made = self.context.containers.ensure(self._container(record), seen)
            told = haproxy.take_up(
                self.folder(record),
                lambda: self._reload(record),
                lambda: self.context.containers.ensure(self._container(record), fresh=True),
                f"balancer {record.owner.name}",
            )
            if changed or made or told:
                self._wait(record, parts)
            return changed or made or told

    def _write(self, balancer: Record[BalancerSpec], parts: Parts) -> bool:
        settings = self.folder(balancer)
        settings.mkdir(parents=True, exist_ok=True)
        for listener in parts.listeners:
            wanted = settings / listener.id
            wanted.mkdir(exist_ok=True)
            for number, key in enumerate(listener.spec.certificate_ids):
                certificate = self.store.get(key)
                assert certificate is not None, "a listener's link keeps its certificate"
                pem = certificate.spec.certificate.strip() + "\n" + certificate.spec.private_key.strip() + "\n"
                write_atomically(wanted / f"{number:02}.pem", pem, mode=0o600)
            for stale in sorted(wanted.glob("*.pem"))[len(listener.spec.certificate_ids) :]:
                stale.unlink()
        return haproxy.write(settings, render(parts, str(self.context.gateway)))

    def _container(self, balancer: Record[BalancerSpec]) -> Container:
        options = (*haproxy.volumes(self.folder(balancer)), "--sysctl", "net.ipv4.ip_unprivileged_port_start=0")
        return self.managed(balancer, options, haproxy.COMMAND)

    def _reload(self, balancer: Record[BalancerSpec]) -> None:
        name = self.container_name(balancer)
        self.context.containers.execute(name, "haproxy", "-c", "-q", "-f", f"/settings/{haproxy.FILE}")
        self.context.containers.signal(name, "USR2")

    def _wait(self, balancer: Record[BalancerSpec], parts: Parts) -> None:
        for listener in parts.listeners:
            haproxy.wait_for_port(balancer.attributes["address"], listener.spec.port, f"balancer {balancer.owner.name}")
