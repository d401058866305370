"""The registry: who is on the network. The only reader of `tenants/`.

The path is the hierarchy: `<province>/province.yaml`, `<province>/<city>/city.yaml`, `<province>/<city>/<county>.yaml`.
Settings are inherited from province to city to county. An environment's overlay changes statuses, nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from infra.errors import ExpectedError
from infra.outputs import TenantSettings
from infra.services import SERVICES
from infra.unread import is_left_over, is_meant, mistaken_for

# A copy can be tried out before it is merged: YIWANG_REGISTRY=… pulumi preview -s prod.hangzhou
ROOT = Path(os.environ.get("YIWANG_REGISTRY") or Path(__file__).parent.parent / "tenants")
STANDARD = "gbt2260.csv"
SCHEMA = "schema.json"
OF_THE_FOLDER = frozenset([STANDARD, SCHEMA, "README.md"])
"""What lies in the registry's own folder beside the provinces."""

Level = Literal["province", "city", "county"]
Status = Literal["planned", "live", "suspended"]
Code = Annotated[str, Field(pattern=r"^[1-9][0-9]{5}$", description="GB/T 2260 code, quoted: six digits")]

# First labels of names that the network keeps for itself under the same suffix as the tenants' sites.
RESERVED_LABELS = frozenset(
    [
        "admin",
        "alerts",
        "api",
        "assets",
        "bastion",
        "cdn",
        "exchange",
        "gateway",
        "grafana",
        "localhost",
        "login",
        "mail",
        "mobile",
        "monitoring",
        "ns",
        "ns1",
        "ns2",
        "open",
        "opendata",
        "prometheus",
        "smtp",
        "static",
        "status",
        "test",
        "www",
        *(service.label for service in SERVICES if service.label),
    ]
)

Model = TypeVar("Model", bound=BaseModel)


class RegistryModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Residents(RegistryModel):
    count: int = Field(ge=1, description="persons who live here")
    year: int = Field(ge=1949, le=2100, description="year of the census or estimate")


class Overrides(RegistryModel):
    """What a division says otherwise than the one above it. The province says everything."""

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


def _optional(setting: FieldInfo) -> tuple[Any, FieldInfo]:
    """The same bounds, and None for what is not said."""
    bounded = Annotated[setting.annotation, *setting.metadata]  # type: ignore[name-defined]
    return bounded | None, FieldInfo(default=None, description=setting.description)


SettingOverrides = create_model(
    "SettingOverrides",
    __base__=Overrides,
    __doc__=Overrides.__doc__,
    **{name: _optional(setting) for name, setting in TenantSettings.model_fields.items()},  # type: ignore[call-overload]
)


class DivisionFile(RegistryModel):
    """One administrative division, as its file writes it."""

    model_config = ConfigDict(title="A division on the network")

    code: Code
    name: str = Field(pattern=r"^[\u4e00-\u9fff]{2,20}$", description="official name")
    label: str = Field(
        pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="first label of its site's name: pinyin without tones, unique in the province, the file's name",
    )
    status: Status = Field(description="production's status; a local environment's lies in its overlay")
    residents: Residents
    settings: SettingOverrides = Field(default=SettingOverrides(), description="overrides of the division above")


class Overlay(RegistryModel):
    """What one environment says otherwise: with `only`, exactly those are live; `statuses` has the last word."""

    only: list[Code] | None = Field(None, description="codes that are live; all others are planned")
    statuses: dict[Code, Status] = Field(default_factory=dict, description="code → status here")


@dataclass(frozen=True)
class Problem:
    file: Path
    line: int
    field: str
    value: object
    rule: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}"
        return f"{place}: {self.field}: {self.value!r}: {self.rule}" if self.field else f"{place}: {self.rule}"


class RegistryError(ExpectedError):
    """The registry does not hold together; `problems` has every reason, not the first alone."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (str(problem.file), problem.line, problem.field))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Division:
    code: str
    name: str
    label: str
    level: Level
    parent: str | None
    status: Status
    residents: int
    residents_year: int
    settings: Mapping[str, Any]
    """Its own overrides alone; `Registry.settings_of` resolves them."""
    file: Path

    @property
    def provisioned(self) -> bool:
        """Whether the tenant's database and bucket exist: a suspended tenant keeps its data."""
        return self.status != "planned"


