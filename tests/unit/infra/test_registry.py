from __future__ import annotations

import csv
import json
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner

from infra.outputs import TenantSettings
from infra.registry import (
    RESERVED_LABELS,
    ROOT,
    SCHEMA,
    STANDARD,
    DivisionFile,
    Problem,
    Registry,
    RegistryError,
    SettingOverrides,
    Status,
    _Document,
    load_registry,
    schema,
    set_status,
)
from tools.commands.tenants import app

HANGZHOU = ["330000", "330100", "330106", "330112"]
FILES = ["province.yaml", "hangzhou/city.yaml", "hangzhou/xihu.yaml", "hangzhou/linan.yaml"]
Break = Callable[[Path], None]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A registry of four of the real files."""
    root = tmp_path / "tenants"
    for name in FILES:
        target = root / "zhejiang" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "zhejiang" / name, target)
    shutil.copy(ROOT / STANDARD, root)
    return root


def edit(name: str, old: str, new: str) -> Break:
    def change(root: Path) -> None:
        file = root / "zhejiang" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


def add(name: str, text: str) -> Break:
    def change(root: Path) -> None:
        file = root / "zhejiang" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return change


def move(old: str, new: str) -> Break:
    def change(root: Path) -> None:
        (root / "zhejiang" / old).rename(root / "zhejiang" / new)

    return change


def both(*changes: Break) -> Break:
    def change(root: Path) -> None:
        for part in changes:
            part(root)

    return change


def division(code: str, name: str, label: str) -> str:
    return f'code: "{code}"\nname: {name}\nlabel: {label}\nstatus: planned\nresidents:\n  count: 1\n  year: 2020\n'


def test_every_division_of_the_standard_has_a_file(registry: Registry) -> None:
    with (ROOT / STANDARD).open(newline="") as rows:
        official = {row["code"]: row["name"] for row in csv.DictReader(rows)}
    assert {code: division.name for code, division in registry.divisions.items()} == official
    assert len(official) == 102
    assert [len([d for d in registry.divisions.values() if d.level == level]) for level in ("city", "county")] == [
        11,
        90,
    ]


def test_production_begins_with_the_province_and_hangzhou(registry: Registry) -> None:
    live = {code for code, division in registry.divisions.items() if division.status == "live"}
    assert live == {"330000"} | {code for code in registry.divisions if code.startswith("3301")}
    assert len(live) == 15
    assert registry.scopes() == ["zhejiang", "hangzhou"]


def test_residents_of_a_parent_are_those_of_its_children(registry: Registry) -> None:
    for parent in registry.divisions.values():
        if parent.level == "city":
            counties = [d.residents for d in registry.divisions.values() if d.parent == parent.code]
            assert sum(counties) == parent.residents, parent.name


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("丽水市", "lishui"),
        ("衢州市", "quzhou"),
        ("台州市", "taizhou"),
        ("天台县", "tiantai"),
        ("乐清市", "yueqing"),
        ("嵊州市", "shengzhou"),
        ("嵊泗县", "shengsi"),
        ("鄞州区", "yinzhou"),
        ("缙云县", "jinyun"),
        ("莲都区", "liandu"),
        ("景宁畲族自治县", "jingning"),
        ("柯城区", "kecheng"),
        ("婺城区", "wucheng"),
        ("仙居县", "xianju"),
        ("岱山县", "daishan"),
        ("瓯海区", "ouhai"),
        ("长兴县", "changxing"),
        ("诸暨市", "zhuji"),
        ("南浔区", "nanxun"),
    ],
)
def test_readings_that_are_easily_got_wrong(registry: Registry, name: str, label: str) -> None:
    assert registry.find(name).label == label
    assert registry.find(label).name == name


@pytest.mark.parametrize("word", ["３３０１０６", " 330106\u200b", "\u3000西湖区", "ｘｉｈｕ", "西\ufeff湖区\n"])
def test_a_division_is_found_however_its_word_was_typed(registry: Registry, word: str) -> None:
    assert registry.find(word).code == "330106"


def test_no_label_is_kept_for_a_service(registry: Registry) -> None:
    assert not {division.label for division in registry.divisions.values()} & RESERVED_LABELS


def test_scopes_and_lineage(registry: Registry) -> None:
    assert registry.scope_of("330000") == "zhejiang"
    assert registry.scope_of("330100") == registry.scope_of("330127") == "hangzhou"
    assert [division.code for division in registry.lineage("330127")] == ["330000", "330100", "330127"]
    assert [division.code for division in registry.in_scope("zhejiang")] == ["330000"]
    assert len(registry.in_scope("hangzhou")) == 14
    with pytest.raises(KeyError):
        registry.in_scope("xihu")


def test_settings_are_inherited_and_overridden(registry: Registry) -> None:
    province, xihu, xiaoshan = (registry.settings_of(code) for code in ("330000", "330106", "330109"))
    assert (province.service_phone, xihu.service_phone) == ("12345", "0571-12345")
    assert xihu.acceptance_working_days == province.acceptance_working_days
    assert xiaoshan.database_connections > xihu.database_connections
    origins = {name: giver.code for name, (_, giver) in registry.settings_with_origin("330109").items()}
    assert origins == {
        "service_phone": "330100",
        "requests_per_second": "330109",
        "database_connections": "330109",
        "acceptance_working_days": "330000",
    }


def test_the_overridable_settings_are_those_that_later_stages_get() -> None:
    assert SettingOverrides.model_fields.keys() == TenantSettings.model_fields.keys()
    documented = (ROOT / "README.md").read_text()
    for name, field in TenantSettings.model_fields.items():
        assert field.description is not None
        assert field.description.startswith("reader: ")
        assert f"`{name}`" in documented


def test_each_module_that_is_named_as_a_reader_reads_its_setting() -> None:
    for name, field in TenantSettings.model_fields.items():
        reader = (field.description or "").removeprefix("reader: ").partition(",")[0]
        if reader.startswith("services/"):
            sources = [path.read_text() for path in (ROOT.parent / reader).rglob("*.py")]
            assert any(f"settings.{name}" in source for source in sources), name


def test_the_editors_schema_is_current() -> None:
    assert (ROOT / SCHEMA).read_text() == schema(), "run: yiwang tenants schema"


def test_every_file_names_the_schema_and_passes_it() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schema()))
    for file in ROOT.rglob("*.yaml"):
        first = file.read_text().splitlines()[0]
        match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
        assert match, file
        assert (file.parent / match[1]).resolve() == (ROOT / SCHEMA).resolve()
        validator.validate(YAML(typ="safe").load(file))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"code": "330106", "parent": "330100"})


XIHU = "hangzhou/xihu.yaml"
KNOWN_BAD: dict[str, tuple[Break, str, int, str, object, str]] = {
    "code outside its city": (
        add("hangzhou/haishu.yaml", division("330203", "海曙区", "haishu")),
        "hangzhou/haishu.yaml", 1, "code", "330203", "is not in 杭州市, whose codes begin with 3301",
    ),
    "code that the standard does not have": (
        edit(XIHU, '"330106"', '"330107"'), XIHU, 2, "code", "330107", "GB/T 2260 has no such division",
    ),
    "division abolished in 2021": (
        add("hangzhou/xiacheng.yaml", division("330103", "下城区", "xiacheng")),
        "hangzhou/xiacheng.yaml", 1, "code", "330103", "GB/T 2260 has no such division",
    ),
    "name of another division": (
        edit(XIHU, "西湖区", "上城区"), XIHU, 3, "name", "上城区", "GB/T 2260 names 330106 西湖区",
    ),
    "a county's code for a city": (
        edit("hangzhou/city.yaml", '"330100"', '"330106"'),
        "hangzhou/city.yaml", 2, "code", "330106", "is a county's code in the place of a city",
    ),
    "malformed code": (
        edit(XIHU, '"330106"', '"33010"'), XIHU, 2, "code", "33010", "string should match pattern '^[1-9][0-9]{5}$'",
    ),
    "code without quotes": (
        edit(XIHU, '"330106"', "330106"), XIHU, 2, "code", 330106, "must be text: put it in quotes",
    ),
    "longer promise": (
        edit(XIHU, "residents:", "settings:\n  acceptance_working_days: 6\nresidents:"),
        XIHU, 7, "settings.acceptance_working_days", 6, "may only shorten the 5 working days of 浙江省",
    ),
    "unknown field": (edit(XIHU, "label:", "parent: x\nlabel:"), XIHU, 4, "parent", "x", "no such field"),
    "unknown setting": (
        edit(XIHU, "residents:", "settings:\n  colour: red\nresidents:"),
        XIHU, 7, "settings.colour", "red", "no such field",
    ),
    "missing field": (edit(XIHU, "label: xihu\n", ""), XIHU, 1, "label", None, "must be given"),
    "wrong type": (
        edit(XIHU, "count: 1112992", "count: many"),
        XIHU, 7, "residents.count", "many", "input should be a valid integer",
    ),
    "no residents": (
        edit(XIHU, "count: 1112992", "count: 0"),
        XIHU, 7, "residents.count", 0, "input should be greater than or equal to 1",
    ),
    "unknown status": (
        edit(XIHU, "status: live", "status: alive"),
        XIHU, 5, "status", "alive", "input should be 'planned', 'live' or 'suspended'",
    ),
    "label reserved for a service": (
        both(edit(XIHU, "label: xihu", "label: query"), move(XIHU, "hangzhou/query.yaml")),
        "hangzhou/query.yaml", 4, "label", "query", "is kept for a service of the network",
    ),
    "label that is no DNS label": (
        edit(XIHU, "label: xihu", "label: Xi_hu"), XIHU, 4, "label", "Xi_hu",
        "string should match pattern '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'",
    ),
    "label that is not the file's name": (
        edit(XIHU, "label: xihu", "label: westlake"), XIHU, 4, "label", "westlake",
        "differs from the file's place, xihu",
    ),
    "province that leaves a setting open": (
        edit("province.yaml", "  database_connections: 2\n", ""),
        "province.yaml", 9, "settings.database_connections", None,
        "must be given: there is no division above to inherit it from",
    ),
    "not YAML": (edit(XIHU, "name: ", "name: ["), XIHU, 4, "", None, "is not YAML: "),
    "field given twice": (
        edit(XIHU, "label: xihu", "label: xihu\nlabel: xihu"), XIHU, 5, "", None, "is not YAML: found duplicate key",
    ),
    "not a mapping": (add("hangzhou/jiande.yaml", "- 1\n"), "hangzhou/jiande.yaml", 1, "", None, "is not a mapping"),
    "empty": (add("hangzhou/jiande.yaml", ""), "hangzhou/jiande.yaml", 1, "", None, "is not a mapping"),
    "file where none can be": (
        add("jiande.yaml", division("330182", "建德市", "jiande")),
        "jiande.yaml", 1, "", None, "lies where no division can",
    ),
    "a file one folder too deep": (
        add("hangzhou/west/jiande.yaml", division("330182", "建德市", "jiande")),
        "hangzhou/west/jiande.yaml", 1, "", None, "lies where no division can",
    ),
    "another ending": (
        add("hangzhou/xihu2.yml", division("330106", "西湖区", "xihu2")),
        "hangzhou/xihu2.yml", 1, "", None, "is not read",
    ),
    "the same in capitals": (
        add("hangzhou/XIHU.YAML", division("330106", "西湖区", "xihu")),
        "hangzhou/XIHU.YAML", 1, "", None, "is not read",
    ),
    "an ending that a mail program gave": (
        add("hangzhou/jiande.yaml.txt", division("330182", "建德市", "jiande")),
        "hangzhou/jiande.yaml.txt", 1, "", None, "is not read",
    ),
    "a full stop of another width": (
        add("hangzhou/jiande．yaml", division("330182", "建德市", "jiande")),
        "hangzhou/jiande．yaml", 1, "", None, "is not read",
    ),
    "a name in capitals": (
        move(XIHU, "hangzhou/Xihu.yaml"), "hangzhou/Xihu.yaml", 4, "label", "xihu",
        "differs from the file's place, Xihu",
    ),
    "a link that leads nowhere": (
        lambda root: (root / "zhejiang/hangzhou/jiande.yaml").symlink_to("gone.yaml"),
        "hangzhou/jiande.yaml", 1, "", None, "cannot be read",
    ),
    "live in a city that is planned": (
        both(*(edit(f"hangzhou/{name}.yaml", "status: live", "status: planned") for name in ("city", "linan"))),
        XIHU, 5, "status", "live", "杭州市 (330100), to which it belongs, is only planned",
    ),
}  # fmt: skip


def problems_of(root: Path) -> list[Problem]:
    with pytest.raises(RegistryError) as caught:
        load_registry(root)
    for problem in caught.value.problems:
        assert str(problem) in str(caught.value)
    return caught.value.problems


@pytest.mark.parametrize(
    "name", ["xihu.yaml~", ".xihu.yaml.swp", ".#xihu.yaml", "#xihu.yaml#", "xihu.yaml.orig", ".idea/a.yaml", "notes"]
)
def test_what_editors_leave_is_told_of_and_hinders_nobody(small: Path, name: str) -> None:
    left = small / "zhejiang/hangzhou" / name
    left.parent.mkdir(exist_ok=True)
    left.symlink_to("nobody@nowhere.1234") if name.startswith(".#") else left.write_text("x")
    registry = load_registry(small)
    assert list(registry.divisions) == HANGZHOU
    assert registry.unread == (left,)
    checked = CliRunner().invoke(app, ["check", "--root", str(small)])
    assert checked.exit_code == 0
    assert f"not read: {left}" in checked.stderr


@pytest.mark.parametrize("name", ["registry.yml", "Registry.yaml", "registry.YAML", "registry.json"])
@pytest.mark.parametrize("beside", [True, False])
def test_an_overlay_by_another_name_is_refused(small: Path, tmp_path: Path, name: str, beside: bool) -> None:
    overlay = tmp_path / "environment" / "registry.yaml"
    overlay.parent.mkdir()
    if beside:
        overlay.write_text("statuses: {}")
    (overlay.parent / name).write_text('statuses: {"330106": planned}')
    with pytest.raises(RegistryError, match=r"is not read: the overlay's name is registry\.yaml"):
        load_registry(small, overlay)


def test_a_folder_that_is_none_and_a_standard_that_is_none(small: Path) -> None:
    assert [p.rule for p in problems_of(small / "missing")] == ["is no folder"]
    (small / STANDARD).write_text("code;name\n")
    assert [p.rule for p in problems_of(small)] == ["is no UTF-8 table with the columns code and name"]
    (small / STANDARD).unlink()
    assert [p.rule for p in problems_of(small)] == ["cannot be read: No such file or directory"]


def test_the_small_registry_is_good(small: Path) -> None:
    assert list(load_registry(small).divisions) == HANGZHOU


@pytest.mark.parametrize("name", KNOWN_BAD)
def test_known_bad_is_refused_with_its_place(small: Path, name: str) -> None:
    change, file, line, field, value, rule = KNOWN_BAD[name]
    change(small)
    problems = [p for p in problems_of(small) if p.rule.startswith(rule)]
    assert [(p.file, p.line, p.field, p.value) for p in problems] == [(small / "zhejiang" / file, line, field, value)]


def test_a_parent_that_is_not_there(small: Path) -> None:
    (small / "zhejiang/hangzhou/city.yaml").unlink()
    problems = problems_of(small)
    assert {p.file.name for p in problems} == {"xihu.yaml", "linan.yaml"}
    assert all(p.rule.endswith("hangzhou/city.yaml") and "parent is not there" in p.rule for p in problems)


def test_a_province_that_is_not_there(small: Path) -> None:
    (small / "zhejiang/province.yaml").unlink()
    assert [p.file.name for p in problems_of(small)] == ["city.yaml"]


def test_twins(small: Path) -> None:
    add("hangzhou/xihu2.yaml", division("330106", "西湖区", "xihu"))(small)
    fields = {p.field for p in problems_of(small) if f"is also that of {small / 'zhejiang' / XIHU}" in p.rule}
    assert fields == {"code", "label"}


def test_all_problems_are_told_at_once(small: Path) -> None:
    for name in ("unknown field", "unknown status", "province that leaves a setting open"):
        KNOWN_BAD[name][0](small)
    assert [(p.file.name, p.field) for p in problems_of(small)] == [
        ("xihu.yaml", "parent"),
        ("xihu.yaml", "status"),
        ("province.yaml", "settings.database_connections"),
    ]


def test_an_empty_registry_is_refused(tmp_path: Path) -> None:
    shutil.copy(ROOT / STANDARD, tmp_path)
    assert [p.rule for p in problems_of(tmp_path)] == ["holds no <province>/province.yaml"]


@given(text=st.text(max_size=60), place=st.sampled_from(["code", "name", "label", "status"]))
def test_no_value_crashes_the_check(text: str, place: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever stands in a field, the answer is a division or a problem with that field."""
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    fields = {"code": "330106", "name": "西湖区", "label": "xihu", "status": "live"} | {place: text}
    YAML().dump(fields | {"residents": {"count": 1, "year": 2020}}, file)
    document = _Document.read(file)
    if not document.problems:
        read = document.validate(DivisionFile)
        assert read is None or getattr(read, place) == text
        assert {problem.field for problem in document.problems} <= {place}


