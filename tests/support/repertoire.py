"""The table of what the engine can do, in `docs/local-cloud.md`: its commands are what the tests run, word by word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "local-cloud.md"
BEGIN, END = "<!-- repertoire: begin -->\n", "<!-- repertoire: end -->\n"
ROW = re.compile(r"^\| ([^|]+) \| `([^`]+)` \| ([^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """What is done, the command (words in capitals stand for what the reader has), and what happens."""

    done: str
    command: str
    happens: str


def lines(page: str | None = None) -> dict[str, Line]:
    """The table, by what is done.

    Raises:
        ValueError: a row that is none, or a line that is there twice.
    """
    table = (page or PAGE.read_text()).split(BEGIN)[1].split(END)[0]
    rows = table.strip().splitlines()[2:]
    readable = [Line(*match.groups()) for match in ROW.finditer(table)]
    if len(readable) != len(rows):
        raise ValueError(f"{len(rows)} rows and {len(readable)} that can be read: | what | `command` | what happens |")
    if len({line.done for line in readable}) != len(readable):
        raise ValueError("a line is there twice")
    return {line.done: line for line in readable}
