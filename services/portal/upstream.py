"""Calls to the other services on behalf of a person: their answers as types, their errors as problems."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict

from services.kernel import telemetry
from services.kernel.problems import Problem, Unavailable
from services.kernel.typed import KEPT

Answer = TypeVar("Answer", bound=BaseModel)


class Read(BaseModel):
    """A part of another service's answer. What is new there is left out here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


async def call(
    http: httpx.AsyncClient,
    service: str,
    method: str,
    url: str,
    answer: type[Answer],
    *,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    **request: Any,
) -> Answer:
    """The answer, as its type.

    Raises:
        Unavailable: the service does not answer, or is in trouble.
        Problem: it refuses; with its own status, kind and words.
    """
    sent = {"x-request-id": telemetry.request_id.get(), **(headers or {})}
    if token:
        sent["authorization"] = f"Bearer {token}"
    try:
        response = await http.request(method, url, headers=sent, **request)
    except httpx.HTTPError as error:
        raise Unavailable(service) from error
    if response.status_code >= 500:
        raise Unavailable(service)
    if response.is_error:
        raise _refusal(response)
    return answer.model_validate_json(response.content, context=KEPT)


def _refusal(response: httpx.Response) -> Problem:
    try:
        document = response.json()
        kind = str(document.get("type", "")).removeprefix("urn:yiwang:")
        return Problem(
            response.status_code,
            kind or "refused",
            str(document.get("detail", "")),
            errors=document.get("errors"),
            existing=str(document.get("existing", "")),
        )
    except (ValueError, AttributeError):
        return Problem(response.status_code, "refused")
