"""Documents that cannot drift: links lead somewhere, named targets and subcommands exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer.main

from tools.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
TARGET = re.compile(r"^([a-z-]+):.*## (.+)$", re.MULTILINE)
DOCUMENTS = sorted(
    REPOSITORY / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
)


def targets() -> set[str]:
    return {name for name, _ in TARGET.findall((REPOSITORY / "Makefile").read_text())}


def unknown_targets(text: str) -> set[str]:
    """Targets that a document tells its reader to make and that do not exist."""
    named = re.findall(r"(?:^|`|    )make ([a-z][a-z-]*)", text, re.MULTILINE)
    return set(named) - targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere_and_targets_exist(document: Path) -> None:
    text = document.read_text()
    dead = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert dead == []
    assert unknown_targets(text) == set()


def test_the_check_catches_a_target_that_does_not_exist() -> None:
    assert unknown_targets("    make up\n    make coffee\n") == {"coffee"}


def test_every_top_folder_has_a_readme() -> None:
    folders = {path.name for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith(".")}
    tracked = {document.relative_to(REPOSITORY).parts[0] for document in DOCUMENTS}
    for folder in folders & {"tenants", "infra", "playbooks", "services", "tools", "tests"}:
        assert (REPOSITORY / folder / "README.md").exists(), folder
    assert "docs" in tracked


def test_every_subcommand_that_the_documents_name_exists() -> None:
    command = typer.main.get_command(app)
    known = set(command.commands)  # type: ignore[attr-defined]
    named = {word for document in DOCUMENTS for word in re.findall(r"yiwang ([a-z]+)\b", document.read_text())}
    assert named <= known, named - known
