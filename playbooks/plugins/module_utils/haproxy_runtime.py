"""HAProxy's runtime API: one command a connection on its admin socket."""

from __future__ import annotations

import csv
import io
import socket
from dataclasses import dataclass
from pathlib import Path

SOCKET = "/run/haproxy/admin.sock"


# srv_admin_state in `show servers state`: forced maintenance and forced drain. The status alone does not tell: a server
# that is down looks the same whether it was drained or not.
ADMINISTRATION = 6
ORDERS = {0x01: "maint", 0x08: "drain"}


@dataclass(frozen=True)
class Server:
    """A server in a backend: what its check says, what is in flight, and what was ordered (drain, maint or ready)."""

    backend: str
    name: str
    status: str
    in_flight: int
    ordered: str


class RuntimeRefused(Exception):
    """HAProxy answered a command with a complaint."""


class Runtime:
    def __init__(self, path: str = SOCKET) -> None:
        self._path = path

    @property
    def answers(self) -> bool:
        """False when HAProxy does not run: it will read its files when it starts."""
        try:
            return Path(self._path).is_socket() and bool(self.ask("show version"))
        except OSError:
            return False

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(self._path)
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def order(self, command: str) -> None:
        """A command that answers nothing when it is done."""
        answer = self.ask(command).strip()
        if answer and not answer.startswith(("New version created", "Transaction")):
            raise RuntimeRefused(f"{command.splitlines()[0]}: {answer}")

    def map_entries(self, path: str) -> dict[str, str]:
        entries = (line.split(None, 2) for line in self.ask(f"show map {path}").splitlines() if line.strip())
        return {entry[1]: entry[2] for entry in entries if len(entry) == 3}

    def replace_map(self, path: str, entries: dict[str, str]) -> None:
        """All entries at once: requests see the old map or the new one, nothing between."""
        version = self.ask(f"prepare map {path}").rpartition(":")[2].strip()
        lines = [f"{key} {value}" for key, value in entries.items()]
        if lines:
            payload = "\n".join(lines)
            self.order(f"add map @{version} {path} <<\n{payload}\n")
        self.order(f"commit map @{version} {path}")

    def servers(self, name: str) -> list[Server]:
        """Every server of this name in every backend, and its unchecked twins."""
        ordered = {}
        for line in self.ask("show servers state").splitlines()[2:]:
            words = line.split()
            if len(words) > ADMINISTRATION:
                ordered[words[1], words[3]] = int(words[ADMINISTRATION])
        rows = csv.DictReader(io.StringIO(self.ask("show stat -1 4 -1").removeprefix("# ")))
        return [
            Server(
                backend=row["pxname"],
                name=row["svname"],
                status=row["status"],
                in_flight=int(row["scur"] or 0) + int(row["qcur"] or 0),
                ordered=next(
                    (state for bit, state in ORDERS.items() if ordered[row["pxname"], row["svname"]] & bit), "ready"
                ),
            )
            for row in rows
            if row["svname"].removesuffix(":unchecked") == name
        ]
