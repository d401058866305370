"""What people type means the same however it was typed, and wherever."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.affairs.numbers import ALPHABET, check_code
from services.kernel import typed

DIGITS = [
    "0123456789",
    "０１２３４５６７８９",
    "٠١٢٣٤٥٦٧٨٩",
    "०१२३४५६७८९",
]
UNSEEN = "\u3000 \t\u00a0\u200b\u2060\ufeff\u00ad\u3164\u2800\u180e\u200c\u200d\u200e\u2003"
DECEIVING = ["\n", "\r\n", "\u2028", "\x85", "\x00", "\x07", "\x9b", "\u202e", "\u202a", "\u2066", "\u200f", "\ud800"]
ANY_TEXT = st.text(max_size=40) | st.text(st.sampled_from(UNSEEN + "张三Ａ１²()（）-+86\u202e\n\u0301⼈"), max_size=20)
SHAPED = st.sampled_from(DIGITS)


def in_shapes(digits: str, shapes: list[str], between: list[str]) -> str:
    """The digits, each in a script of its own, with something that does not count after each."""
    return "".join(shape[int(digit)] + gap for digit, shape, gap in zip(digits, shapes, between, strict=True))


@given(
    digits=st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True),
    shapes=st.lists(SHAPED, min_size=11, max_size=11),
    between=st.lists(st.sampled_from(["", "-", " ", "\u200b", "\u3000", "－", "\u202c"]), min_size=11, max_size=11),
    before=st.sampled_from(["", "+86", "＋８６ ", "0086-", "(+86) ", "86", "\u202d"]),
)
def test_a_mobile_number_is_one_however_it_is_typed(
    digits: str, shapes: list[str], between: list[str], before: str
) -> None:
    assert typed.phone(before + in_shapes(digits, shapes, between)) == digits
    assert re.match(typed.PHONE, digits)
    assert typed.log_in_name(before + in_shapes(digits, shapes, between)) == digits


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("(0571) 8765 4321", "0571-87654321"),
        ("057187654321", "0571-87654321"),
        ("+86 571 87654321", "0571-87654321"),
        ("+86 0571-87654321", "0571-87654321"),
        ("010 12345678", "010-12345678"),
        ("＋86 10 1234 5678", "010-12345678"),
        ("00852 9123 4567", "+85291234567"),
        ("+852-9123-4567", "+85291234567"),
    ],
)
def test_other_numbers_have_one_form_too(given: str, kept: str) -> None:
    assert typed.phone(given) == kept == typed.phone(kept)
    assert re.fullmatch(typed.PHONE, kept)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "0----",
        "12345",
        "+8613900001111x",
        "1380000000",
        "+86 138 0000 000",
        "0086 571 8765",
        "abc",
        "²" * 11,
        "\u200b",
    ],
)
def test_what_is_no_number_does_not_become_one(given: str) -> None:
    assert not re.fullmatch(typed.PHONE, typed.phone(given))


@given(number=st.from_regex(r"[0-9]{22}", fullmatch=True), shape=SHAPED, gap=st.sampled_from(["", " ", "-", "\u200b"]))
def test_a_case_number_is_one_in_any_script(number: str, shape: str, gap: str) -> None:
    written = in_shapes(number, [shape] * 22, [gap] * 22)
    assert typed.case_number(written) == number and re.match(typed.CASE_NUMBER, number)


@given(key=st.binary(min_size=1, max_size=8), gap=st.sampled_from(["", " ", "-", "\u3000"]))
def test_a_check_code_is_one_in_any_case_and_width(key: bytes, gap: str) -> None:
    code = check_code(key, "1" * 22)
    wide = "".join(chr(ord(character) + 0xFEE0) for character in code.lower())
    assert typed.check_code(gap.join(wide)) == code
    assert re.match(typed.CHECK_CODE, code)


def test_the_codes_that_are_given_out_are_those_that_are_taken() -> None:
    taken = "".join(chr(point) for point in range(128) if re.match(typed.CHECK_CODE, chr(point) * 12))
    assert set(taken) == set(ALPHABET)


@given(blank=st.text(st.sampled_from(UNSEEN), max_size=20))
def test_a_blank_is_empty_whatever_it_is_made_of(blank: str) -> None:
    for read in (typed.line, typed.lines, typed.compact, typed.phone, typed.user_name):
        assert read(blank) == ""
    assert typed.line(f"{blank}张三{blank}") == "张三"


@pytest.mark.parametrize("sign", DECEIVING, ids=ascii)
def test_a_name_with_what_deceives_a_reader_is_refused(sign: str) -> None:
    with pytest.raises(typed.Unfit):
        typed.line(f"张{sign}三")


@pytest.mark.parametrize("name", ["\u202e三张", "张三\x00", "\x1b[31m张三"], ids=ascii)
def test_some_signs_are_refused_at_the_ends_too(name: str) -> None:
    with pytest.raises(typed.Unfit):
        typed.line(name)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (" 张　三\u200b ", "张 三"),
        ("张三\n", "张三"),
        ("\u202a张三\u202c", "张三"),
        ("ＡＢＣ（杭州）有限公司", "ABC（杭州）有限公司"),
        ("⼈民路１２号", "人民路12号"),
        ("a\u0301", "á"),
        ("5² ½", "5² ½"),
        ("欧阳·娜娜", "欧阳·娜娜"),
        ("㐂𠮷", "㐂𠮷"),
    ],
)
def test_a_name_keeps_what_it_says(given: str, kept: str) -> None:
    assert typed.line(given) == kept


def test_a_text_keeps_its_lines() -> None:
    assert typed.lines(" 一。\r\n二，\u2028三！\r") == "一。\n二，\n三！"


@settings(max_examples=300)
@given(text=ANY_TEXT)
def test_to_read_twice_is_to_read_once_and_what_is_read_deceives_nobody(text: str) -> None:
    texts: list[Callable[[str], str]] = [typed.line, typed.lines]
    codes = [typed.compact, typed.phone, typed.case_number, typed.check_code, typed.number, typed.user_name]
    for read in [*texts, *codes, typed.log_in_name]:
        try:
            once = read(text)
        except typed.Unfit:
            assert read in texts
            continue
        if read in texts or once.isascii():  # no code holds anything else
            assert read(once) == once
        if read in texts:
            categories = {unicodedata.category(character) for character in once if character not in "\n\t"}
            assert not categories & {"Cc", "Cs", "Zl", "Zp"}
            assert not set(once) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff")
            assert once == once.strip()
        if read is typed.line:
            assert "\n" not in once


READERS = (typed.line, typed.lines, typed.compact, typed.phone, typed.number, typed.words, typed.user_name)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("filled", ["\u3000", "\u0301\u0323", "\ufdfa"])
def test_what_is_longer_than_anything_that_is_kept_is_not_brought_into_form(
    read: Callable[[str], str], filled: str
) -> None:
    """Else one request would hold up its whole process: the time for it grows by the square."""
    formed: list[str] = []

    def normalize(_: str, text: str) -> str:
        formed.append(text)
        return text

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unicodedata.normalize", normalize)
        read(f"é{filled * typed.LONGEST}x")
    assert not any(len(text) > typed.LONGEST for text in formed)


def test_a_text_of_any_field_is_read_however_it_was_padded() -> None:
    text = "办" * 2000
    assert typed.lines(f"\u3000\u200b\r\n\u200f{text}\u3000") == text


def test_the_memory_of_characters_has_an_end() -> None:
    for start in range(0, 0x30000, 0x1000):
        typed.compact("".join(map(chr, range(max(start, 0x80), start + 0x1000))))
    assert len(typed._PLAIN_SIGNS) <= typed._MOST_REMEMBERED