def test_overlay_changes_statuses(tmp_path: Path) -> None:
    overlay = tmp_path / "registry.yaml"
    overlay.write_text('statuses: {"330127": planned, "330200": live, "330203": live}\n')
    registry = load_registry(overlay=overlay)
    assert registry.divisions["330127"].status == "planned"
    assert registry.divisions["330106"].status == "live"
    assert registry.scopes() == ["zhejiang", "hangzhou", "ningbo"]


def test_overlay_names_the_only_live_ones(tmp_path: Path) -> None:
    overlay = tmp_path / "registry.yaml"
    overlay.write_text('only: ["330000", "330100", "330203"]\nstatuses: {"330106": suspended, "330200": live}\n')
    registry = load_registry(overlay=overlay)
    statuses = {code: d.status for code, d in registry.divisions.items() if d.status != "planned"}
    assert statuses == {
        "330000": "live",
        "330100": "live",
        "330106": "suspended",
        "330200": "live",
        "330203": "live",
    }
    assert registry.divisions["330106"].provisioned


def test_no_overlay_is_production(tmp_path: Path, registry: Registry) -> None:
    assert load_registry(overlay=tmp_path / "registry.yaml").divisions == registry.divisions


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ('statuses:\n  "330107": live\n', 2, "statuses.330107"),
        ('statuses:\n  "330106": gone\n', 2, "statuses.330106"),
        ('statuses:\n  "3301": live\n', 2, "statuses.3301"),
        ("statuses:\n  330106: live\n", 2, "statuses.330106"),
        ('only:\n  - "330106"\n  - "330107"\n', 3, "only.1"),
        ("tenants: []\n", 1, "tenants"),
        ('statuses:\n  "330203": live\n', 2, "statuses.330203"),
        ('statuses:\n  "330100": planned\nonly: ["330000", "330106"]\n', 2, "statuses.330100"),
        ('only:\n  - "330000"\n  - "330203"\n', 3, "only.1"),
        ('only: ["330100"]\n', 1, "only.0"),
    ],
)
def test_a_wrong_overlay_is_refused(tmp_path: Path, text: str, line: int, field: str) -> None:
    overlay = tmp_path / "registry.yaml"
    overlay.write_text(text)
    with pytest.raises(RegistryError) as caught:
        load_registry(overlay=overlay)
    assert [(p.file, p.line, p.field) for p in caught.value.problems] == [(overlay, line, field)]


