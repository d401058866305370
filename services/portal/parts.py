"""What a portal process holds beside the kernel, wired in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.kernel.runtime import Kernel
from services.pages.assets import Assets
from services.pages.render import Pages
from services.portal import areas
from services.portal.affairs import Affairs
from services.portal.area import Areas, discover
from services.portal.query import Query
from services.portal.relying_party import RelyingParty
from services.portal.renewal import Renewals
from services.portal.store.drafts import Drafts
from services.portal.store.sessions import Sessions

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Portal:
    kernel: Kernel
    areas: Areas
    pages: Pages
    sessions: Sessions
    drafts: Drafts
    relying_party: RelyingParty
    renewals: Renewals
    affairs: Affairs
    query: Query


def assemble(kernel: Kernel) -> Portal:
    site_areas = discover(areas)
    sessions, relying_party = Sessions(kernel.doors), RelyingParty(kernel)
    return Portal(
        kernel=kernel,
        areas=site_areas,
        pages=Pages(HERE / "templates", Assets(HERE / "static"), site_areas.templates),
        sessions=sessions,
        drafts=Drafts(kernel.doors),
        relying_party=relying_party,
        renewals=Renewals(sessions, relying_party),
        affairs=Affairs(kernel.http),
        query=Query(kernel),
    )
