"""What the engine can do with the local edition: every line of the table in `docs/local-cloud.md`, typed as it stands.

One project and one plugin for all; each test has a stack of its own and types its lines in a row, which is cheap.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO

import pytest

from infra.engine import CHANGE
from infra.local.cloud.cloud import Cloud
from infra.local.cloud.specs.kept import KeptSpec
from infra.local.plugin.inventory import Thing, things
from infra.local.recovery import compare, read_state, recover
from tests.integration.small_project import PRELUDE, SmallProject
from tests.support.repertoire import lines

KEY = "alicloud:kms/key:Key"
ALIAS = "alicloud:kms/alias:Alias"
LOGS = "alicloud:log/project:Project"
GROUP = "alicloud:resourcemanager/resourceGroup:ResourceGroup"
THREE = """
scope = pulumi.get_stack().partition(".")[2]
alicloud.resourcemanager.ResourceGroup("g", display_name="{group}", resource_group_name="yw-" + scope, opts=options())
key = alicloud.kms.Key("key", description="{key}", {usage} opts=options({options}))
alicloud.kms.Alias("alias", alias_name="alias/" + scope, key_id=key.id, opts=options())
"""
WORD = re.compile(r"\b[A-Z]{2,}\b")


@dataclass
class Said:
    """What a command printed, and how many resources it touched."""

    text: str
    changes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.changes = {kind: int(count) for count, kind in CHANGE.findall(self.text)}


@dataclass
class Hands:
    """Types the table's commands for one stack of the project."""

    project: SmallProject

    def types(self, done: str, **words: str) -> Said:
        ran = self._type(done, words)
        assert ran.returncode == 0, f"{done}: {ran.args}\n{ran.stdout}"
        return Said(ran.stdout)

    def refused(self, done: str, because: str, **words: str) -> None:
        ran = self._type(done, words)
        assert ran.returncode != 0 and re.search(because, ran.stdout), f"{done}: {ran.args}\n{ran.stdout}"

    def _type(self, done: str, words: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = WORD.sub(lambda match: f"'{words[match[0]]}'", lines()[done].command)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.project.root,
            env={**os.environ, **self.project.engine.variables(), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )

    def urn(self, token: str, name: str) -> str:
        return f"urn:pulumi:{self.project.name}::yiwang::{token}::{name}"

    def ids(self, token: str) -> dict[str, str]:
        """Logical name → id of what the cloud has of a class."""
        return {thing.name: thing.id for thing in self.there() if thing.token == token}

    def there(self) -> set[Thing]:
        return things(self.project.environment, self.project.name)

    def agreed(self) -> bool:
        difference = compare(self.project.engine, self.project.scope)
        return not difference.missing and not difference.unknown

    def three(self, key: str = "one", group: str = "g", usage: str = "", options: str = "") -> None:
        self.project.program(THREE.format(key=key, group=group, usage=usage, options=options))

    def at(self, scope: str) -> Hands:
        """At another stack of the same project."""
        other = SmallProject(self.project.root, scope)
        other.folder, other.engine = self.project.folder, self.project.engine
        return Hands(other)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield SmallProject.make(tmp_path_factory.mktemp("repertoire"), monkeypatch)


@pytest.fixture
def hands(project: SmallProject, request: pytest.FixtureRequest) -> Hands:
    """At a stack of the test's own."""
    scope = request.function.__name__.rpartition("_")[2]
    hands = Hands(project).at(scope)
    hands.project.stack(scope)
    hands.types("choose a stack", STACK=hands.project.name)
    return hands


def by_hand(hands: Hands, key: str) -> None:
    """Somebody changes the key's description in the console, and deletes its alias."""
    cloud = Cloud(hands.project.folder.cloud, hands.project.environment)
    mine = [record for record in cloud.kept.list() if record.owner.stack == hands.project.name]
    changed = next(record for record in mine if record.spec.type == KEY)
    inputs = {**changed.spec.inputs, "description": key}
    cloud.kept.update(changed.id, KeptSpec(KEY, inputs, {}, changed.spec.unique_name))
    cloud.kept.delete(next(record for record in mine if record.spec.type == ALIAS).id)


def test_updates(hands: Hands) -> None:
    hands.three()
    assert hands.types("update").changes == {"create": 5}
    by_hand(hands, "by hand")
    assert hands.types("preview with refresh").changes == {"create": 1, "update": 1}
    assert hands.types("update with refresh").changes == {"create": 1, "update": 1}
    by_hand(hands, "by hand again")
    assert hands.types("refresh").changes == {"update": 1, "delete": 1}

    hands.three(key="two", group="two")
    assert hands.types("update of some", URN=hands.urn(KEY, "key")).changes == {"update": 1}
    hands.three(key="three", group="two")
    assert hands.types("update of all but some", URN=hands.urn(GROUP, "g")).changes == {"create": 1, "update": 1}
    shown = hands.types("preview")
    assert shown.changes == {"update": 1} and 'displayName: "g" => "two"' in shown.text
    assert hands.types("update").changes == {"update": 1}


def test_replacements(hands: Hands) -> None:
    hands.three()
    hands.types("update")
    seen = [hands.ids(KEY)["key"]]
    hands.three(usage='key_usage="SIGN/VERIFY",')
    assert hands.types("replacement").changes == {"update": 1, "replace": 1}
    seen.append(hands.ids(KEY)["key"])
    hands.types("forced replacement", URN=hands.urn(KEY, "key"))
    seen.append(hands.ids(KEY)["key"])
    hands.types("taint", URN=hands.urn(KEY, "key"))
    hands.three(key="ignored", usage='key_usage="SIGN/VERIFY",', options="protect=True, ignore_changes=['description']")
    hands.types("ignored changes")
    seen.append(hands.ids(KEY)["key"])
    assert len(set(seen)) == 4 and len(hands.ids(KEY)) == 1, "each one is another thing, and the one before is gone"
    assert hands.agreed()

    assert hands.types("destroy of some", URN=hands.urn(ALIAS, "alias")).changes == {"delete": 1}
    hands.refused("protected", r"::key\" cannot be deleted\s+because it is protected")
    assert set(hands.ids(KEY)) == {"key"}
    hands.types("unprotect", URN=hands.urn(KEY, "key"))
    hands.types("destroy")
    assert hands.there() == set()
    hands.types("removal of a stack")


def keys(**named: str) -> str:
    """Keys by logical name, with their options."""
    return "".join(f'{name} = alicloud.kms.Key("{name}", opts=options({more}))\n' for name, more in named.items())


def test_names(hands: Hands) -> None:
    hands.project.program(keys(old="protect=True"))
    hands.types("update")
    first = hands.ids(KEY)["old"]
    hands.project.program(keys(new="aliases=[pulumi.Alias(name='old')], protect=True"))
    assert not hands.types("renamed by its program").changes
    hands.project.program(keys(new="protect=True", old=""))
    assert hands.types("update").changes == {"create": 1}
    second = hands.ids(KEY)["old"]
    assert hands.ids(KEY)["new"] == first != second

    hands.types("renamed in the state", URN=hands.urn(KEY, "old"), NAME="third")
    hands.project.program(keys(new="protect=True", third="", old=""))
    assert hands.types("update").changes == {"create": 1}
    assert (hands.ids(KEY)["new"], hands.ids(KEY)["third"]) == (first, second) and len(
        set(hands.ids(KEY).values())
    ) == 3


def test_stacks(hands: Hands) -> None:
    hands.project.program('secret = pulumi.Config().require_secret("word")\n' + keys(stays="", moves=""))
    hands.project.engine.run(["config", "set", "word", "a-word", "--secret", "--stack", hands.project.name])
    hands.types("update")
    made = hands.ids(KEY)
    renamed = hands.at("renamed")
    hands.types("renamed stack", STACK=renamed.project.name)
    assert not renamed.project.up("--expect-no-changes").any, "our own commands find its settings"
    assert renamed.ids(KEY) == made and hands.there() == set()

    other = hands.at("other")
    hands.types("another stack", STACK=other.project.name)
    names = {"STACK": renamed.project.name, "OTHER": other.project.name}
    hands.types("moved to another stack", **names, URN=renamed.urn(KEY, "moves"))
    renamed.project.program('secret = pulumi.Config().require_secret("word")\n' + keys(stays=""))
    recover(renamed.project.engine, renamed.project.scope, StringIO())
    other.project.program(keys(moves=""))
    assert not other.project.up("--expect-no-changes").any
    assert (renamed.ids(KEY), other.ids(KEY)) == ({"stays": made["stays"]}, {"moves": made["moves"]})


RETAINED = """
logs = alicloud.log.Project("logs", project_name="yw-kept", tags={"a-b_C": "1"}, opts=options(retain_on_delete=True))
alicloud.log.Store("flow", project_name=logs.project_name, logstore_name="flow", append_meta=True,
    encrypt_conf={"enable": True, "encrypt_type": "default",
        "user_cmk_info": {"cmk_key_id": "k", "arn": "a", "region_id": "r"}}, opts=options(retain_on_delete=True))
alicloud.kms.Secret("s", secret_name="yw-s", secret_data="a-secret-text", version_id="v1",
    opts=options(retain_on_delete=True))
alicloud.kms.Key("key", description=\"\"\"it's "${x}" 钥匙
and a second line\"\"\", opts=options(retain_on_delete=True))
"""


def test_imports(hands: Hands) -> None:
    hands.project.program(RETAINED)
    hands.types("update")
    kept = hands.there()
    hands.project.program("")
    hands.types("retained")
    assert hands.there() == kept and hands.agreed(), "our own tools do not take it for a left-over either"
    hands.project.program(RETAINED)
    hands.refused(
        "declared again", r"Project 'logs': EntityAlreadyExists: 'yw-kept' exists, declared .*::logs; declare it once"
    )

    hands.project.program("")
    hands.types("update")
    provider = read_state(hands.project.engine, hands.project.scope).provider
    said = hands.types("import", TYPE=LOGS, NAME="logs", ID="yw-kept", URN=provider).text
    assert 'logs = alicloud.log.Project("logs",' in said and '"a-b_C": "1"' in said
    assert "provider=cloud" in said and "protect=True" in said
    hands.types("taken out of the state", URN=hands.urn(LOGS, "logs"))
    assert hands.agreed()

    wanted = [thing for thing in kept if thing.token != KEY]
    resources = [{"type": thing.token, "name": thing.name, "id": thing.id, "provider": "provider"} for thing in wanted]
    listed, code = hands.project.root / "imports.json", hands.project.root / "code.py"
    listed.write_text(json.dumps({"nameTable": {"provider": provider}, "resources": resources}))
    hands.types("import of several", FILE=listed.name, CODE=code.name)
    written = code.read_text().replace("import pulumi\nimport pulumi_alicloud as alicloud\n", "")
    key = next(thing.id for thing in kept if thing.token == KEY)
    described = re.search(r'description=("""it.*?line""")', RETAINED, re.DOTALL)
    assert described is not None
    taken_over = f'\nalicloud.kms.Key("key", description={described[1]}, opts=options(import_="{key}"))\n'
    hands.project.program(written + taken_over)
    said = hands.types("import by its program").text
    assert re.search(r"= 1 imported\n +\d+ unchanged", said), f"the code says what is there: {said}\n{written}"
    beside = [thing for thing in hands.there() if thing.token == KEY]
    assert "a-secret-text" not in said and kept < hands.there() and len(beside) == 2


DELETED_WITH = """
logs = alicloud.log.Project("logs", project_name="yw-logs", opts=options())
alicloud.log.Store("flow", project_name=logs.project_name, logstore_name="flow", opts=options(deleted_with=logs))
"""


def test_states(hands: Hands, project: SmallProject) -> None:
    hands.three()
    hands.types("update")
    saved = project.root / "state.json"
    hands.types("export of the state", FILE=saved.name)
    hands.three(key="newer")
    hands.types("update")
    hands.types("import of a state", FILE=saved.name)
    assert hands.types("refresh").changes == {"update": 1}

    hands.project.program(DELETED_WITH)
    hands.types("update")
    hands.project.program("")
    hands.refused("deleted with another", r"Project 'logs': DependencyViolation: .*::flow.* uses it")
    hands.types("taken out of the state", URN=hands.urn(LOGS, "logs"))

    hands.project.program("".join(f'alicloud.kms.Key("k{n}", opts=options())\n' for n in range(12)))
    assert hands.project.kill_after(14), "in the midst of the creations"
    hands.refused("locked", r"the stack is currently locked by 1 lock")
    hands.types("cancel")
    hands.types("pending creations")
    hands.types("update")
    assert hands.agreed() and set(hands.ids(KEY)) == {f"k{n}" for n in range(12)}


def test_the_prelude_is_what_the_code_needs() -> None:
    """The code of an import names its provider as the program does."""
    assert "\nprovider = alicloud.Provider(" in PRELUDE
