"""Rendering: one Jinja2 environment a service, its own templates first, then the shared ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from services.pages.assets import Assets
from services.pages.cases import CASE_WORDS
from services.pages.forms import form_token, keep_form_token
from services.pages.frame import Frame

TEMPLATES = Path(__file__).parent / "templates"

# No script runs on a page but our own files; a site is never framed. Forms may lead on to other sites of the network
# (log-in redirects back), so form-action is left to the double-submit token.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; script-src 'self'; "
        "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Pages:
    """The pages of one service.

    Args:
        templates: the folder of the service's own templates.
        assets: its stylesheet and pictures; add `assets.route()` to the application.
        parts: more folders of templates, by the name that stands before those of each: `desk/desk.html`.
    """

    def __init__(
        self,
        templates: Path | None = None,
        assets: Assets | None = None,
        parts: Mapping[str, Path] | None = None,
    ) -> None:
        folders = [TEMPLATES] if templates is None else [templates, TEMPLATES]
        by_part = {name: FileSystemLoader(folder) for name, folder in (parts or {}).items()}
        self.assets = assets or Assets()
        self._environment = Environment(
            loader=ChoiceLoader([PrefixLoader(by_part), FileSystemLoader(folders)]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        # Globals, since an imported part sees nothing else.
        self._environment.globals.update(assets=self.assets, case_words=CASE_WORDS)

    def text(self, template: str, frame: Frame, **context: Any) -> str:
        return self._environment.get_template(template).render(frame=frame, **context)

    def page(
        self, request: Request, template: str, frame: Frame, *, status: int = 200, writer: str = "", **context: Any
    ) -> HTMLResponse:
        """A whole page for `writer`, if somebody is logged in; its forms hold `csrf`, whose cookie is set."""
        token = form_token(request, writer)
        text = self.text(template, frame, csrf=token.text, **context)
        response = HTMLResponse(text, status_code=status, headers=HEADERS)
        keep_form_token(response, token)
        return response

    def error(
        self,
        request: Request,
        frame: Frame,
        status: int,
        heading: str,
        advice: str,
        *,
        request_id: str = "",
        back: str | None = None,
        back_label: str = "返回首页",
    ) -> HTMLResponse:
        token = form_token(request)
        words = {"status": status, "heading": heading, "advice": advice, "request_id": request_id, "csrf": token.text}
        body = self.text("error.html", frame, back=back or frame.home, back_label=back_label, **words)
        response = HTMLResponse(body, status_code=status, headers=HEADERS)
        keep_form_token(response, token)
        return response