def test_set_status_keeps_the_rest_of_the_overlay(tmp_path: Path) -> None:
    overlay = tmp_path / "new" / "registry.yaml"
    set_status(overlay, "330127", "planned")
    assert load_registry(overlay=overlay).divisions["330127"].status == "planned"
    overlay.write_text('# kept for the pilot\nstatuses:\n  "330127": planned\n  "330106": suspended\n')
    set_status(overlay, "330127", "live")
    registry = load_registry(overlay=overlay)
    assert (registry.divisions["330127"].status, registry.divisions["330106"].status) == ("live", "suspended")
    assert overlay.read_text().startswith("# kept for the pilot\n")
    assert [file.name for file in overlay.parent.iterdir()] == ["registry.yaml"]


def test_set_status_leaves_no_entry_that_would_mask_what_the_file_says_later(small: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay" / "registry.yaml"
    for status in ("planned", "live"):
        set_status(overlay, "330106", status, small)
    edit(XIHU, "status: live", "status: suspended")(small)
    assert load_registry(small, overlay).divisions["330106"].status == "suspended"


@pytest.mark.parametrize(
    ("before", "code", "status"),
    [
        ("", "3301", "live"), ("", "330107", "live"), ("", "330127", "gone"), ("x: 1\n", "330127", "live"),
        ("", "330203", "live"), ("", "330100", "planned"), ("statuses: 1\n", "330127", "live"),
    ],
)  # fmt: skip
def test_set_status_writes_nothing_wrong(tmp_path: Path, before: str, code: str, status: str) -> None:
    overlay = tmp_path / "registry.yaml"
    overlay.write_text(before or "statuses: {}\n")
    text = overlay.read_text()
    with pytest.raises(RegistryError):
        set_status(overlay, code, status)  # type: ignore[arg-type]
    assert overlay.read_text() == text


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(statuses=st.dictionaries(st.sampled_from(HANGZHOU[2:]), st.sampled_from(["planned", "live", "suspended"])))
def test_set_status_is_what_load_reads(
    small: Path, statuses: dict[str, Status], tmp_path_factory: pytest.TempPathFactory
) -> None:
    overlay = tmp_path_factory.mktemp("overlay") / "registry.yaml"
    for code, status in statuses.items():
        set_status(overlay, code, status, small)
    read = load_registry(small, overlay).divisions
    assert {code: read[code].status for code in statuses} == statuses


def test_the_command_lists_shows_and_checks(small: Path) -> None:
    run = CliRunner().invoke
    listed = json.loads(run(app, ["list", "--city", "杭州市", "--level", "county", "--json"]).stdout)
    assert len(listed) == 13
    live = run(app, ["list", "--status", "live"], env={"COLUMNS": "200"}).stdout
    assert "西湖区" in live and "by the registry, which is production's" in live, "it says whose statuses these are"
    shown = json.loads(run(app, ["show", "xihu", "--json"]).stdout)
    assert shown["settings"]["service_phone"] == {"value": "0571-12345", "origin": "330100"}
    assert "杭州市" in run(app, ["show", "330106"]).stdout
    assert run(app, ["show", "nowhere"]).exit_code == 1
    assert run(app, ["check", "--root", str(small)]).exit_code == 0
    KNOWN_BAD["unknown field"][0](small)
    refused = run(app, ["check", "--root", str(small)])
    assert refused.exit_code == 1
    assert f"{small / 'zhejiang' / XIHU}:4: parent: 'x': no such field" in refused.stderr


def test_what_the_tour_writes_at_the_end_of_a_file_changes_that_setting(registry: Registry, tmp_path: Path) -> None:
    """The tracked file is as the tour finds it: its block goes in once, and says something new."""
    readme = (ROOT.parent / "README.md").read_text()
    match = re.search(r"at the end of `tenants/(\S+\.yaml)`:\n\n((?: {7}.*\n)+)", readme)
    assert match is not None
    shutil.copytree(ROOT, tmp_path / "tenants")
    with (tmp_path / "tenants" / match[1]).open("a") as file:
        file.write(textwrap.dedent(match[2]))
    changed = load_registry(tmp_path / "tenants")
    was, becomes = re.findall(r"`requests_per_second: (\d+) => (\d+)`", readme)[0]
    settings = [str(edition.settings_of("330106").requests_per_second) for edition in (registry, changed)]
    assert settings == [was, becomes]
