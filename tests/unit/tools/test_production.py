"""`yiwang` on production, up to the native engine.

There is no public cloud here, so the engine's command is a local stand-in: an executable `pulumi` on the PATH, in a
process of its own, that records its arguments and answers as the engine would. What is shown is which native commands
are given, in which order and with which words; that they do what they say is the engine's own business, and what holds
an update to its preview is tried with the real engine in tests/integration/test_engine.py. Services, hosts and
playbooks are made up, too (tests/support/production.py).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.engine import REPOSITORY
from infra.registry import load_registry
from tests.support import provisioned
from tests.support.production import NEVER
from tests.unit.tools.test_onboarding import CHUNAN, as_the_registry_says

STAND_IN = """#!{interpreter}
import json, os, sys
from pathlib import Path
words, here = sys.argv[1:], Path(__file__).parent
with (here / "asked").open("a") as asked:
    print(json.dumps(words), file=asked)
if words[:2] == ["stack", "ls"]:
    print(json.dumps([{{"name": path.name}} for path in (here / "stacks").iterdir()]))
    sys.exit()
stack = words[words.index("--stack") + 1]
state = here / "stacks" / stack
if words[:2] == ["stack", "output"]:
    print(json.dumps({{"contract": json.loads(state.read_text()), "secrets": {{}}}}))
elif words[0] == "preview":
    Path(words[words.index("--save-plan") + 1]).write_text(stack)
    if (here / "wanted" / stack).exists():
        name = json.loads((here / "wanted" / stack).read_text())["name"]
        print(f"    + alicloud:rds/database:Database: (create)")
        print(f"        [urn=urn:pulumi:{{stack}}::yiwang::alicloud:rds/database:Database::{{name}}]")
        print("Resources:\\n    + 1 to create\\n    12 unchanged")
elif words[0] == "up":
    assert Path(words[words.index("--plan") + 1]).read_text() == stack
    state.write_text(json.dumps(json.loads((here / "wanted" / stack).read_text())["contract"]))
    print("Resources:\\n    + 1 created\\n    12 unchanged")
else:
    print(f"error: {{words}}: nobody should ask for that", file=sys.stderr)
    sys.exit(255)
