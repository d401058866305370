"""One metric a page, worked out anew for each request."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def serve(port: int, metrics: Callable[[], dict[str, float]]) -> None:
    """Answer every GET with what `metrics` says then, and with the tree that runs as a label."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines = [*(f"{name} {value}" for name, value in metrics().items()), f'tree{{path="{Path.cwd()}"}} 1', ""]
            self._answer("\n".join(lines).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
