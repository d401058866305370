"""No list is cut in silence: wherever a statement of the services takes some rows, it is known where the rest is."""

from __future__ import annotations

import re
from pathlib import Path

SERVICES = Path(__file__).resolve().parents[2] / "services"
BOUND = re.compile(r"\bLIMIT (?!1\b)[\d$]")

# Where the rest is. A page by cursor has a test with one row more than it holds.
THE_REST = {
    "affairs/store/desk.py": "the next page, by cursor",
    "affairs/forget.py": "the next batch of the same run",
    "affairs/measures.py": "not a list: a metric that stops counting at a bound which its name tells",
    "identity/sessions/store.py": "the next page, by cursor",
    "kernel/outbox.py": "the relay's next batch",
    "portal/store/sessions.py": "dead sessions, swept at the next log-in",
    "query/forget.py": "the next batch of the same run",
    "query/store.py": "the next page, by cursor",
}


def bounded(folder: Path) -> set[str]:
    """Modules with a statement that takes more than one row and not all."""
    modules = (path for path in folder.rglob("*.py") if BOUND.search(path.read_text()))
    return {str(path.relative_to(folder)) for path in modules}


def test_of_every_bounded_list_it_is_known_where_the_rest_is() -> None:
    assert bounded(SERVICES) == set(THE_REST)


def test_the_check_catches_a_list_that_is_cut(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text('NEWEST = "SELECT body FROM a.standards ORDER BY version DESC LIMIT 1"\n')
    (tmp_path / "cut.py").write_text('DESK = "SELECT number FROM a.cases ORDER BY filed_at LIMIT 200"\n')
    assert bounded(tmp_path) == {"cut.py"}
