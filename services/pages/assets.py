"""The stylesheet and pictures, served under names that hold their own hash, so a browser keeps them for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".js": "text/javascript; charset=utf-8"}


class Assets:
    """Files of `static/` and, for a service with files of its own, of `more` folders."""

    def __init__(self, *more: Path) -> None:
        self._url: dict[str, str] = {}
        self._body: dict[str, tuple[bytes, str]] = {}
        for path in sorted(path for folder in (STATIC, *more) for path in folder.iterdir() if path.is_file()):
            body = path.read_bytes()
            name = f"{path.stem}.{hashlib.sha256(body).hexdigest()[:12]}{path.suffix}"
            self._url[path.name] = f"/assets/{name}"
            self._body[name] = (body, MEDIA_TYPES.get(path.suffix, "application/octet-stream"))

    def url(self, name: str) -> str:
        return self._url[name]

    def route(self) -> Route:
        return Route("/assets/{name}", self._serve, name="assets")

    async def _serve(self, request: Request) -> Response:
        asset = self._body.get(request.path_params["name"])
        if asset is None:
            return Response(status_code=404)
        body, media_type = asset
        return Response(body, media_type=media_type, headers={"cache-control": "public, max-age=31536000, immutable"})
