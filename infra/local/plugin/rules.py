"""What a class's rules are made of. Each rule cites its source, and passes what is not known yet.

Sources: `[D]` the SDK's docstring, `[P]` the provider's documentation page, `[S]` the provider's own source,
`[A]` Alibaba Cloud's documentation; `docs/local-cloud.md` lists them all with the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from infra.local.cloud.specs.forms import Form, Span
from infra.local.cloud.specs.networks import range_fault
from infra.local.plugin.check import Failure as Failure
from infra.local.plugin.values import Unknown, Values, has_unknown, plain

# A verdict is the reason of a refusal, or nothing.
Verdict = str | None
Value = Callable[[Any], Verdict]
Whole = Callable[[Values], Iterable[Failure]]


@dataclass(frozen=True)
class Rule:
    """A rule on the inputs: `property` is a path (`servers[].port` for each member), or empty for all of them."""

    property: str
    says: str
    source: str
    check: Whole = field(repr=False)


@dataclass(frozen=True)
class ClassRules:
    """What the real provider and cloud hold a class to, beyond the SDK's types."""

    token: str
    rules: tuple[Rule, ...] = ()
    replace: frozenset[str] = frozenset()
    """Inputs whose change makes another thing, beyond those that the cloud holds fixed by its specifications."""
    replace_source: str = ""
    secrets: frozenset[str] = frozenset()
    refers: Mapping[str, str] = field(default_factory=dict)
    """input → class whose id it must hold, beyond those that the cloud holds: the thing referred to must exist, and
    cannot go before."""
    refused: str | None = None

    def failures(self, inputs: Values) -> Iterator[Failure]:
        if self.refused:
            yield Failure("", self.refused)
        bare: Values = plain(inputs)
        for rule in self.rules:
            yield from rule.check(bare)


def on(property: str, says: str, source: str, verdict: Value) -> Rule:
    """A rule on one value."""

    def check(inputs: Values) -> Iterator[Failure]:
        for path, value in _found(inputs, property.split("."), ""):
            if value is not None and not isinstance(value, Unknown) and (reason := verdict(value)):
                yield Failure(path, f"{reason} ({source})")

    return Rule(property, says, source, check)


def whole(says: str, source: str, check: Callable[[Values], Failure | None]) -> Rule:
    """A rule on several inputs at once; members may be unknown."""

    def run(inputs: Values) -> Iterator[Failure]:
        if failure := check(inputs):
            yield Failure(failure.path, f"{failure.reason} ({source})")

    return Rule("", says, source, run)


def _found(value: Any, steps: list[str], path: str) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield path, value
        return
    name, rest = steps[0].removesuffix("[]"), steps[1:]
    member = value.get(name) if isinstance(value, Mapping) else None
    here = f"{path}.{name}" if path else name
    if not steps[0].endswith("[]"):
        yield from _found(member, rest, here)
        return
    for index, item in enumerate(member if isinstance(member, list) else ()):
        yield from _found(item, rest, f"{here}[{index}]")


def form(property: str, source: str, allowed: Form) -> Rule:
    """Length and form of a text, by a rule that the cloud holds, too."""
    return on(property, allowed.says, source, allowed.fault)


def text(
    property: str, source: str, *, pattern: str = ".*", shortest: int = 0, longest: int = 10**6, says: str
) -> Rule:
    """Length and form of a text that the cloud only keeps."""
    return form(property, source, Form(says, pattern, shortest, longest))


def number(property: str, source: str, low: float, high: float) -> Rule:
    def verdict(value: Any) -> Verdict:
        outside = isinstance(value, int | float) and not low <= value <= high
        return f"is {value}; allowed: {low:g} to {high:g}" if outside else None

    return on(property, f"{low:g} to {high:g}", source, verdict)


def within(property: str, source: str, allowed: Span) -> Rule:
    """A number in the span that the cloud allows."""
    return number(property, source, allowed.low, allowed.high)


def one_of(property: str, source: str, *allowed: str | int) -> Rule:
    listed = ", ".join(str(value) for value in allowed)
    return on(property, listed, source, lambda value: None if value in allowed else f"is {value!r}; allowed: {listed}")


def cidr(property: str, source: str, widest: int = 0, narrowest: int = 32) -> Rule:
    def verdict(value: Any) -> Verdict:
        if fault := range_fault(value):
            return fault
        mask = IPv4Network(value).prefixlen
        return (
            None if widest <= mask <= narrowest else f"{value} has a mask of {mask}; allowed: {widest} to {narrowest}"
        )

    return on(property, f"a network range, mask {widest} to {narrowest}", source, verdict)


def items(property: str, source: str, fewest: int, most: int) -> Rule:
    def verdict(value: Any) -> Verdict:
        outside = isinstance(value, list | Mapping) and not fewest <= len(value) <= most
        return f"has {len(value)} members; allowed: {fewest} to {most}" if outside else None

    return on(property, f"{fewest} to {most} members", source, verdict)


def json_document(property: str, source: str, most_bytes: int) -> Rule:
    """A JSON document, as RAM and OSS take their policies."""

    def verdict(value: Any) -> Verdict:
        try:
            json.loads(value)
        except (TypeError, ValueError) as error:
            return f"is no JSON document: {error}"
        size = len(value.encode())
        return f"has {size} bytes; allowed: {most_bytes}" if size > most_bytes else None

    return on(property, f"JSON, at most {most_bytes} bytes", source, verdict)


def exactly_one(source: str, *names: str) -> Rule:
    def check(inputs: Values) -> Failure | None:
        given = [name for name in names if inputs.get(name) is not None]
        if len(given) == 1:
            return None
        said = "none of them is" if not given else f"{' and '.join(given)} are"
        return Failure(given[0] if given else names[0], f"give exactly one of {', '.join(names)}: {said} given")

    return whole(f"exactly one of {', '.join(names)}", source, check)


def needs(source: str, *names: str, when: Callable[[Values], bool], because: str) -> Rule:
    """Inputs that become required by others."""

    def check(inputs: Values) -> Failure | None:
        if not when(inputs):
            return None
        absent = next((name for name in names if inputs.get(name) is None), None)
        return Failure(absent, f"is required {because}") if absent else None

    return whole(f"{', '.join(names)} required {because}", source, check)


def tags(source: str, longest_key: int = 128) -> Rule:
    """The limits of tags, alike for nearly every class."""

    def verdict(value: Any) -> Verdict:
        if not isinstance(value, Mapping):
            return None
        if len(value) > 20:
            return f"has {len(value)} tags; allowed: 20"
        for key in value:
            if not 1 <= len(key) <= longest_key or re.match(r"(?i)aliyun|acs:|https?://", key):
                return f"has the key {key!r}; allowed: {longest_key} characters, not beginning with aliyun, acs:, http"
        return None

    return on("tags", f"at most 20, keys of {longest_key} characters", source, verdict)


def known(inputs: Values, *names: str) -> bool:
    """Whether all of these inputs are given and known."""
    return all(inputs.get(name) is not None and not has_unknown(inputs[name]) for name in names)
