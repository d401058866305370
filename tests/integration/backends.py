"""Real PostgreSQL, PgBouncer and Redis on loopback, in a folder of their own, on free ports.

They are the distribution's binaries run beside whatever the system runs, never the system's own clusters.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import boto3
import psutil
from botocore.config import Config

from infra.folder import cache
from tests.support.waiting import wait_until

POSTGRES_BINARIES = Path("/usr/lib/postgresql/15/bin")
SUPERUSER = "postgres"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(port: int, address: str = "127.0.0.1") -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=0.5):
        return True
    return False


def unprivileged() -> str | None:
    """PostgreSQL and PgBouncer refuse to be root: the account to run them as, or None when we are not root."""
    return SUPERUSER if os.geteuid() == 0 else None


def start(command: Sequence[str | Path], log: Path, user: str | None = None, **more: str) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **more}
    group = pwd.getpwnam(user).pw_gid if user else None
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            user=user,
            group=group,
            extra_groups=[] if user else None,
            env=environment,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], how: int = signal.SIGTERM) -> None:
    """End a process of ours; by force when it does not go."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Postgres:
    """A cluster of its own; `durable` keeps fsync on, which measurements need and other tests need not."""

    folder: Path
    durable: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        data = self.folder / "postgres"
        data.mkdir()
        if user := unprivileged():
            shutil.chown(self.folder, user)
            shutil.chown(data, user)
        initialise: list[str | Path] = [
            POSTGRES_BINARIES / "initdb",
            "-D",
            data,
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "-N",
        ]
        process = start([*initialise, "--locale=C.UTF-8"], self.folder / "initdb.log", unprivileged())
        assert process.wait(timeout=60) == 0, (self.folder / "initdb.log").read_text()
        (data / "pg_hba.conf").write_text(
            f"host all {SUPERUSER} 127.0.0.1/32 trust\n"
            f"local all {SUPERUSER} trust\n"
            "host all all 127.0.0.1/32 scram-sha-256\n"
        )

    def start(self) -> None:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if self.durable else "off",
            "shared_buffers": "64MB",
            "max_connections": "200",
            **self.settings,
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [POSTGRES_BINARIES / "postgres", "-D", self.folder / "postgres", *arguments]
        self.process = start(command, self.folder / "postgres.log", unprivileged())
        ready: list[str | Path] = [POSTGRES_BINARIES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, 30, "PostgreSQL answers")

    def stop(self, how: int = signal.SIGINT) -> None:
        if self.process:
            stop(self.process, how)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Every process of it is stopped, as on a host that hangs: connections stay, and nothing is answered."""
        assert self.process
        server = psutil.Process(self.process.pid)
        server.suspend()  # first, so that it starts no other
        processes = [server, *server.children(recursive=True)]
        for process in processes[1:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def run(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as the superuser; what psql prints, unaligned."""
        command: list[str | Path] = [
            POSTGRES_BINARIES / "psql",
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            SUPERUSER,
            "-h",
            "127.0.0.1",
        ]
        done = subprocess.run(
            [*command, "-p", str(self.port), "-d", database], input=sql, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@dataclass
class Pooler:
    """PgBouncer in transaction mode, as each application host runs one."""

    folder: Path
    postgres_port: int
    users: dict[str, str]
    elsewhere: dict[str, int] = field(default_factory=dict)
    """Ports of the databases that lie in another cluster."""
    pool_size: int = 8
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        users = self.folder / "users.txt"
        users.write_text("".join(f'"{user}" "{password}"\n' for user, password in self.users.items()))
        configuration = self.folder / "pgbouncer.ini"
        more = "".join(f"{name} = {value}\n" for name, value in self.settings.items())
        others = "".join(f"{name} = host=127.0.0.1 port={port}\n" for name, port in self.elsewhere.items())
        configuration.write_text(
            f"""[databases]
{others}* = host=127.0.0.1 port={self.postgres_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir = {self.folder}
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {self.pool_size}
max_client_conn = 1000
server_login_retry = 1
logfile = {self.folder / "pgbouncer-own.log"}
{more}"""
        )
        self.folder.chmod(0o755)
        if user := unprivileged():
            for path in (users, configuration, self.folder):
                shutil.chown(path, user)
        self.process = start(["/usr/sbin/pgbouncer", configuration], self.folder / "pgbouncer.log", unprivileged())
        wait_until(lambda: listening(self.port), 10, "PgBouncer listens")

    def stop(self, how: int = signal.SIGINT) -> None:
        if self.process:
            stop(self.process, how)


@dataclass
class Redis:
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [
            "/usr/bin/redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            self.folder,
        ]
        self.process = start([str(part) for part in command], self.folder / "redis.log")
        wait_until(lambda: listening(self.port), 10, "Redis listens")

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process:
            stop(self.process, how)


@dataclass
class Objects:
    """An S3 store with buckets by virtual host, the same that the local environment runs."""

    folder: Path
    buckets: list[str]
    accounts: dict[str, str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    DOMAIN: ClassVar[str] = "objects.localhost"
    ROOT: ClassVar[tuple[str, str]] = ("root-key", "root-secret")

    @property
    def endpoint(self) -> str:
        return f"http://{self.DOMAIN}:{self.port}"

    def start(self) -> None:
        """Accounts may read and write their own prefix of the first bucket, and nothing else."""
        root, accounts, metadata = (self.folder / name for name in ("objects", "accounts", "metadata"))
        for folder in (root, accounts, metadata):
            folder.mkdir()
        command = [str(cache() / "bin" / "versitygw"), "--port", f"127.0.0.1:{self.port}", "--region", "local"]
        command += ["--iam-dir", str(accounts), "--virtual-domain", f"{self.DOMAIN}:{self.port}"]
        command += ["posix", "--sidecar", str(metadata), str(root)]
        access = {"ROOT_ACCESS_KEY_ID": self.ROOT[0], "ROOT_SECRET_ACCESS_KEY": self.ROOT[1]}
        self.process = start(command, self.folder / "objects.log", **access)
        wait_until(lambda: listening(self.port), 10, "the object store listens")
        for key, secret in self.accounts.items():
            self._admin("create-user", "--access", key, "--secret", secret, "--role", "user")
        client = self.client(*self.ROOT)
        for bucket in self.buckets:
            client.create_bucket(Bucket=bucket)
            client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Statement": self._statements(bucket)}))

    def _statements(self, bucket: str) -> list[dict[str, Any]]:
        statements: list[dict[str, Any]] = []
        for key in self.accounts:
            prefix = key.rpartition("-")[2]
            objects = {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{bucket}/{prefix}/*"}
            statements.append({"Effect": "Allow", "Principal": {"AWS": [key]}, **objects})
        return statements

    def _admin(self, *arguments: str) -> None:
        command = [
            str(cache() / "bin" / "versitygw"),
            "admin",
            "--region",
            "local",
            "--access",
            self.ROOT[0],
            "--secret",
            self.ROOT[1],
        ]
        subprocess.run([*command, "--endpoint-url", f"http://127.0.0.1:{self.port}", *arguments], check=True)

    def client(self, key: str, secret: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="local",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "virtual"}, request_checksum_calculation="when_required"),
        )

    def stop(self) -> None:
        if self.process:
            stop(self.process)
