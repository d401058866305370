"""Hosts, databases and caches on a Podman network of their own, and the outputs and secrets that describe them.

python -m tests.integration.roles.bed up FOLDER      makes it and prints the variables for ansible-playbook
python -m tests.integration.roles.bed down FOLDER    removes it
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pg8000.native

from infra.outputs import (
    CacheOutputs,
    CellOutputs,
    DatabaseOutputs,
    EnvironmentOutputs,
    FoundationOutputs,
    GatewayOutputs,
    HostOutputs,
    TenantDatabaseOutputs,
    TenantOutputs,
    TenantSettings,
)
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
STAND_IN = Path(__file__).parent / "stand_in"
LOCAL_SHAPE = {
    "cell-core": {"gateway": 2, "identity": 2, "query": 2, "monitoring": 1},
    "cell-a": {"gateway": 2, "application": 2},
}
CODES = ["330000", "330100", "330102", "330105", "330106", "330108", "330109", "330110", "330111", "330112", "330113",
         "330114", "330122", "330182"]  # fmt: skip
CORES = {"application": 0.2}
SERVICES = {"cell-core": ["identity", "query"], "cell-a": ["affairs", "portal"]}


def secret(purpose: str) -> str:
    return "Aa1-" + hashlib.sha256(purpose.encode()).hexdigest()[:20]


@dataclass
class Bed:
    """One bed. Everything that it makes in Podman is named or labelled by `name`."""

    folder: Path
    name: str = "yw-test-roles"
    network: str = "10.91.0.0/24"
    shape: dict[str, dict[str, int]] = field(default_factory=lambda: LOCAL_SHAPE)
    codes: list[str] = field(default_factory=lambda: list(CODES))
    cores: float = 0.1

    # --- what the playbooks are told

    def outputs(self) -> EnvironmentOutputs:
        return EnvironmentOutputs(
            environment="test-roles",
            foundation=self._foundation(),
            cells=[self._cell(cell) for cell in self.shape],
            tenants=[self._tenant(code) for code in self.codes],
        )

    def _foundation(self) -> FoundationOutputs:
        return FoundationOutputs(
            environment="test-roles", region="cn-hangzhou", vpc_id="vpc-1", cidr=self.network, vswitches={},
            site_suffix="roles.localhost", site_port=8443, private_zone="roles.yiwang.internal", account_suffix="x",
            certificate_id="c-1", authority_certificate=(self.folder / "authority.pem").read_text(),
            object_endpoint="https://oss.roles.yiwang.internal", name_servers=[], ssh_user="root",
            ssh_arguments="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        )  # fmt: skip

    def _cell(self, cell: str) -> CellOutputs:
        number = list(self.shape).index(cell)
        core = SERVICES["cell-core"] if cell == "cell-core" else []
        hosts = [
            HostOutputs(
                name=f"{cell}-{role}-{n}", role=role, zone="cn-hangzhou-h", instance_id=f"i-{cell}-{role}-{n}",
                address=self.address(f"{cell}-{role}-{n}"), instance_type="ecs.c7.large",
            )
            for role, count in self.shape[cell].items()
            for n in range(1, count + 1)
        ]  # fmt: skip
        return CellOutputs(
            environment="test-roles", cell=cell, hosts=hosts, database_instance_id=f"pgm-{number}",
            database=DatabaseOutputs(
                host=self.address(f"{cell}-database"), port=5432, instance_class="pg.n2.2c.2m", max_connections=400,
                privileged_account="yiwang_admin", databases={name: f"{name}_owner" for name in core},
            ),
            cache=CacheOutputs(
                host=self.address(f"{cell}-cache"), port=6379,
                accounts={name: name for name in (*SERVICES[cell], "monitoring")},
            ),
            gateway=GatewayOutputs(name=f"{cell}.alb", address="", port=8443, server_group_id=f"sgp-{number}"),
        )  # fmt: skip

    def _tenant(self, code: str) -> TenantOutputs:
        level = "province" if code.endswith("0000") else "city" if code.endswith("00") else "county"
        parent = {"province": None, "city": f"{code[:2]}0000", "county": f"{code[:4]}00"}[level]
        site = f"t{code}.roles.localhost"
        return TenantOutputs(
            code=code, name=f"区划{code}", level=level, parent=parent, residents=1000000, status="live",
            cell="cell-a", label=f"t{code}", site=site, url=f"https://{site}:8443", bucket="yw-test", prefix=f"{code}/",
            databases=[TenantDatabaseOutputs(cell="cell-a", name=f"t{code}", owner=f"t{code}_owner",
                                             application=f"t{code}_app")],
            settings=TenantSettings(service_phone="12345", database_connections=2,
                                    requests_per_second=2 if code == "330100" else 200,
                                    acceptance_working_days=5),
        )  # fmt: skip

    def secrets(self) -> dict[str, Any]:
        cells: dict[str, Any] = {}
        for cell in self._foundation_cells():
            cells[cell.cell] = {
                "database_privileged_password": secret(f"{cell.cell} admin"),
                "databases": {name: {"owner": secret(f"{name} owner"), "application": secret(f"{name} application")}
                              for name in cell.database.databases},
                "monitoring_database_password": secret(f"{cell.cell} monitoring"),
                "cache": {name: secret(f"{name} cache") for name in cell.cache.accounts},
            }  # fmt: skip
        cells["cell-core"] |= {
            "identity_signing_key": hashlib.sha256(b"signing").hexdigest(),
            "operator_client_secret": secret("operator"),
        }
        purposes = ("database_owner_password", "database_application_password", "object_access_key_id",
                    "object_access_key_secret", "client_secret", "check_code_key")  # fmt: skip
        return {
            "cells": cells,
            "tenants": {code: {one: secret(f"{code} {one}") for one in purposes} for code in self.codes},
        }

    def _foundation_cells(self) -> list[CellOutputs]:
        return [self._cell(cell) for cell in self.shape]

    def address(self, name: str) -> str:
        """A fixed address for each thing, by its place in the shape."""
        names = [
            f"{cell}-{what}"
            for cell, roles in self.shape.items()
            for what in (
                "database",
                "cache",
                *(f"{role}-{n}" for role, count in roles.items() for n in range(1, count + 1)),
            )
        ]
        return str(IPv4Network(self.network)[10 + names.index(name)])

    # --- making it

    def up(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._make_keys()
        self.tell()
        podman("network", "create", "--subnet", self.network, "--disable-dns", self.name)
        for cell in self.outputs().cells:
            self._run_database(cell)
            self._run_cache(cell)
            for host in cell.hosts:
                self._run_host(host)
        for cell in self.outputs().cells:
            self._fill_database(cell)

    def tell(self) -> None:
        """Write the outputs and secrets as they are now; call it again after changing the bed's fields."""
        (self.folder / "outputs.json").write_text(self.outputs().model_dump_json(indent=1))
        path = self.folder / "secrets.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(self.secrets()))

    def grow(self, cell: str, role: str) -> str:
        """One more host, as when the plan adds it. Its role is the last of the last cell: addresses go by place."""
        self.shape[cell][role] += 1
        self.tell()
        host = next(one for one in reversed(self._cell(cell).hosts) if one.role == role)
        self._run_host(host)
        return host.name

    def down(self) -> None:
        """Remove everything of this name, also what an earlier run left."""
        containers = self._containers()
        if containers:
            podman("rm", "--force", "--time", "0", *containers)
        podman("network", "rm", "--force", self.name)

    def _containers(self) -> list[str]:
        return podman("ps", "--all", "--quiet", "--filter", f"label=yiwang.environment={self.name}").split()

    def _make_keys(self) -> None:
        key = self.folder / "id_ed25519"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                 "/CN=roles", "-days", "2", "-keyout", str(self.folder / "authority.key"), "-out",
                 str(self.folder / "authority.pem")], check=True, capture_output=True,
            )  # fmt: skip

    def _run(self, name: str, *arguments: str) -> None:
        number = int(self.address(name).rpartition(".")[2])
        podman("run", "--detach", "--name", f"{self.name}-{name}", "--network", self.name, "--ip", self.address(name),
                "--mac-address", f"02:91:00:00:00:{number:02x}", "--label", f"yiwang.environment={self.name}",
                *arguments)  # fmt: skip

    def _run_host(self, host: HostOutputs) -> None:
        keys = self.folder / "authorized_keys"
        keys.mkdir(exist_ok=True)
        (keys / "root").write_text((self.folder / "id_ed25519.pub").read_text())
        cores = self.cores * CORES.get(host.role, 0.1) / 0.1
        self._run(host.name, "--systemd=always", "--hostname", host.name, "--cpus", f"{cores:g}", "--cap-add",
                  "NET_RAW,NET_ADMIN,AUDIT_WRITE,SYS_PTRACE",
                  "--volume", f"{keys}:/etc/ssh/authorized_keys:ro", "localhost/yiwang-base")  # fmt: skip

    def _run_database(self, cell: CellOutputs) -> None:
        start = (
            "printf '%s' \"$PASSWORD\" > /tmp/password && initdb -D /tmp/data -U yiwang_root --pwfile=/tmp/password "
            "--auth=scram-sha-256 >/dev/null && echo 'host all all all scram-sha-256' >> /tmp/data/pg_hba.conf && "
            "exec postgres -D /tmp/data -c listen_addresses=* -c unix_socket_directories=/tmp -c max_connections=400 "
            "-c fsync=off"
        )
        self._run(f"{cell.cell}-database", "--user", "postgres", "--shm-size", "128m", "--env",
                  f"PASSWORD={secret(cell.cell + ' root')}", "localhost/yiwang-cloud", "sh", "-c", start)  # fmt: skip

    def _fill_database(self, cell: CellOutputs) -> None:
        """What the cloud does for a privileged account, and for each database with its owner: `PUBLIC` may do all."""
        password = secret(f"{cell.cell} admin")
        connection = wait_until(lambda: self.connect(cell), 60, f"database of {cell.cell}")
        connection.run(f"CREATE ROLE yiwang_admin LOGIN CREATEROLE CREATEDB PASSWORD '{password}'")
        for one in self.databases(cell.cell):
            self.add_database(cell, *one)
        connection.close()

    def databases(self, cell: str) -> list[tuple[str, str, str]]:
        """Name, owner and the owner's password."""
        if cell == "cell-core":
            return [(name, f"{name}_owner", secret(f"{name} owner")) for name in SERVICES[cell]]
        return [(f"t{code}", f"t{code}_owner", secret(f"{code} database_owner_password")) for code in self.codes]

    def add_database(self, cell: CellOutputs, name: str, owner: str, password: str) -> None:
        connection = self.connect(cell)
        connection.run(f"CREATE ROLE {owner} LOGIN PASSWORD '{password}'")
        connection.run(f"CREATE DATABASE {name} OWNER {owner}")
        connection.close()
        inside = self.connect(cell, name)
        inside.run("GRANT CREATE ON SCHEMA public TO PUBLIC")
        inside.close()

    def connect(self, cell: CellOutputs, database: str = "postgres") -> Any:
        try:
            return pg8000.native.Connection(
                "yiwang_root", host=cell.database.host, database=database, password=secret(f"{cell.cell} root")
            )
        except (pg8000.exceptions.InterfaceError, pg8000.exceptions.DatabaseError):
            return None

    def _run_cache(self, cell: CellOutputs) -> None:
        rights = {"monitoring": ("-@all", "+@read", "+@connection", "+info")}
        users = [
            word
            for name in cell.cache.accounts
            for word in ("--user", name, "on", f">{secret(f'{name} cache')}", "allkeys", *rights.get(name, ("+@all",)))
        ]
        self._run(f"{cell.cell}-cache", "localhost/yiwang-cloud", "redis-server", "--protected-mode", "no", *users)

    # --- using it

    def variables(self) -> dict[str, str]:
        return {
            "YIWANG_ENVIRONMENT": "test-roles",
            "YIWANG_OUTPUTS": str(self.folder / "outputs.json"),
            "YIWANG_PLAY_SECRETS": str(self.folder / "secrets.json"),
            "YIWANG_RELEASE_SOURCE": str(self.folder / "source" if (self.folder / "source").exists() else STAND_IN),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_PRIVATE_KEY_FILE": str(self.folder / "id_ed25519"),
        }

    def play(self, playbook: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / "ansible-playbook"
        done = subprocess.run(
            [str(program), f"playbooks/{playbook}", *arguments], cwd=ROOT, env={**os.environ, **self.variables()},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            told = f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
            raise AssertionError(f"{playbook} {arguments}: {done.returncode}\n{told}")
        return done


def podman(*arguments: str) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"podman {' '.join(arguments)}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    bed = Bed(Path(sys.argv[2]).resolve())
    if sys.argv[1] == "down":
        bed.down()
    else:
        bed.up()
        for key, value in bed.variables().items():
            print(f"export {key}={shlex.quote(value)}")
