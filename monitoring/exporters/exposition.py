"""Where an exporter can be scraped: `/metrics` on a port of its own, in a thread of its own."""

from __future__ import annotations

from threading import Thread

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.registry import Collector


def expose(port: int, collector: Collector) -> Thread:
    """Serve what `collector` tells beside this process' own `process_…`; the thread lasts as long as the process.

    The registry is not the library's own: modules of the services that are imported here count into that one.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    return start_http_server(port, registry=registry)[1]
