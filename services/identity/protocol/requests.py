"""HTTP as Authlib's protocol core sees it, free of any framework."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from services.identity.protocol.store import Code, Rotation


class Parameters(OAuth2Payload):  # type: ignore[misc]
    """One without a value counts as if it were not there (RFC 6749, 3.1 and 3.2)."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._lists: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in pairs:
            if value:
                self._lists[name].append(value)
        self._data = {name: values[0] for name, values in self._lists.items()}

    @property
    def data(self) -> dict[str, str]:
        return self._data

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        return self._lists


class ProtocolRequest(OAuth2Request):  # type: ignore[misc]
    """A request to a protocol endpoint, with what the database said about it before the core looks at it.

    The core is synchronous and the database is not: so rows are read first (`code`, `rotation`), the core judges
    and asks for effects, and the effects it asked for (`granted_code`, `issued_refresh_token`) are written after.
    """

    def __init__(self, method: str, url: str, headers: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> None:
        super().__init__(method, url, headers=headers)
        self.payload = Parameters(pairs)
        self.code: Code | None = None
        self.rotation: Rotation | None = None
        self.granted_code: str = ""
        self.issued_refresh_token: str = ""

    @property
    def args(self) -> dict[str, str]:
        return self.payload.data

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data


@dataclass(frozen=True)
class Answer:
    """What the core answers."""

    status: int
    body: Any
    headers: list[tuple[str, str]]

    def response(self) -> Response:
        headers = dict(self.headers)
        if location := headers.pop("Location", ""):
            return RedirectResponse(location, status_code=self.status, headers=headers)
        headers.pop("Content-Type", None)
        return JSONResponse(self.body, status_code=self.status, headers=headers)
