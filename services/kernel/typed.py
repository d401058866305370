"""What people type, read one way wherever it comes in: page, API, operator's command.

Keyboards, clipboards and input methods give the same word in several shapes: full-width digits, an ideographic space,
marks that nobody sees. `line` and `lines` read names and texts, `compact` whatever is copied sign by sign: numbers,
codes, telephone numbers. Spaces and invisible signs at the ends never count, so that a blank is empty whatever it is
made of. What could deceive a reader (control characters, signs that turn the direction of writing) is refused in names
and texts; around a number a clipboard puts them by itself, so there they are dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo

# Letters that show nothing: fillers of Hangul, the blank of Braille. (Zero-width and other format characters are Cf.)
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800"
# Dropped in names and texts: they join or part nothing that is written here. Joiners (U+200C, U+200D) are letters' own.
_DROPPED = "\u00ad\u034f\u180e\u200b\u2060\u2061\u2062\u2063\u2064\ufeff" + _FILLERS
# What nearly every text is made of, in its plain form already.
_ORDINARY = re.compile(r"[ -~\u4e00-\u9fff，。；：、！？（）《》“”‘’·—…\n]*")
# Clipboards put marks of direction around what they copy. U+202E is in no clipboard's habit.
_AT_ENDS = "".join(chr(point) for point in range(0x3001) if chr(point).isspace())
_AT_ENDS += "\u061c\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u2066\u2067\u2068\u2069"
_SPACES = re.compile(r"[^\S\n]+")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_DECEIVING = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SHOW_NOTHING = frozenset({"Cc", "Cf", "Cs", "Mn", "Mc", "Me", "Zs", "Zl", "Zp"})
# A compatibility form that says something of its own: 5² is not 52, and ½ is no "1⁄2".
_OF_ITS_OWN = ("<super>", "<sub>", "<fraction>", "<circle>")
_MOST_REMEMBERED = 4096
LONGEST = 4000
"""Twice of what any field may hold. What is longer comes back unread, for whoever asked to refuse: to bring a text into
one form takes time by the square of the marks in it."""

MOBILE = r"1[3-9][0-9]{9}"
_AREA = r"10|2[0-9]|[3-9][0-9]{2}"
# Any country's but 86: what begins so and is none of the mainland's numbers lacks a digit or has one too many.
_ABROAD = r"\+([1-79][0-9]{6,14}|8[0-57-9][0-9]{5,13})"
PHONE = rf"^({MOBILE}|0({_AREA})-[0-9]{{7,8}}|{_ABROAD})$"
_OF_THE_MAINLAND = re.compile(rf"(?:\+?86)?({MOBILE})|(?:\+860?|0)({_AREA})([0-9]{{7,8}})")
_BESIDE_DIGITS = re.compile(r"[()\[\]./\-\u00b7\u2010-\u2015\u2212]+")

CASE_NUMBER = r"^[0-9]{22}$"
CHECK_CODE = r"^[23456789A-HJ-NP-Z]{12}$"
_MINUS = re.compile(r"[\u2010-\u2013\u2212]")
# For documents: a text of these holds something that can be seen.
VISIBLE = r"[^\s\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0]"
KEPT = {"kept": True}


class Unfit(ValueError):
    """The text holds what no reader could see for what it is."""


class _Plain(dict[int, str]):
    """Each character in its plain width and form, worked out when it is first met.

    Letters, digits and spaces lose their width; marks of punctuation keep theirs, for （ and ， are how Chinese is
    written. With `marks`, for codes, those lose it too.
    """

    def __init__(self, marks: bool) -> None:
        super().__init__()
        self._marks = marks

    def __missing__(self, point: int) -> str:
        character = chr(point)
        plain = self._plain(character)
        if len(self) < _MOST_REMEMBERED:
            self[point] = plain
        return plain

    def _plain(self, character: str) -> str:
        category = unicodedata.category(character)
        if character in _DROPPED:
            return ""
        if category == "Nd":
            return str(unicodedata.decimal(character))
        if unicodedata.decomposition(character).startswith(_OF_ITS_OWN):
            return character
        plain = unicodedata.normalize("NFKC", character)
        if category[0] in "PS" and not (self._marks and plain.isascii()) and not _is_radical(character):
            return character
        return plain


def _is_radical(character: str) -> bool:
    """Some PDFs give for 人 the sign of the radical, which looks the same."""
    return "\u2e80" <= character <= "\u2fd5"


_PLAIN_LETTERS, _PLAIN_SIGNS = _Plain(marks=False), _Plain(marks=True)


def line(text: str) -> str:
    """A name or another text of one line. Raises Unfit."""
    cleaned = lines(text)
    if "\n" in cleaned:
        raise Unfit("must be one line")
    return _SPACES.sub(" ", cleaned)


def lines(text: str) -> str:
    """A text that may have several lines. Raises Unfit."""
    if len(text) > LONGEST:
        return text
    if _ORDINARY.fullmatch(text):
        return text.strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Unfit("must not hold half of a surrogate pair") from None
    text = unicodedata.normalize("NFC", text.translate(_PLAIN_LETTERS))
    text = _LINE_END.sub("\n", text).strip(_AT_ENDS)
    if _DECEIVING.search(text):
        raise Unfit("must not hold control characters or signs that turn the direction of writing")
    return text if any(unicodedata.category(character) not in _SHOW_NOTHING for character in text) else ""


def compact(text: str) -> str:
    """What is copied sign by sign: plain digits and letters, and nothing between them that nobody sees."""
    return "".join(_signs(text).split())


def _signs(text: str) -> str:
    if len(text) > LONGEST or (text.isascii() and text.isprintable()):
        return text
    plain = unicodedata.normalize("NFC", text).translate(_PLAIN_SIGNS)
    return "".join(sign for sign in plain if sign.isspace() or unicodedata.category(sign) not in ("Cf", "Cc"))


def phone(text: str) -> str:
    """A telephone number as it is kept: 13800000000, 0571-87654321, or +85291234567 from abroad.

    What is none comes back without what stands between digits, and does not match `PHONE`.
    """
    phone_number = _BESIDE_DIGITS.sub("", compact(text))
    if phone_number.startswith("00"):
        phone_number = f"+{phone_number[2:]}"
    home = _OF_THE_MAINLAND.fullmatch(phone_number)
    if home is None:
        return phone_number
    mobile, area, local = home.groups()
    return mobile or f"0{area}-{local}"


def case_number(text: str) -> str:
    """A case number as it is kept, however it was grouped. What is none does not match `CASE_NUMBER`."""
    return _BESIDE_DIGITS.sub("", compact(text))


def check_code(text: str) -> str:
    """A check code as it is kept. What is none does not match `CHECK_CODE`."""
    return case_number(text).upper()


def number(text: str) -> str:
    """A number or a date as it is kept: plain digits and the signs between them."""
    return _MINUS.sub("-", compact(text))


def words(text: str) -> str:
    """What somebody searches for, and what is searched, in one form."""
    return " ".join(_signs(text).split()).lower()


def user_name(text: str) -> str:
    return _signs(text).strip().lower()


def log_in_name(text: str) -> str:
    """What somebody logs in by, as it was kept when they registered: a user name begins with a letter, a phone not."""
    name = user_name(text)
    return name if name[:1].isalpha() else phone(name)


def reading(read: Callable[[str], str]) -> BeforeValidator:
    """The same at a border: `Annotated[str, Field(…), reading(line)]`. The field's own limits hold for what was read.

    What is in a database was read when it came in: under the context `KEPT` it is taken as it is.
    """

    def before(value: object, info: ValidationInfo) -> object:
        return read(value) if isinstance(value, str) and info.context is not KEPT else value

    return BeforeValidator(before)


Phone = Annotated[
    str,
    Field(
        pattern=PHONE,
        description="a mobile number, a number with its area code, or one from abroad with + and its country's code; "
        "spaces, hyphens, brackets and +86 may be there and are not kept",
    ),
    reading(phone),
]
CaseNumber = Annotated[str, Field(pattern=CASE_NUMBER, description="22 digits"), reading(case_number)]
CheckCode = Annotated[
    str, Field(pattern=CHECK_CODE, description="12 letters and digits, without 0, 1, I, O"), reading(check_code)
]