class Registry:
    """`unread`: what else lies in the folder, and is no division; for whoever asks what was read."""

    def __init__(self, divisions: dict[str, Division], unread: tuple[Path, ...] = ()) -> None:
        self.divisions = divisions
        self.unread = unread

    @cached_property
    def _by_name(self) -> dict[str, Division]:
        return {key: division for division in self.divisions.values() for key in (division.name, division.label)}

    def find(self, word: str) -> Division:
        """The division of that code, label or name.

        Raises:
            KeyError: there is none.
        """
        plain = _plain_word(word)
        return self.divisions.get(plain) or self._by_name[plain]

    def lineage(self, code: str) -> list[Division]:
        """The province first, the division itself last."""
        division: Division | None = self.divisions[code]
        line: list[Division] = []
        while division:
            line.insert(0, division)
            division = self.divisions[division.parent] if division.parent else None
        return line

    def settings_with_origin(self, code: str) -> dict[str, tuple[Any, Division]]:
        """Each setting's value and the division that says so."""
        return {name: (value, giver) for giver in self.lineage(code) for name, value in giver.settings.items()}

    def settings_of(self, code: str) -> TenantSettings:
        return TenantSettings(**{name: value for name, (value, _) in self.settings_with_origin(code).items()})

    def scope_of(self, code: str) -> str:
        """The tenants stack that a division belongs to: its city's label, the province's for the province itself."""
        line = self.lineage(code)
        return line[min(1, len(line) - 1)].label

    def in_scope(self, scope: str) -> list[Division]:
        """All divisions of a scope, planned ones too.

        Raises:
            KeyError: no division has that label, or it is a county's.
        """
        members = [division for division in self.divisions.values() if self.scope_of(division.code) == scope]
        if not members:
            raise KeyError(scope)
        return members

    def scopes(self) -> list[str]:
        """Scopes with a provisioned tenant, the province's first."""
        provisioned = (division for division in self.divisions.values() if division.provisioned)
        return list(dict.fromkeys(self.scope_of(division.code) for division in provisioned))


def _plain_word(word: str) -> str:
    """A word as it was meant by who typed or pasted it: without width, and without what nobody sees around it."""
    plain = unicodedata.normalize("NFKC", word)
    return "".join(sign for sign in plain if unicodedata.category(sign) not in ("Cc", "Cf")).strip()


def load_registry(root: Path = ROOT, overlay: Path | None = None) -> Registry:
    """Every division below `root`, ordered by code, with the statuses that the environment's overlay gives, if any.

    Raises:
        RegistryError: with all problems of all files and of the overlay.
    """
    loader = _Loader(root)
    divisions = loader.load()
    if overlay is not None:
        divisions = loader.apply(overlay, divisions)
    return loader.registry(divisions)


def with_status(overlay: Path, code: str, status: Status, root: Path = ROOT) -> tuple[Registry, str]:
    """The registry as it would be with a tenant's status in an environment, and the overlay that says so; nothing is
    written.

    An entry is made only where it is needed: one that says what holds without it would mask a later change.

    Raises:
        RegistryError: the registry, the overlay that is there, the code or the status is wrong.
    """
    loader = _Loader(root)
    divisions = loader.load()
    document = _Document.read(overlay) if overlay.exists() else _Document(overlay, CommentedMap(), [])
    if not document.problems:
        statuses = document.content.setdefault("statuses", CommentedMap())
        if isinstance(statuses, CommentedMap):
            statuses.pop(code, None)
            wanted = document.validate(Overlay)
            if wanted and code in divisions and _status(divisions[code], wanted) != status:
                statuses[code] = status
    divisions = loader.overlaid(document, divisions)
    if code not in divisions and not loader.problems:
        loader.problems.append(Problem(overlay, 1, f"statuses.{code}", status, f"no division has the code {code}"))
    written = io.StringIO()
    if not loader.problems:
        _yaml().dump(document.content, written)
    return loader.registry(divisions), written.getvalue()


