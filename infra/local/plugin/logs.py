"""Words to the engine: a plugin's own output is hidden, so everything is said through the engine's log."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from infra.local.plugin.classes import PARSING


class EngineLog:
    """Never fails its caller: an engine that does not listen any more misses a line, no more."""

    def __init__(self, address: str | None) -> None:
        self._said: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._engine: Any = None
        if address:
            self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(address))

    def info(self, message: str, urn: str = "") -> None:
        self._say(engine_pb2.INFO, message, urn)

    def warning(self, message: str, urn: str = "") -> None:
        """Once for each resource, though preview, check and update all come by."""
        with self._lock:
            if (message, urn) in self._said:
                return
            self._said.add((message, urn))
        self._say(engine_pb2.WARNING, message, urn)

    def debug_traceback(self, error: BaseException, urn: str) -> None:
        with PARSING:  # the mark under the place that failed is found by parsing its line
            written = "".join(traceback.format_exception(error))
        self._say(engine_pb2.DEBUG, written, urn if urn.startswith("urn:") else "")

    def _say(self, severity: Any, message: str, urn: str) -> None:
        if self._engine is None:
            return
        try:
            self._engine.Log(engine_pb2.LogRequest(severity=severity, message=message, urn=urn), timeout=5)
        except grpc.RpcError:
            return
