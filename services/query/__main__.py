"""`python -m services.query`: serve until SIGTERM, told by `YIWANG_…` variables."""

from __future__ import annotations

from services.kernel.server import serve
from services.kernel.settings import ServiceSettings
from services.query.app import create

if __name__ == "__main__":
    serve(create(ServiceSettings()))
