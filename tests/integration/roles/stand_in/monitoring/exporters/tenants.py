"""Counts notes in every tenant's database of its cell, through the host's PgBouncer."""

from __future__ import annotations

import os

from monitoring.exporters import serve

os.environ["YIWANG_SERVICE"] = "affairs"  # whose tables it reads
from services.answer import ask, databases


def notes() -> dict[str, float]:
    return {f'tenant_notes{{tenant="{name}"}}': len(ask(name, *account)) for name, account in databases().items()}


serve(int(os.environ["YIWANG_EXPORTER_PORT"]), notes)
