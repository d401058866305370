"""Documents that cannot drift: links lead somewhere, named targets and subcommands exist."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import typer.main

from tools.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
TARGET = re.compile(r"^([a-z-]+):.*## (.+)$", re.MULTILINE)
CHINESE = re.compile(r"[\u4e00-\u9fff]+")
OF_THE_LAW = {"备案", "公安备案", "等级保护"}
"""Chinese words of documents that name nothing of ours."""
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
    subcommands = set(command.commands)  # type: ignore[attr-defined]
    named = {word for document in DOCUMENTS for word in re.findall(r"yiwang ([a-z]+)\b", document.read_text())}
    assert named <= subcommands, named - subcommands


@cache
def chinese_of_the_product() -> frozenset[str]:
    """Every Chinese word that stands by itself in pages, registry, seed or code."""
    listed = subprocess.run(
        ["git", "ls-files", "services", "tenants", "tools", "infra", "loadtests", "monitoring"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    texts = (REPOSITORY / name for name in listed if Path(name).suffix in (".py", ".html", ".yaml", ".csv"))
    return frozenset(word for path in texts for word in CHINESE.findall(path.read_text()))


def words_of_no_page(text: str) -> set[str]:
    return set(CHINESE.findall(text)) - chinese_of_the_product() - OF_THE_LAW


@pytest.mark.parametrize(
    "document",
    [document for document in DOCUMENTS if document.parent.name != "examples"],  # whose words are of no product
    ids=lambda path: str(path.relative_to(REPOSITORY)),
)
def test_what_documents_call_by_a_chinese_name_has_that_name(document: Path) -> None:
    """Menus, items and places: who follows a document finds what it names."""
    assert words_of_no_page(document.read_text()) == set()


def test_the_check_catches_a_menu_that_has_another_name() -> None:
    assert words_of_no_page("Open 办件台 or 办件工作台 at 临安区, or ask in 进度查询 (办件进度).") == {
        "办件工作台",
        "办件进度",
    }


def commands_out_of_reach(text: str) -> list[str]:
    """Lines to be typed that call `yiwang` by its bare name before anything has put it on the PATH."""
    commands = []
    reachable = False
    for line in text.splitlines():
        reachable |= 'eval "$(.venv/bin/yiwang env' in line
        if not reachable and re.match(r"    (?:.*[;|(] ?)?yiwang [a-z]", line):
            commands.append(line.strip())
    return commands


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_can_be_typed_where_it_stands(document: Path) -> None:
    assert commands_out_of_reach(document.read_text()) == []


def test_the_check_catches_a_command_that_is_not_on_the_path() -> None:
    before, after = '    yiwang plan local\n    eval "$(yiwang env local)"\n', "    yiwang outputs\n"
    text = f'{before}    eval "$(.venv/bin/yiwang env local)"\n{after}'
    assert commands_out_of_reach(text) == ["yiwang plan local", 'eval "$(yiwang env local)"']