"""


class Operators:
    """The machine from which a province is run: the engine's command on its PATH, and its state."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root, root / "bin"
        for folder in (self.bin / "stacks", self.bin / "wanted", root / "home", root / "cache"):
            folder.mkdir(parents=True)
        program = self.bin / "pulumi"
        program.write_text(STAND_IN.format(interpreter=sys.executable))
        program.chmod(0o755)
        outputs = as_the_registry_says(load_registry(), left=())
        text = outputs.model_dump_json().replace(provisioned.ENVIRONMENT, "prod")
        told = json.loads(text.replace("10.91.", "127.91."))  # where nobody answers, and at once
        for scope, contract in {
            "foundation": told["foundation"],
            **{cell["cell"]: cell for cell in told["cells"]},
        }.items():
            self.stands(scope, contract)
        tenants = {tenant["code"]: tenant for tenant in told["tenants"]}
        self.stands("zhejiang", self.tenants("zhejiang", {}))
        self.stands("hangzhou", self.tenants("hangzhou", {code: t for code, t in tenants.items() if code != CHUNAN}))
        self.wants("hangzhou", f"t{CHUNAN}", self.tenants("hangzhou", tenants))
        self.wants("cell-a", "cell-a-application-3", next(cell for cell in told["cells"] if cell["cell"] == "cell-a"))

    def tenants(self, scope: str, tenants: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "tenants", "environment": "prod", "scope": scope, "bucket": "b", "tenants": tenants}

    def stands(self, scope: str, contract: dict[str, Any]) -> None:
        (self.bin / "stacks" / f"prod.{scope}").write_text(json.dumps(contract))

    def wants(self, scope: str, name: str, contract: dict[str, Any]) -> None:
        (self.bin / "wanted" / f"prod.{scope}").write_text(json.dumps({"name": name, "contract": contract}))

    def yiwang(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(self.bin), os.environ["PATH"]]),
            "YIWANG_HOME": str(self.root / "home"),
            "YIWANG_CACHE": str(self.root / "cache"),
            "COLUMNS": "300",
        }
        environment.pop("YIWANG_BY_MAKE", None)
        return subprocess.run(
            [sys.executable, "-m", "tests.support.production", *words],
            cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    @property
    def asked(self) -> list[list[str]]:
        """What the engine was asked for, but for what there is."""
        told = [json.loads(line) for line in (self.bin / "asked").read_text().splitlines()]
        return [words for words in told if words[0] != "stack"]


@pytest.fixture
def operators(tmp_path: Path) -> Operators:
    return Operators(tmp_path)


def update_of(operators: Operators, scope: str) -> list[list[str]]:
    preview = str(operators.root / "home" / "prod" / "previews" / f"{scope}.json")
    common = ["--non-interactive", "--stack", f"prod.{scope}", "--color", "never"]
    return [
        ["preview", "--diff", "--save-plan", preview, *common],
        ["up", "--yes", "--skip-preview", "--plan", preview, "--parallel", "10", *common],
    ]


def test_a_tenant_is_onboarded_by_a_preview_and_an_update_that_is_held_to_it(operators: Operators) -> None:
    done = operators.yiwang("onboard", "prod", CHUNAN, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert operators.asked == update_of(operators, "hangzhou")
    shown, played = f"alicloud:rds/database:Database::t{CHUNAN}]", f"played site.yml --tags tenants {CHUNAN}"
    assert done.stdout.index(shown) < done.stdout.index(played)
    assert f"https://id/{CHUNAN}" in done.stdout


def test_where_nobody_can_agree_it_is_shown_and_not_done(operators: Operators) -> None:
    done = operators.yiwang("onboard", "prod", CHUNAN)
    assert done.returncode == 1
    assert "nobody is there to agree: Update prod.hangzhou just so (1 created)?" in done.stderr
    assert operators.asked == update_of(operators, "hangzhou")[:1]
    assert "played" not in done.stdout


def test_a_cell_is_resized_likewise(operators: Operators) -> None:
    done = operators.yiwang("resize", "prod", "cell-a", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert operators.asked == update_of(operators, "cell-a")
    assert "played site.yml\n" in done.stdout


def test_all_is_brought_up_stack_by_stack_and_what_has_nothing_to_change_is_only_looked_at(
    operators: Operators,
) -> None:
    (operators.bin / "wanted" / "prod.cell-a").unlink()
    scopes = ["foundation", "cell-a", "cell-core", "zhejiang", "hangzhou"]
    done = operators.yiwang("up", "prod", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    expected = [words for scope in scopes for words in update_of(operators, scope)]
    expected = [words for words in expected if words[0] == "preview" or "prod.hangzhou" in words]
    assert operators.asked == expected


LOOKS = {
    "status": ["status", "prod"],
    "outputs": ["outputs", "prod"],
    "env": ["env", "prod"],
    "tenants": ["tenants", "list", "-e", "prod"],
    "invitation": ["invitation", "list", "prod", "330106"],
}
REFUSED = {
    "down": ["down", "prod"],
    "demo-loop": ["demo-loop", "prod"],
    "logs": ["logs", "prod", "--no-follow"],
    "gate": ["gate", "prod"],
    "plan": ["plan", "prod", "--no-measure"],
}
"""By us, or by hosts that are not there."""


@pytest.mark.parametrize("name", [*LOOKS, *REFUSED])
def test_whatever_is_said_of_production_loads_nothing_of_the_local_cloud(operators: Operators, name: str) -> None:
    done = operators.yiwang(*(LOOKS | REFUSED)[name])
    assert "loads infra" not in done.stdout + done.stderr
    assert "fault of yiwang" not in done.stderr
    assert (done.returncode == 0) == (name in LOOKS), done.stdout + done.stderr


def test_the_guard_sees_what_is_loaded() -> None:
    code = (
        "import sys; from tests.support.production import NothingLocal; "
        "sys.meta_path.insert(0, NothingLocal()); import tools.recovering"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert f"loads {NEVER}" in done.stderr
