"""`python -m services.query`: serve until SIGTERM."""

from __future__ import annotations

from services.kernel.server import serve
from services.query.app import QuerySettings, create

if __name__ == "__main__":
    serve(create(QuerySettings()))
