"""Forms of the operator's page. Nobody logs in here: who reaches the monitoring host is an operator. So a form must
come from the page itself: no other site may make an operator's browser send one."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from monitoring.operators.alertmanager import Matcher

LARGEST_FORM = 16 * 1024
MOST_FIELDS = 20
MOST_MATCHERS = 10
LONGEST_VALUE = 200
LONGEST_NAME = 40
LONGEST_REASON = 200
HOURS = (1, 2, 4, 8, 24, 72)
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
NARROWING = ("alertname", "cell", "host", "tenant", "job", "service", "database", "proxy")
"""A silence names at least one of these: by severity or environment alone it would silence everything."""
BESIDE = ("environment", "instance", "role", "severity", "component", "window")
"""Labels of an alert that a silence of it need not repeat."""


class ForgedForm(Exception):
    """The form did not come from this page."""


class UnfitForm(Exception):
    """What was typed does not fit; the message says what would."""


async def read_form(request: Request) -> dict[str, str]:
    """The form's fields, the first of each name.

    A browser says with each POST where the page stood that sent it. It must be this host, under an address or its own
    plain name: under a stranger's name that leads here (one that begins as ours, too) it is a stranger's page.

    Raises:
        ForgedForm: it says something else, or nothing.
        UnfitForm: too large, or no text.
    """
    host = request.headers.get("host", "")
    if netloc_of(request.headers.get("origin", "")) != host or not _is_own(host):
        raise ForgedForm
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > LARGEST_FORM:
            raise UnfitForm("表单过大")
    try:
        pairs = parse_qsl(content.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise UnfitForm("表单无法读取，请重新填写") from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return fields


def netloc_of(url: str) -> str:
    """Empty where it has none or is no URL."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _is_own(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("localhost", socket.gethostname())
    return True


@dataclass(frozen=True)
class Wanted:
    """A silence as it was asked for."""

    matchers: list[Matcher]
    hours: int
    by: str
    reason: str


def wanted(fields: Mapping[str, str]) -> Wanted:
    """Raises UnfitForm."""
    matchers = matchers_of(fields.get("matchers", ""))
    hours = fields.get("hours", "")
    if hours not in map(str, HOURS):
        raise UnfitForm("请选择时长")
    by = _line(fields.get("by", ""), "经办人", LONGEST_NAME)
    return Wanted(matchers, int(hours), by, _line(fields.get("reason", ""), "原因", LONGEST_REASON))


def matchers_of(text: str) -> list[Matcher]:
    """From lines of `name=value`. Raises UnfitForm."""
    labels: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not LABEL.fullmatch(name) or not value or len(value) > LONGEST_VALUE or not _plain(value):
            raise UnfitForm(f"“{line[:60]}”不是“标签=值”")
        if name in labels:
            raise UnfitForm(f"标签 {name} 只能写一次")
        labels[name] = value
    if not 0 < len(labels) <= MOST_MATCHERS:
        raise UnfitForm(f"请写 1 至 {MOST_MATCHERS} 个条件")
    if not set(labels) & set(NARROWING):
        raise UnfitForm(f"范围太大，至少写明其中之一：{'、'.join(NARROWING)}")
    return [Matcher(name=name, value=value) for name, value in labels.items()]


def _line(text: str, what: str, longest: int) -> str:
    tidy = unicodedata.normalize("NFKC", text).strip()
    if not tidy or len(tidy) > longest or not _plain(tidy):
        raise UnfitForm(f"请填写{what}，一行，不超过 {longest} 字")
    return tidy


def _plain(text: str) -> bool:
    """Without line ends, control characters and what turns the direction of writing."""
    return not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text)
