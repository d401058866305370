"""Errors as callers see them: `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import BaseModel, Field


class ProblemDocument(BaseModel):
    """The body of every answer that is an error."""

    type: str = Field(default="about:blank", description="what went wrong, as a stable word under `urn:yiwang:`")
    title: str
    status: int
    detail: str = ""
    request_id: str = ""
    errors: list[dict[str, str]] = Field(default_factory=list, description="for 422: where, and what was wrong")
    existing: str = Field(default="", description="for 409: what is there already, by its number")


class Problem(Exception):
    """An error with an answer. `kind` is a stable word for programs, `detail` a sentence for people."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str = "",
        *,
        errors: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
        existing: str = "",
    ) -> None:
        super().__init__(f"{status} {kind} {detail}")
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}
        self.existing = existing

    def document(self, request_id: str) -> ProblemDocument:
        return ProblemDocument(
            type=f"urn:yiwang:{self.kind}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
            existing=self.existing,
        )


class Unavailable(Problem):
    """A dependency did not answer; the caller may try again soon."""

    def __init__(self, dependency: str) -> None:
        super().__init__(
            503, f"{dependency}-unavailable", "Not available now, please try again.", headers={"Retry-After": "1"}
        )


class NotAuthenticated(Problem):
    def __init__(self, detail: str = "A valid access token is needed.") -> None:
        super().__init__(401, "not-authenticated", detail, headers={"WWW-Authenticate": "Bearer"})


class NotFound(Problem):
    """Also the answer for what is there but belongs to somebody else: the two must look alike."""

    def __init__(self, detail: str = "No such thing here.") -> None:
        super().__init__(404, "not-found", detail)
