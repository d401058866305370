"""What crosses the borders of this module: requests, answers and messages."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    computed_field,
    model_validator,
)

from services.kernel.calendar import is_provisional
from services.kernel.tenancy import Level
from services.kernel.typed import VISIBLE, CaseNumber, CheckCode, Phone, compact, line, lines, reading, words

Status = Literal["filed", "accepted", "declined", "in_transit", "granted", "refused"]

LARGEST_MATERIAL = 20 * 1024 * 1024
MOST_MATERIALS = 50


SEEN = {"pattern": VISIBLE}  # for the document; `reading` makes a blank empty, whatever it is made of

Words = Annotated[str, reading(words)]
Name = Annotated[str, Field(min_length=1, max_length=64, json_schema_extra=SEEN), reading(line)]
Sentence = Annotated[str, Field(max_length=2000), reading(lines)]
Reason = Annotated[str, Field(min_length=1, max_length=2000, json_schema_extra=SEEN), reading(lines)]
ItemCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,40}$", description="code of a power item"), reading(compact)]
TenantCode = Annotated[str, Field(pattern=r"^[0-9]{6}$", description="GB/T 2260 code"), reading(compact)]
Days = Annotated[int, Field(ge=0, le=365)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


# --- catalogue ---------------------------------------------------------------------------------------------------


class MaterialNeed(Model):
    name: Name
    required: bool = True
    note: Sentence = ""


class FormField(Model):
    """A field of an item's form; `options` makes it a choice."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    label: Name
    kind: Literal["text", "long_text", "number", "date", "choice"] = "text"
    required: bool = True
    options: list[Name] = Field(default_factory=list, max_length=50)
    hint: Sentence = ""


def _by_rank(levels: list[Level]) -> list[Level]:
    return [level for level in get_args(Level) if level in levels]


class StandardRequest(Model):
    """A power item as the province standardises it."""

    name: Name
    kind: Name = Field(default="行政许可", description="行政许可, 行政确认, 公共服务 and so on")
    basis: Annotated[Reason, Field(description="设定依据: law and article")]
    levels: Annotated[list[Level], AfterValidator(_by_rank)] = Field(
        min_length=1, description="levels that may carry it out"
    )
    legal_working_days: Days
    promised_working_days: Days
    materials: list[MaterialNeed] = Field(default_factory=list, max_length=50)
    fields: list[FormField] = Field(default_factory=list, max_length=50)
    fee: Sentence = "不收费"

    @model_validator(mode="after")
    def _promise_within_law(self) -> StandardRequest:
        if self.promised_working_days > self.legal_working_days:
            raise ValueError("promised_working_days must not exceed legal_working_days")
        return self


class Standard(StandardRequest):
    """A published version. Versions of an item count from 1 and stay as they are."""

    code: ItemCode
    version: int = Field(ge=1, le=2**31 - 1)
    published_at: datetime

    def says(self, request: StandardRequest) -> bool:
        """Whether this version already is what the request asks for."""
        return self.model_dump(exclude={"code", "version", "published_at"}) == request.model_dump()


class ImplementationRequest(Model):
    """What a tenant sets for an item by itself; a field left out keeps the standard's value."""

    offered: bool = True
    department: Annotated[str, Field(max_length=64), reading(line)] = ""
    promised_working_days: Days | None = None
    materials_note: Sentence = ""
    fee_note: Sentence = ""


class Item(BaseModel):
    """An item in force at a tenant: the newest standard with the tenant's implementation on top."""

    code: str
    version: int
    name: str
    kind: str
    basis: str
    levels: list[Level]
    department: str
    legal_working_days: int
    promised_working_days: int
    standard_promised_working_days: int
    materials: list[MaterialNeed]
    materials_note: str
    fields: list[FormField]
    fee: str
    fee_note: str
    offered: bool


class Items(BaseModel):
    items: list[Item]


class ReplayRequest(Model):
    tenant: TenantCode


class ReplayAnswer(BaseModel):
    tenant: str
    publications: int


# --- cases -------------------------------------------------------------------------------------------------------


class Applicant(Model):
    name: Name
    phone: Phone


class FilingRequest(Model):
    item: ItemCode
    form: dict[str, JsonValue] = Field(default_factory=dict)
    applicant: Applicant


class FilingReceipt(BaseModel):
    number: CaseNumber
    check_code: CheckCode
    status: Literal["filed"] = "filed"
    filed_at: datetime
    duplicate: bool


