"""References that the plugin alone knows: what is named must exist, and what is still named cannot go.

Of what the cloud really makes it holds the references itself, by its specifications. Here are the others: from or to
what is only kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.plugin import lookup
from infra.local.plugin.binding import GOES_FIRST, MADE_FIRST, Refused
from infra.local.plugin.declared import DeclaredStore
from infra.local.plugin.values import Values

RESOURCE_GROUP = "alicloud:resourcemanager/resourceGroup:ResourceGroup"
EVERYWHERE = {"resourceGroupId": RESOURCE_GROUP}
"""Inputs that mean the same in every class."""


def refuse_missing(store: DeclaredStore, token: str, inputs: Values) -> None:
    """What a resource refers to must be there.

    Raises:
        Refused: it is not; a create must not come before that of what it needs.
    """
    for input, referred in _references(token).items():
        for id in _ids(inputs.get(input)):
            if store.get(referred, id) is None:
                leaf = referred.rpartition(":")[2]
                message = f"{input} names the {leaf} {id!r}, which does not exist; {MADE_FIRST}"
                raise Refused("EntityNotExist", message)


def refuse_held(store: DeclaredStore, token: str, id: str) -> None:
    """Nothing may refer to what is deleted.

    Raises:
        Refused: something does; the message names it.
    """
    for other in store.everything() if token == RESOURCE_GROUP else _possible_holders(store, token):
        for input, referred in _references(other.token).items():
            if referred == token and id in _ids(other.inputs.get(input)):
                raise Refused("DependencyViolation", f"{other.urn} ({other.id}) uses it; {GOES_FIRST}")


def _possible_holders(store: DeclaredStore, token: str) -> Iterator[Any]:
    for rules in lookup.every_rule():
        if token in rules.refers.values():
            yield from store.of_class(rules.token)


def _references(token: str) -> Mapping[str, str]:
    return {**EVERYWHERE, **lookup.rules_of(token).refers}


def _ids(value: Any) -> list[str]:
    """An input names one id, a list of them, or several with commas between."""
    if isinstance(value, list):
        return [id for item in value for id in _ids(item)]
    return [part for part in value.split(",") if part] if isinstance(value, str) else []
