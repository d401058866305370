"""`python -m services.affairs`: serve until SIGTERM, told by `YIWANG_…` variables."""

from __future__ import annotations

from services.affairs.app import create
from services.kernel.server import serve
from services.kernel.settings import ServiceSettings

if __name__ == "__main__":
    serve(create(ServiceSettings()))
