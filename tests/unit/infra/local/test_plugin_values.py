"""Values over the wire and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infra.local.plugin.values import (
    OUTPUT,
    SIGNATURE,
    UNKNOWN,
    Secret,
    from_struct,
    has_unknown,
    is_secret,
    plain,
    to_struct,
    wrap,
    wrap_like,
)

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3)
        | inner.map(Secret)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1, max_size=4), VALUES, max_size=4))
def test_what_goes_over_the_wire_comes_back(values: dict[str, object]) -> None:
    assert from_struct(to_struct(values)) == values


def test_an_unknown_stays_itself() -> None:
    values = from_struct(to_struct({"a": [UNKNOWN], "b": Secret(UNKNOWN)}))
    assert values["a"][0] is UNKNOWN and has_unknown(values["b"])


def test_output_values_are_what_they_hold() -> None:
    wire = to_struct(
        {
            "known": {SIGNATURE: OUTPUT, "value": "v"},
            "secret": {SIGNATURE: OUTPUT, "value": "v", "secret": True},
            "unknown": {SIGNATURE: OUTPUT},
        }
    )
    assert from_struct(wire) == {"known": "v", "secret": Secret("v"), "unknown": UNKNOWN}


def test_a_secret_is_never_shown() -> None:
    assert "hidden" not in repr(Secret("hidden")) and "hidden" not in str({"a": [Secret("hidden")]})


def test_plain_drops_what_is_absent() -> None:
    assert plain({"a": None, "b": Secret({"c": Secret(1), "d": None})}) == {"b": {"c": 1}}


def test_wrap_takes_the_named_and_leaves_the_absent() -> None:
    assert wrap({"a": 1, "b": None, "c": Secret(2), "d": 3}, {"a", "b", "c"}) == {
        "a": Secret(1),
        "b": None,
        "c": Secret(2),
        "d": 3,
    }


def test_what_was_secret_stays_so_when_it_is_read_again() -> None:
    old = {"a": Secret("x"), "list": [Secret("1"), "2"], "nested": {"p": Secret("q")}}
    seen = wrap_like({"a": "changed", "list": ["1", "9"], "nested": {"p": "new", "other": "o"}}, old)
    assert seen == {"a": Secret("changed"), "list": [Secret("1"), "9"], "nested": {"p": Secret("new"), "other": "o"}}
    assert is_secret(wrap_like({"list": ["1", "2", "3"]}, old)["list"]), "a list that grew hides all of it"
