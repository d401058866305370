"""Running a service: uvicorn on uvloop and httptools; SIGTERM finishes what was begun."""

from __future__ import annotations

import uvicorn

from services.kernel.http import Service
from services.kernel.telemetry import configure_logging


def serve(service: Service) -> None:
    settings = service.kernel.settings
    configure_logging(settings.service, settings.log_level)
    uvicorn.run(
        service,
        host=settings.bind,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.drain_seconds,
        backlog=4096,
    )
