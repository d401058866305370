"""Which secrets of a living environment a text holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.living import Living
from tools.scopes import FOUNDATION, scopes_of


def secrets_of(living: Living) -> dict[str, str]:
    """Every secret of every stack, by a name that may be shown. The foundation has none."""
    scopes = [scope for scope in scopes_of(living.life.folder) if scope != FOUNDATION]
    return dict(pair for scope in scopes for pair in _texts(scope, living.secrets(scope)))


def leaked(living: Living, text: str) -> set[str]:
    """Names of the secrets that the text holds: what fails must not print one again."""
    return {name for name, secret in secrets_of(living).items() if secret in text}


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(f"{name} {key}", inner)
    else:
        yield name, str(value)
