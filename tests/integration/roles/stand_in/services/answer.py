"""One HTTP answer for every path: which host and release this is, and what the databases say."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pg8000.native

SERVICE = os.environ["YIWANG_SERVICE"]


def databases() -> dict[str, tuple[str, str]]:
    """Database → account and password of everything that this service may open."""
    network = json.loads(Path(os.environ["YIWANG_TENANTS_FILE"]).read_text())
    secrets = json.loads(Path(os.environ["YIWANG_SECRETS_FILE"]).read_text())
    if "database_password" in secrets:
        return {SERVICE: (f"{SERVICE}_app", secrets["database_password"])}
    own = [tenant for tenant in network["tenants"] if tenant["cell"] == os.environ["YIWANG_CELL"]]
    return {
        tenant["database"]: (f"{tenant['database']}_app", secrets["tenants"][tenant["code"]]["database_password"])
        for tenant in own
    }


def ask(database: str, account: str, password: str) -> str:
    path = f"{os.environ['YIWANG_DATABASE_HOST']}/.s.PGSQL.{os.environ['YIWANG_DATABASE_PORT']}"
    connection = pg8000.native.Connection(account, unix_sock=path, database=database, password=password)
    try:
        return str(connection.run(f"SELECT current_user || ' ' || note FROM {SERVICE}.notes")[0][0])
    finally:
        connection.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # gateways and scrapers keep connections open; a thread that waits on one would outlast the order to stop
    timeout = 1

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/readyz":
            self._answer(self._ready())
            return
        if address.path == "/metrics":
            self._answer(None, "text/plain; version=0.0.4")
            return
        if address.path == "/databases":
            self._answer({name: ask(name, *account) for name, account in databases().items()})
            return
        threading.Event().wait(float(parse_qs(address.query).get("seconds", ["0"])[0]))
        self._answer({"service": SERVICE, "host": socket.gethostname(), "tree": str(Path.cwd()), "path": address.path})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.do_GET()

    def _ready(self) -> dict[str, Any]:
        name, account = next(iter(databases().items()))
        return {name: ask(name, *account)}

    def _answer(self, content: dict[str, Any] | None, kind: str = "application/json") -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def serve() -> None:
    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ["YIWANG_PORT"])), Handler)
    server.daemon_threads = False
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
