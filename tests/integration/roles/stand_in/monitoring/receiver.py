"""Takes whatever is posted and keeps count of its starts in its folder."""

from __future__ import annotations

import os
from pathlib import Path

from monitoring.exporters import serve

STARTS = Path(os.environ["YIWANG_RECEIVER_FOLDER"]) / "starts"


def starts() -> dict[str, float]:
    return {"starts": len(STARTS.read_text())}


with STARTS.open("a") as file:
    file.write(".")
serve(int(os.environ["YIWANG_RECEIVER_PORT"]), starts)
