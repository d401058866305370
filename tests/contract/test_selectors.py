"""What an operator selects for a playbook and is not there is refused by name, with what there is: a run that has done
nothing must not look like one that has.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleParserError

from infra.engine import REPOSITORY
from tests.support import provisioned
from tests.support.playbook_plugins import load

PLAYBOOKS = REPOSITORY / "playbooks"
inventory = load("inventory", "yiwang")


def play(folder: Path, words: str) -> tuple[int, str]:
    """Exit code and what was said, in one line. Nothing of it may ask a host."""
    program = Path(sys.executable).parent / "ansible-playbook"
    variables = {**os.environ, **provisioned.variables(folder), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(
        [str(program), *words.split()], cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "playbooks/site.yml --tags tenants -e tenant=999999",
            "no tenant 999999 in the environment; there are 330000,",
        ),
        ("playbooks/deploy.yml --tags nosuch", "nothing has the tag nosuch; there is tenants"),
        ("playbooks/rollback.yml --skip-tags tenant", "nothing has the tag tenant; there is tenants"),
        ("playbooks/deploy.yml --limit gateway", "that this playbook is about; there are cell-core-identity-1"),
        ("playbooks/site.yml --limit gateway,nowhere", "--limit nowhere: no such host or group; there are"),
        ("playbooks/site.yml --limit nowhere", "--limit nowhere: no such host or group; there are"),
    ],
)
def test_what_is_not_there_is_refused_before_any_host_is_asked(tmp_path: Path, words: str, said: str) -> None:
    provisioned.write(tmp_path)
    code, told = play(tmp_path, words)
    assert code != 0
    assert said in told
    assert "UNREACHABLE" not in told


@pytest.mark.parametrize(
    "limit", [None, "", "gateway", "cell_a:&gateway:!cell-a-gateway-2", "application[0]", "cell-*", "~cell-.*", "all"]
)
def test_a_limit_that_matches_goes_through(limit: str | None) -> None:
    hosts = ["cell-a-gateway-1", "cell-a-gateway-2", "cell-a-application-1"]
    inventory.check_limit(limit, hosts, ["all", "cell_a", "gateway", "application"])


@pytest.mark.parametrize("limit", ["cell-b", "gateway,nowhere", "gateway:!nowhere", "nowhere[0]", "cell-b-*"])
def test_a_limit_of_which_a_part_matches_nothing_does_not(limit: str) -> None:
    with pytest.raises(AnsibleParserError, match="no such host or group; there are cell-a-gateway-1, all, gateway"):
        inventory.check_limit(limit, ["cell-a-gateway-1"], ["all", "gateway"])


def tags_in(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*(tags_in(child) for child in node))
    if not isinstance(node, dict):
        return set()
    own = node.get("tags", [])
    return set(own if isinstance(own, list) else [own]).union(*(tags_in(child) for child in node.values()))


def test_the_tags_that_there_are_are_those_that_plays_and_tasks_carry() -> None:
    files = [*PLAYBOOKS.glob("*.yml"), *PLAYBOOKS.glob("roles/*/tasks/*.yml")]
    carried = set().union(*(tags_in(yaml.safe_load(file.read_text())) for file in files))
    selection_tags = yaml.safe_load((PLAYBOOKS / "roles/selection/defaults/main.yml").read_text())["selection_tags"]
    assert carried - {"always"} == set(selection_tags)


def test_every_playbook_that_people_run_insists_on_it_first() -> None:
    for file in PLAYBOOKS.glob("*.yml"):
        text = file.read_text()
        if re.search(rf"^#\s+ansible-playbook playbooks/{file.name}", text, re.MULTILINE):
            first = yaml.safe_load(text)[0]
            assert first["roles"][0]["role"] == "selection", file
            assert (first["hosts"], first["tags"]) == ("all", ["always"]), file


def test_ansible_knows_every_setting_of_ours_by_its_section() -> None:
    """It drops what it does not know in silence."""
    program = Path(sys.executable).parent / "ansible-config"
    validated = subprocess.run(
        [str(program), "validate", "-t", "all"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert "host_pattern_mismatch" not in validated.stdout + validated.stderr
    assert validated.returncode == 0, validated.stdout + validated.stderr
