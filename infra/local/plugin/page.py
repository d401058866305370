"""`python -m infra.local.plugin.page` renews the rules in `docs/local-cloud.md`; a test holds the page to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra.local.plugin import lookup
from infra.local.plugin.rules import ClassRules
from infra.local.plugin.shapes import RealClass

PAGE = Path(__file__).resolve().parents[3] / "docs" / "local-cloud.md"
BEGIN, END = "<!-- rules: begin -->\n", "<!-- rules: end -->\n"


def rule_list() -> str:
    """Every class with rules of its own, a line a rule."""
    return "\n".join(line for rules in lookup.every_rule() for line in _lines(rules)) + "\n"


def renewed(page: str) -> str:
    """The page with today's list between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + rule_list() + END + rest.split(END)[1]


def _lines(rules: ClassRules) -> Iterator[str]:
    module, leaf = rules.token.split(":")[1].partition("/")[0], rules.token.rpartition(":")[2]
    if rules.refused:
        yield f"- **{module}.{leaf}** {rules.refused}"
        return
    real = isinstance(lookup.shape_of(rules.token), RealClass)
    yield f"- **{module}.{leaf}** ({'really made' if real else 'kept'})"
    for rule in rules.rules:
        yield f"  - {f'`{rule.property}`: ' if rule.property else ''}{rule.says} — {rule.source}"
    if references := lookup.references_of(rules.token):
        named = ", ".join(f"`{name}` → {token.rpartition(':')[2]}" for name, token in sorted(references.items()))
        yield f"  - must exist, and stay while it is named: {named}"
    if replaced := lookup.replaced_on(rules.token):
        changed = ", ".join(f"`{name}`" for name in sorted(replaced))
        yield f"  - replaced on a change of {changed} — {rules.replace_source}"
    if rules.secrets:
        yield f"  - secret beside what the SDK says: {', '.join(f'`{name}`' for name in sorted(rules.secrets))}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
