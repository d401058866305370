"""What a query process holds beside the kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends

from services.kernel.http import parts_of
from services.kernel.runtime import Kernel
from services.query.index import Index
from services.query.messages import News


@dataclass(frozen=True)
class Query:
    kernel: Kernel
    index: Index
    news: News


CurrentQuery = Annotated[Query, Depends(parts_of)]


def assemble(kernel: Kernel) -> Query:
    return Query(kernel, Index(kernel), News(kernel.doors))
