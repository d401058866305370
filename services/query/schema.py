"""What crosses the borders of the index."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, computed_field

from services.kernel.calendar import is_provisional
from services.kernel.typed import CaseNumber

TenantCode = Annotated[str, Field(pattern=r"^[0-9]{6}$")]


class StepNews(BaseModel):
    version: int
    tenant: TenantCode
    status: str = Field(max_length=32)
    at: datetime


class CaseNews(BaseModel):
    """What the index reads of a tenant's message about a case; more may be in it."""

    model_config = ConfigDict(extra="ignore")

    number: CaseNumber
    version: int = Field(ge=1, le=2**31 - 1)
    applicant: str = Field(min_length=1, max_length=200)
    status: str = Field(max_length=32)
    holder: TenantCode
    in_transit_to: TenantCode | None = None
    item: str = Field(max_length=64)
    item_name: str = Field(max_length=200)
    filed_at: datetime
    changed_at: datetime
    due: date | None = None
    steps: list[StepNews] = Field(min_length=1, max_length=1000)
    check_code_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class Step(BaseModel):
    tenant: str
    tenant_name: str
    status: str
    at: datetime


class CaseLine(BaseModel):
    """A case in the list of its applicant. `site` is where the case itself can be read."""

    number: str
    item: str
    item_name: str
    status: str
    holder: str
    holder_name: str
    tenant: str = Field(description="where it was filed")
    tenant_name: str
    site: str
    filed_at: datetime
    changed_at: datetime
    due: date | None

    @computed_field(description="the holidays of the year of `due` were not yet published")  # type: ignore[prop-decorator]
    @property
    def due_provisional(self) -> bool:
        return self.due is not None and is_provisional(self.due)


class CasePage(BaseModel):
    cases: list[CaseLine]
    next: str | None = Field(description="cursor of the next page, or null at the end")


class CaseDetail(CaseLine):
    steps: list[Step]


class Progress(BaseModel):
    """What anybody with number and check code may see: nothing of the person, nothing of the form."""

    number: str
    status: str
    steps: list[Step]