class Step(BaseModel):
    """A step in a case's way. All but the reason may be seen by anybody with number and check code."""

    version: int
    tenant: str
    status: Status
    at: datetime
    reason: Sentence = Field(
        default="",
        description="why it was handed over, for the tenants in its way; why it was declined, for its applicant too",
    )


class Outcome(BaseModel):
    result: Literal["granted", "refused"]
    text: str


class Snapshot(BaseModel):
    """A case as other tenants and the index follow it: where it is, nothing of the form."""

    number: CaseNumber
    version: int = Field(ge=1, le=2**31 - 1)
    status: Status
    holder: TenantCode
    in_transit_to: TenantCode | None = None
    path: list[TenantCode] = Field(min_length=1, description="tenants in the order in which they first came to hold it")
    item: ItemCode
    item_name: str
    applicant: str
    filed_at: datetime
    changed_at: datetime
    due: date | None = None
    steps: list[Step] = Field(min_length=1)
    outcome: Outcome | None = None
    check_code_hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class MaterialOffer(BaseModel):
    """A material as it is handed over: the receiver fetches it by a link that its sender signed for a while."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    size: int = Field(ge=0, le=LARGEST_MATERIAL)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    url: str = Field(default="", max_length=4000)


class Case(Snapshot):
    """A case as a tenant in its way keeps it, and as it is handed over."""

    item_version: int
    basis: str
    promised_working_days: int
    applicant_name: str
    applicant_phone: str
    form: dict[str, Any]
    accept_by: date
    materials: list[MaterialOffer] = Field(default_factory=list, max_length=MOST_MATERIALS)


class Trace(BaseModel):
    """One exercise of power: who, when, on what basis, how long after the change before."""

    at: datetime
    action: str
    actor_name: str
    department: str
    basis: str
    details: str
    seconds_since_change: float


class Material(BaseModel):
    name: str
    size: int
    uploaded_at: datetime


class Limits(BaseModel):
    """A case's time limits, and whether they were counted through a year whose holidays are not published yet."""

    accept_by: date
    due: date | None

    @computed_field(description="the holidays of the year of `accept_by` were not yet published")  # type: ignore[prop-decorator]
    @property
    def accept_by_provisional(self) -> bool:
        return is_provisional(self.accept_by)

    @computed_field(description="the holidays of the year of `due` were not yet published")  # type: ignore[prop-decorator]
    @property
    def due_provisional(self) -> bool:
        return self.due is not None and is_provisional(self.due)


class CaseView(Limits):
    """A case as its applicant and its clerks see it."""

    number: str
    version: int
    status: Status
    holder: str
    in_transit_to: str | None
    path: list[str]
    item: str
    item_name: str
    applicant_name: str
    applicant_phone: str
    form: dict[str, Any]
    filed_at: datetime
    changed_at: datetime
    outcome: Outcome | None
    steps: list[Step]
    check_code: str | None = Field(
        default=None, description="for its applicant, where it was filed; null once the key of the code has changed"
    )
    traces: list[Trace] = Field(description="for clerks; what this tenant did")
    materials: list[Material]
    actions: list[Literal["acceptance", "hand-over", "outcome"]] = Field(description="what the caller may do now")


class DeskCase(Limits):
    number: str
    item: str
    item_name: str
    status: Status
    holder: str
    applicant_name: str
    filed_at: datetime
    changed_at: datetime


DeskList = Literal["open", "filed", "accepted", "moved", "closed"]
"""What waits here (of it what is to be accepted, what is to be done), what is or will be others', what has ended."""


class DeskFigures(BaseModel):
    """How many open cases there are, as the database counts them: all of them, whatever a page shows."""

    filed: int
    accepted: int
    moved: int
    due_soon: int = Field(description="of those that wait here: due within two working days")
    overdue: int = Field(description="of those that wait here")


class Desk(BaseModel):
    cases: list[DeskCase] = Field(
        description="what waits: by its limit, or as it was filed; else the latest change first"
    )
    next: str | None = Field(description="cursor of the next page, or null at the end")
    figures: DeskFigures


class AcceptanceRequest(Model):
    accepted: bool
    reason: Sentence = ""

    @model_validator(mode="after")
    def _reason_for_no(self) -> AcceptanceRequest:
        if not self.accepted and not self.reason:
            raise ValueError("a case that is not accepted needs a reason")
        return self


class HandOverRequest(Model):
    to: TenantCode
    reason: Reason


class OutcomeRequest(Model):
    result: Literal["granted", "refused"]
    text: Reason
