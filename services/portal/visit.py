"""A visit: one request to one site, by somebody or nobody. What every page handler starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlencode, urlsplit

import structlog
from fastapi import Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Match

from services.kernel.http import CurrentTenant
from services.kernel.problems import NotAuthenticated, Problem, Unavailable
from services.kernel.tenancy import Tenant
from services.kernel.tokens import Principal, Role
from services.kernel.visitors import visitor_address
from services.pages.forms import SESSION_COOKIE, browser_of, read_form, writer_of
from services.pages.frame import Frame, Link
from services.portal.area import Entry
from services.portal.parts import Portal
from services.portal.store.drafts import DRAFT_COOKIE, Draft, Place
from services.portal.store.sessions import Session

log = structlog.get_logger(__name__)


Errors = dict[str, str]
"""What is wrong with a form, in words for the person: by field, under "" of all of it."""


class LogInNeeded(Exception):
    """The page is for people who are logged in; the browser is sent to identity and comes back."""


@dataclass(frozen=True)
class Visit:
    portal: Portal
    request: Request
    tenant: Tenant
    session: Session | None = None
    principal: Principal | None = None
    """Who the session's token proves; None while identity is out and the token has expired."""

    @property
    def token(self) -> str:
        """The person's access token. Raises LogInNeeded, or Unavailable while it cannot be renewed."""
        if self.session is None:
            raise LogInNeeded
        if self.principal is None:
            raise Unavailable("identity")
        return self.session.tokens.access

    def office(self, role: str) -> Role | None:
        """The person's office of this kind in the tenant whose site this is."""
        return self.principal.office(self.tenant.code, role) if self.principal else None

    @property
    def address(self) -> str:
        return visitor_address(self.request)

    async def read_form(self) -> dict[str, str]:
        """What was typed into a form that acts for this person; see `services.pages.forms.read_form`."""
        fields = await read_form(self.request)
        if place := self._place_of_draft():
            await self.portal.drafts.forget(self.tenant.code, place)
        return fields

    async def draft(self) -> Draft | None:
        """What this person typed into a form of this page when it could not be taken."""
        place = self._place_of_draft()
        return await self.portal.drafts.find(self.tenant.code, place) if place else None

    def _place_of_draft(self) -> Place | None:
        """None where this browser has left no draft, so that hardly anybody's request looks for one."""
        if self.session is None or DRAFT_COOKIE not in self.request.cookies:
            return None
        browser = browser_of(self.request)
        return Place(browser, writer_of(browser, self.session.who.sub), page_of_form(self.request))

    def page(self, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        writer = self.session.who.sub if self.session else ""
        words = {"visit": self, "tenant": self.tenant, **context}
        return self.portal.pages.page(self.request, template, self.frame(), status=status, writer=writer, **words)

    def frame(self) -> Frame:
        directory = self.portal.kernel.directory
        lineage = [self.tenant]
        while (parent := lineage[0].parent) and (above := directory.by_code(parent)):
            lineage.insert(0, above)
        full_name = "".join(tenant.name for tenant in lineage if tenant.level != "province") or self.tenant.name
        return Frame(
            title=f"{self.tenant.name}政务服务",
            sponsor=f"{full_name}人民政府",
            subtitle=" · ".join(tenant.name for tenant in lineage[:-1]) or "全省一张网",
            phone=self.tenant.settings.service_phone,
            links=self._links(),
            foot_links=tuple(Link(entry.label, entry.path) for entry in self.entries() if entry.at_foot),
            person=self.session.who.name if self.session else "",
            log_in=f"/login?{urlencode({'next': self.here()})}",
            log_out="/logout",
        )

    def here(self) -> str:
        """The page to come back to: this one, or the one on which the form stands that was sent."""
        url = self.request.url
        if self.request.method != "GET":
            return local_path(address_of_form(self.request))
        return local_path(url.path + (f"?{url.query}" if url.query else ""))

    def entries(self) -> list[Entry]:
        """What this visitor is offered of all areas, in its order."""
        return [entry for entry in self.portal.areas.entries if not entry.office or self.office(entry.office)]

    def _links(self) -> list[Link]:
        path = self.request.url.path
        return [Link(entry.label, entry.path, current=entry.is_above(path)) for entry in self.entries()]


def portal_of(request: Request) -> Portal:
    portal: Portal = request.app.state.parts
    return portal


async def visit_of(request: Request, tenant: CurrentTenant) -> Visit:
    """Whoever comes, with a session or without. Noted at the request, for what may go wrong after."""
    visit = await _who_comes(request, tenant)
    request.state.visit = visit
    return visit


async def _who_comes(request: Request, tenant: Tenant) -> Visit:
    visit = Visit(portal_of(request), request, tenant)
    secret = request.cookies.get(SESSION_COOKIE)
    session = await visit.portal.sessions.find(tenant.code, secret) if secret else None
    if session is None:
        return visit
    try:
        session = await visit.portal.renewals.renewed(tenant, session)
    except Unavailable:
        log.warning("session.not_renewed")
    if session is None:
        return visit
    try:
        principal = await visit.portal.kernel.verifier.verify(session.tokens.access)
    except (NotAuthenticated, Unavailable):
        principal = None
    return replace(visit, session=session, principal=principal)


AnyVisit = Annotated[Visit, Depends(visit_of)]


async def person_visit(visit: AnyVisit) -> Visit:
    """Somebody who is logged in; others are sent to log in and come back."""
    _ = visit.token
    return visit


PersonVisit = Annotated[Visit, Depends(person_visit)]


async def clerk_visit(visit: PersonVisit) -> Visit:
    if visit.office("clerk") is None:
        raise Problem(403, "clerks-only", "这里是本地区工作人员的办件台。")
    return visit


async def administrator_visit(visit: PersonVisit) -> Visit:
    if visit.office("administrator") is None:
        raise Problem(403, "administrators-only", "这里供本地区的事项管理员使用。")
    return visit


ClerkVisit = Annotated[Visit, Depends(clerk_visit)]
AdministratorVisit = Annotated[Visit, Depends(administrator_visit)]


def local_path(path: str) -> str:
    """A path on this very site; anything else becomes the home page, so that no log-in leads astray."""
    parts = urlsplit(path)
    astray = parts.scheme or parts.netloc or not path.startswith("/") or path.startswith("//")
    if astray or "\\" in path or any(ord(character) < 0x20 for character in path):
        return "/"
    return path


def page_of_form(request: Request) -> str:
    """The nearest address upwards of a form's own that is a page: `/desk/1` for `/desk/1/acceptance`."""
    path = request.url.path
    while path:
        wanted = {**request.scope, "method": "GET", "path": path}
        if any(route.matches(wanted)[0] == Match.FULL for route in request.app.router.routes):
            return path
        path = path.rpartition("/")[0]
    return "/"


def address_of_form(request: Request) -> str:
    """The page of a form with its query, where the form is sent to the page's own address."""
    page, query = page_of_form(request), request.url.query
    return f"{page}?{query}" if query and page == request.url.path else page


def go(path: str) -> RedirectResponse:
    """On to another page after a form."""
    return RedirectResponse(path, status_code=303)
