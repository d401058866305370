"""Run identity: `python3 -m services.identity`, told by `YIWANG_…` variables."""

from __future__ import annotations

from services.identity.application import create
from services.kernel.server import serve
from services.kernel.settings import ServiceSettings

if __name__ == "__main__":
    serve(create(ServiceSettings()))
