"""The identity site's pages: whose they are, and how an error looks on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse

from services.identity.errors import SITE
from services.kernel.problems import Problem
from services.kernel.telemetry import request_id
from services.kernel.tenancy import Directory
from services.pages.frame import Frame, Link
from services.pages.render import Pages

TEMPLATES = Path(__file__).parent / "templates"


class Site:
    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self.pages = Pages(TEMPLATES)

    def frame(self, person: str = "") -> Frame:
        province = next((tenant for tenant in self._directory.tenants() if tenant.level == "province"), None)
        frame = Frame(
            title=f"{province.name if province else ''}统一身份认证",
            sponsor=f"{province.name}人民政府" if province else "省人民政府",
            subtitle="一网 · 一次登录，全省通办",
            phone=province.settings.service_phone if province else "",
            foot_links=(Link("政务服务首页", province.url),) if province else (),
        )
        return dataclasses.replace(frame, person=person, log_out="/log-out") if person else frame

    def page(
        self, request: Request, template: str, *, status: int = 200, person: str = "", **words: Any
    ) -> HTMLResponse:
        return self.pages.page(request, template, self.frame(person), status=status, **words)

    def problem(self, request: Request, problem: Problem) -> HTMLResponse:
        heading, advice = SITE.of(problem, request.method)
        response = self.pages.error(request, self.frame(), problem.status, heading, advice, request_id=request_id.get())
        response.headers.update(problem.headers)
        return response
