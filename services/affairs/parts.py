"""What an affairs process holds beside the kernel, wired in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from services.affairs.cases import Cases
from services.affairs.catalogue import Catalogue
from services.affairs.filing import Filing
from services.affairs.materials import Materials
from services.affairs.messages import Links, handlers
from services.affairs.store import SCHEMA
from services.kernel.courier import Post
from services.kernel.http import parts_of
from services.kernel.inbox import Inbox
from services.kernel.runtime import Kernel


@dataclass(frozen=True)
class Affairs:
    kernel: Kernel
    post: Post
    catalogue: Catalogue
    filing: Filing
    cases: Cases
    inbox: Inbox
    materials: Materials


CurrentAffairs = Annotated[Affairs, Depends(parts_of)]


def assemble(kernel: Kernel) -> Affairs:
    materials = Materials(kernel)
    directory, doors = kernel.directory, kernel.doors
    post = Post(kernel, SCHEMA, Links(directory, materials).sign)
    catalogue = Catalogue(directory, doors, post.relay)
    cases = Cases(directory, doors, post.relay)
    return Affairs(
        kernel=kernel,
        post=post,
        catalogue=catalogue,
        filing=Filing(kernel, catalogue, post.relay),
        cases=cases,
        inbox=Inbox(SCHEMA, doors, handlers(directory, catalogue, cases, materials)),
        materials=materials,
    )