def set_status(overlay: Path, code: str, status: Status, root: Path = ROOT) -> None:
    """Sets a tenant's status in an environment by its overlay.

    Raises:
        RegistryError: as `with_status`; nothing is written.
    """
    write_overlay(overlay, with_status(overlay, code, status, root)[1])


def write_overlay(overlay: Path, text: str) -> None:
    """Replaces an environment's overlay; the file is whole at any moment."""
    overlay.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=overlay.parent, prefix=f".{overlay.name}.", delete=False) as draft:
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(overlay)


def schema() -> str:
    """JSON Schema of a division's file, for editors."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **DivisionFile.model_json_schema()}
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    return yaml


class _Document:
    """A YAML file that remembers the line of everything in it."""

    def __init__(self, file: Path, content: Any, problems: list[Problem]) -> None:
        self.file = file
        self.content = content
        self.problems = problems

    @classmethod
    def read(cls, file: Path) -> _Document:
        try:
            content = _yaml().load(file.read_text("utf-8"))
        except OSError as error:
            return cls(file, None, [Problem(file, 1, "", None, f"cannot be read: {error.strerror}")])
        except UnicodeDecodeError:
            return cls(file, None, [Problem(file, 1, "", None, "is not UTF-8 text")])
        except YAMLError as error:
            mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
            reason = (error.problem if isinstance(error, MarkedYAMLError) else None) or str(error).splitlines()[0]
            return cls(file, None, [Problem(file, mark.line + 1 if mark else 1, "", None, f"is not YAML: {reason}")])
        if not isinstance(content, CommentedMap):
            return cls(file, None, [Problem(file, 1, "", None, "is not a mapping of fields to values")])
        return cls(file, content, [])

    def refuse(self, location: tuple[int | str, ...], rule: str) -> None:
        node, line = self.content, 1
        for step in location:
            in_mapping = isinstance(node, CommentedMap) and step in node
            if not in_mapping and not isinstance(node, CommentedSeq):
                node = None
                break
            line = _line(node, step, line)
            node = node[step]
        value = None if isinstance(node, CommentedMap | CommentedSeq) else node
        self.problems.append(Problem(self.file, line, ".".join(map(str, location)), value, rule))

    def validate(self, model: type[Model]) -> Model | None:
        try:
            return model.model_validate(_plain(self.content))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                # The key of a mapping that is wrong is reported as ("statuses", "12", "[key]").
                location = tuple(step for step in detail["loc"] if step != "[key]")
                self.refuse(location, _rule(detail["type"], detail["msg"]))
            return None


def _line(node: CommentedMap | CommentedSeq, step: int | str, otherwise: int) -> int:
    try:
        return int(node.lc.key(step)[0] if isinstance(node, CommentedMap) else node.lc.item(step)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return otherwise


def _plain(node: Any) -> Any:
    """Without the YAML library's own types, which strict validation refuses."""
    if isinstance(node, CommentedMap):
        return {_plain(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    for kind in (str, bool, int, float):
        if isinstance(node, kind):
            return kind(node)
    return node


def _rule(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "no such field"
    if kind == "missing":
        return "must be given"
    if kind == "string_type":
        return "must be text: put it in quotes"
    return message[0].lower() + message[1:]


@dataclass(frozen=True)
class _Entry:
    """A file that is right in itself, and where it lies."""

    document: _Document
    content: DivisionFile
    level: Level
    parent_file: Path | None


class _Loader:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[Problem] = []
        self.unread: list[Path] = []

    def registry(self, divisions: dict[str, Division]) -> Registry:
        """
        Raises:
            RegistryError: there are problems.
        """
        if self.problems:
            raise RegistryError(self.problems)
        return Registry(divisions, tuple(self.unread))

    def load(self) -> dict[str, Division]:
        if not self.root.is_dir():
            self.problems.append(Problem(self.root, 1, "", None, "is no folder"))
            return {}
        standard = self._standard()
        if not standard:
            return {}
        entries = {entry.document.file: entry for entry in self._entries()}
        if not self.problems and not entries:
            self.problems.append(Problem(self.root, 1, "", None, "holds no <province>/province.yaml"))
        for entry in entries.values():
            self._check_alone(entry, standard)
            self._check_parent(entry, entries)
            self._check_promise(entry, entries)
        self._check_twins(list(entries.values()))
        for entry in entries.values():
            parent = entries.get(entry.parent_file) if entry.parent_file else None
            if parent and entry.content.status != "planned" and parent.content.status == "planned":
                entry.document.refuse(("status",), _without(parent.content.code, parent.content.name))
            self.problems.extend(entry.document.problems)
        divisions = [self._division(entry, entries) for entry in entries.values()]
        return {division.code: division for division in sorted(divisions, key=lambda division: division.code)}

    def apply(self, overlay: Path, divisions: dict[str, Division]) -> dict[str, Division]:
        for other in mistaken_for(overlay):
            self.problems.append(Problem(other, 1, "", None, f"is not read: the overlay's name is {overlay.name}"))
        return self.overlaid(_Document.read(overlay), divisions) if overlay.exists() else divisions

    def overlaid(self, document: _Document, divisions: dict[str, Division]) -> dict[str, Division]:
        wanted = None if document.problems else document.validate(Overlay)
        if wanted:
            for index, code in enumerate(wanted.only or []):
                if code not in divisions:
                    document.refuse(("only", index), "no division has this code")
            for code in wanted.statuses:
                if code not in divisions:
                    document.refuse(("statuses", code), f"no division has the code {code}")
        if wanted is None or document.problems:
            self.problems.extend(document.problems)
            return divisions
        changed = {code: replace(division, status=_status(division, wanted)) for code, division in divisions.items()}
        for division in changed.values():
            parent = changed.get(division.parent or "")
            if parent and division.provisioned and not parent.provisioned:
                document.refuse(_sayer(division, parent, wanted), _without(parent.code, parent.name, division))
        self.problems.extend(document.problems)
        return changed

    def _standard(self) -> dict[str, str]:
        """Code → official name of every division that GB/T 2260 has today, as far as the registry reaches."""
        file = self.root / STANDARD
        rule = "is no UTF-8 table with the columns code and name"
        with suppress(KeyError, UnicodeDecodeError, csv.Error):
            try:
                with file.open(encoding="utf-8", newline="") as rows:
                    if standard := {row["code"]: row["name"] for row in csv.DictReader(rows)}:
                        return standard
            except OSError as error:
                rule = f"cannot be read: {error.strerror}"
        self.problems.append(Problem(file, 1, "", None, rule))
        return {}

    def _files(self) -> Iterator[Path]:
        """Files to read; what else there is goes to `unread`, or to `problems` if it was meant to be read."""
        for file in sorted(self.root.rglob("*")):
            inner = file.relative_to(self.root)
            if len(inner.parts) == 1 and file.name in OF_THE_FOLDER:
                continue
            if file.is_dir():
                continue
            if any(is_left_over(Path(part)) for part in inner.parts) or not is_meant(file):
                self.unread.append(file)
            elif file.suffix == ".yaml":
                yield file
            else:
                rule = "is not read: a division's file ends in .yaml, in small letters; rename it or take it away"
                self.problems.append(Problem(file, 1, "", None, rule))

    def _entries(self) -> Iterator[_Entry]:
        for file in self._files():
            document = _Document.read(file)
            content = None if document.problems else document.validate(DivisionFile)
            place = self._place(file)
            if place is None:
                rule = "lies where no division can: <province>/province.yaml, <city>/city.yaml, <city>/<county>.yaml"
                document.problems.append(Problem(file, 1, "", None, rule))
            if content is None or place is None:
                self.problems.extend(document.problems)
            else:
                yield _Entry(document, content, *place)

    def _place(self, file: Path) -> tuple[Level, Path | None] | None:
        folders = file.relative_to(self.root).parts[:-1]
        if len(folders) == 1 and file.name == "province.yaml":
            return "province", None
        if len(folders) != 2:
            return None
        if file.name == "city.yaml":
            return "city", file.parent.parent / "province.yaml"
        return "county", file.parent / "city.yaml"

    def _check_alone(self, entry: _Entry, standard: dict[str, str]) -> None:
        document, content = entry.document, entry.content
        official = standard.get(content.code)
        if official is None:
            document.refuse(("code",), "GB/T 2260 has no such division")
        elif official != content.name:
            document.refuse(("name",), f"GB/T 2260 names {content.code} {official}")
        if _level_of(content.code) != entry.level:
            document.refuse(("code",), f"is a {_level_of(content.code)}'s code in the place of a {entry.level}")
        if content.label in RESERVED_LABELS:
            document.refuse(("label",), "is kept for a service of the network")
        own_name = document.file.stem if entry.level == "county" else document.file.parent.name
        if content.label != own_name:
            document.refuse(("label",), f"differs from the file's place, {own_name}")
        if entry.level == "province":
            for name in TenantSettings.model_fields.keys() - content.settings.given().keys():
                document.refuse(("settings", name), "must be given: there is no division above to inherit it from")

    def _check_parent(self, entry: _Entry, entries: dict[Path, _Entry]) -> None:
        if entry.parent_file is None:
            return
        parent = entries.get(entry.parent_file)
        if parent is None:
            # A parent that is there but wrong has been told of already.
            if not entry.parent_file.exists():
                entry.document.refuse((), f"its parent is not there: {entry.parent_file}")
            return
        prefix = parent.content.code[: 2 if parent.level == "province" else 4]
        if not entry.content.code.startswith(prefix):
            entry.document.refuse(("code",), f"is not in {parent.content.name}, whose codes begin with {prefix}")

    def _check_promise(self, entry: _Entry, entries: dict[Path, _Entry]) -> None:
        """What is promised to people above may be shortened below, never lengthened."""
        own = entry.content.settings.given().get("acceptance_working_days")
        above = entries.get(entry.parent_file) if entry.parent_file else None
        while own is not None and above is not None:
            promised = above.content.settings.given().get("acceptance_working_days")
            if promised is not None and own > promised:
                rule = f"may only shorten the {promised} working days of {above.content.name}"
                entry.document.refuse(("settings", "acceptance_working_days"), rule)
            above = entries.get(above.parent_file) if above.parent_file else None

    def _check_twins(self, entries: list[_Entry]) -> None:
        for field in ("code", "label"):
            first: dict[tuple[str, str], _Entry] = {}
            for entry in entries:
                # A label is unique in its province alone: each province has a suffix of its own.
                province = "" if field == "code" else entry.document.file.relative_to(self.root).parts[0]
                other = first.setdefault((province, getattr(entry.content, field)), entry)
                if other is not entry:
                    entry.document.refuse((field,), f"is also that of {other.document.file}")

    def _division(self, entry: _Entry, entries: dict[Path, _Entry]) -> Division:
        content = entry.content
        parent = entries.get(entry.parent_file) if entry.parent_file else None
        return Division(
            code=content.code,
            name=content.name,
            label=content.label,
            level=entry.level,
            parent=parent.content.code if parent else None,
            status=content.status,
            residents=content.residents.count,
            residents_year=content.residents.year,
            settings=content.settings.given(),
            file=entry.document.file,
        )


def _level_of(code: str) -> Level:
    if code.endswith("0000"):
        return "province"
    return "city" if code.endswith("00") else "county"


def _status(division: Division, overlay: Overlay) -> Status:
    status = division.status
    if overlay.only is not None:
        status = "live" if division.code in overlay.only else "planned"
    return overlay.statuses.get(division.code, status)


def _without(code: str, name: str, division: Division | None = None) -> str:
    """The rule that a division is on the network only below one that is."""
    which = f"{division.name} is {division.status}: " if division else ""
    return f"{which}{name} ({code}), to which it belongs, is only planned"


def _sayer(division: Division, parent: Division, overlay: Overlay) -> tuple[int | str, ...]:
    """Where the overlay says what makes the two disagree."""
    for code in (division.code, parent.code):
        if code in overlay.statuses:
            return ("statuses", code)
    return ("only", (overlay.only or []).index(division.code)) if overlay.only is not None else ()
